"""The ledger's tables in PostgreSQL: the log, the tree, the head, and one table a row type of `state`.

Columns of a state table bear the names of its row's fields. Rows that change often have no index on what changes, and
room in their pages, so that an update stays in its page (HOT). Beside the log stand the sealed payloads, erasable.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from settlement.ledger import state

metadata = MetaData()

HOT: Final = {"fillfactor": 60}

head = Table(
    "head",
    metadata,
    Column("id", SmallInteger, primary_key=True, comment="always 1"),
    Column("size", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False, comment="of the last entry, milliseconds since the epoch"),
    Column("chain", LargeBinary, nullable=False, comment="head of the effects chain"),
    Column("frontier", LargeBinary, nullable=False, comment="right edge of the Merkle tree"),
    Column("digested", BigInteger, nullable=False, comment="size at the last digest leaf"),
    Column("epoch", BigInteger, nullable=False, server_default=text("1"), comment="counts promotions"),
    Column("renewed", BigInteger, nullable=False, server_default=text("0"), comment="size when last a kept row was"),
    postgresql_with=HOT,
)
"""One row, the sequencer's whole memory. It changes in the same commit as all below."""

entries = Table(
    "entries",
    metadata,
    Column("index", BigInteger, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("sender", Text, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("counterparty", Text),
    Column("settled", BigInteger, nullable=False),
    Column("refused", LargeBinary, comment="JSON of the refusals within a usage report"),
    Column("leaf", LargeBinary, nullable=False, comment="RFC 6962 leaf hash"),
    Column("envelope", LargeBinary, nullable=False),
    UniqueConstraint("id", "sender", name="entries_once"),
    Index("entries_by_sender", "sender", "index"),
    Index("entries_by_counterparty", "counterparty", "index"),
)

tree = Table(
    "tree",
    metadata,
    Column("level", SmallInteger, primary_key=True, comment="tile level, 1 and above"),
    Column("index", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
)
"""Roots of complete 256-leaf subtrees (level 1), 65,536-leaf subtrees (level 2) …; level 0 is `entries.leaf`."""

ledger = Table(
    "ledger",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("rules_version", Integer, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("minted", BigInteger, nullable=False),
    Column("burned", BigInteger, nullable=False),
)

operators = Table(
    "operators",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("tadig", Text),
    Column("plmns", ARRAY(Text), nullable=False),
    Column("role", Text, nullable=False),
    Column("admitted", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("operator", Text, nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
)

accounts = Table(
    "accounts",
    metadata,
    Column("operator", Text, primary_key=True),
    Column("available", BigInteger, nullable=False),
    Column("escrow", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 20},
)

deposits = Table(
    "deposits",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("operator", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
)

redemptions = Table(
    "redemptions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("operator", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("payout", Text, nullable=False),
    Column("state", Text, nullable=False),
)

offers = Table(
    "offers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("publisher", Text, nullable=False, index=True),
    Column("published", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("stock", BigInteger),
    Column("terms", JSONB, nullable=False),
    Column("deal", Uuid),
    postgresql_with=HOT,
)

bid_requests = Table(
    "bid_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("buyer", Text, nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("wanted", JSONB, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("home", Text, nullable=False),
    Column("visited", Text, nullable=False),
    Column("offer", Uuid, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("delivery_key", Text, nullable=False),
    Column("state", Text, nullable=False),
    *(
        Column(name, BigInteger, nullable=False)
        for name in (
            "placed",
            "accept_by",
            "ends",
            "report_by",
            "escrow",
            "charged",
            "renewals",
            "activated",
            "period_ends",
            "sequence",
            "used_octets",
            "used_seconds",
            "used_messages",
            "limit_octets",
            "limit_seconds",
            "limit_messages",
            "call_seconds",
        )
    ),
    Column("payload", Text),
    Column("cause", Text),
    Column("cumulative", JSONB),
    Index("requests_by_payload", "payload", postgresql_where=text("payload IS NOT NULL")),
    postgresql_with=HOT,
)

proposals = Table(
    "proposals",
    metadata,
    Column("leaf", Text, primary_key=True, comment="leaf hash of the proposing entry, hex"),
    Column("kind", Text, nullable=False),
    Column("subject", Uuid, nullable=False),
    Column("proposer", Text, nullable=False, index=True),
    Column("parties", JSONB, nullable=False),
    Column("proposed", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("consented", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("refused_by", Text),
    Column("reason", Text),
    Index("proposals_by_party", "parties", postgresql_using="gin"),
)

obligations = Table(
    "obligations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("debtor", Text, nullable=False),
    Column("creditor", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("source", Uuid),
    Column("document", Text),
    Column("number", Text),
    Column("state", Text, nullable=False),
    Index("obligations_by_debtor", "debtor", "id"),
    Index("obligations_by_creditor", "creditor", "id"),
    Index("obligations_by_document", "document", postgresql_where=text("document IS NOT NULL")),
)

cycles = Table(
    "cycles",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("proposer", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("changes", JSONB, nullable=False),
    Column("caps", JSONB, nullable=False),
    Column("hub", Text),
    Column("added", JSONB, nullable=False),
    Column("due", BigInteger),
    Column("state", Text, nullable=False),
)

disputes = Table(
    "disputes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("request", Uuid, nullable=False),
    Column("home", Text, nullable=False),
    Column("visited", Text, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Column("record", Integer),
    Column("amount", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column("evidence", Text),
    Column("raised", BigInteger, nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("answer", Text),
    Column("award", BigInteger, nullable=False),
    Index("disputes_by_home", "home", "id"),
    Index("disputes_by_visited", "visited", "id"),
)

contested = Table(
    "contested",
    metadata,
    Column("request", Uuid, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

deals = Table(
    "deals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("proposer", Text, nullable=False),
    Column("partner", Text, nullable=False),
    Column("directions", JSONB, nullable=False),
    Column("balanced", JSONB, nullable=False),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("starts", "ends", "months", "settle_after_days", "due_days")
    ),
    Column("credit", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Index("deals_by_proposer", "proposer", "id"),
    Index("deals_by_partner", "partner", "id"),
)

deal_periods = Table(
    "deal_periods",
    metadata,
    Column("id", Text, primary_key=True, comment="deal.number"),
    Column("deal", Uuid, nullable=False, index=True),
    Column("number", BigInteger, nullable=False),
    Column("traffic", JSONB, nullable=False),
    Column("settled", BigInteger),
    postgresql_with=HOT,
)

documents = Table(
    "documents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("counterparty", Text),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    Column("period", Text),
    Column("recorded", BigInteger, nullable=False),
)

attestations = Table(
    "attestations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("attestor", Text, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("deposits", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, index=True),
    Column("minted", BigInteger, nullable=False),
    Column("burned", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
)

readers = Table(
    "readers",
    metadata,
    Column("operator", Text, primary_key=True),
    Column("index", BigInteger, primary_key=True, index=True),
)
"""Who may read an entry beside its sender and its one counterparty: the other parties of a proposal."""

payloads = Table(
    "payloads",
    metadata,
    Column("digest", Text, primary_key=True, comment="SHA-256 of the ciphertext, hex"),
    Column("sender", Text, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("ciphertext", LargeBinary, comment="null once erased"),
)
"""Sealed payloads: beside the log, erasable; the log has only their digest."""

assertions = Table(
    "assertions",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
"""Client assertions that were used: each buys one token."""

TABLES: Final[dict[type[state.Row], Table]] = {
    state.Ledger: ledger,
    state.Operator: operators,
    state.Key: keys,
    state.Account: accounts,
    state.Deposit: deposits,
    state.Redemption: redemptions,
    state.Offer: offers,
    state.BidRequest: bid_requests,
    state.Request: requests,
    state.Proposal: proposals,
    state.Obligation: obligations,
    state.Cycle: cycles,
    state.Dispute: disputes,
    state.Contested: contested,
    state.Deal: deals,
    state.DealPeriod: deal_periods,
    state.Document: documents,
    state.Attestation: attestations,
}
