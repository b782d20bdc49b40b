"""Which rows of state a message touches: those it names itself. What follows from those is for `turn` to load.

A row that an earlier envelope of the same batch makes is not in the database, so nothing follows from it there: whoever
proposes names what its consent will need. What could still not be foreseen is refused to be sent again (`Unloaded`).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from settlement.ledger.envelope import Envelope
from settlement.ledger.ids import REST, credit_id, derive_id, settlement_ids
from settlement.ledger.keys import InvalidKey, from_base64url, read_signing_key, seal_key_id, thumbprint
from settlement.ledger.messages import (
    AddKey,
    Admit,
    Mint,
    PlaceRequest,
    PublishOffer,
    Recover,
    Redeem,
    ReportUsage,
    RequestBids,
)
from settlement.ledger.settling import (
    AttestReserves,
    ProposeCycle,
    ProposeDeal,
    ProposeInvoice,
    RaiseDispute,
    RecordDocument,
    SettleDeal,
)
from settlement.ledger.state import (
    Account,
    Attestation,
    BidRequest,
    Contested,
    Cycle,
    Deal,
    DealPeriod,
    Deposit,
    Dispute,
    Document,
    Key,
    Obligation,
    Offer,
    Operator,
    Proposal,
    Redemption,
    Request,
    Row,
    period_key,
)
from settlement.usage.deals import MAX_PERIODS, Calendar, periods

SUBJECTS: Final[dict[str, type[Row]]] = {"invoice": Obligation, "cycle": Cycle, "deal": Deal}
"""What a proposal of each kind is about."""


def name_rows(envelopes: Iterable[Envelope]) -> dict[type[Row], set[Any]]:
    """Keys of the rows that the messages name themselves."""
    wanted: dict[type[Row], set[Any]] = defaultdict(set)
    for envelope in envelopes:
        message = envelope.message
        wanted[Key].add(envelope.kid)
        match message:
            case PlaceRequest():
                wanted[Request].add(message.id)
                wanted[Offer].add(message.offer)
                wanted[Key].add(message.delivery_key)
            case ReportUsage():
                wanted[Request].update(group.request for group in message.groups)
            case PublishOffer():
                wanted[Offer].update((message.id, message.supersedes) if message.supersedes else (message.id,))
                wanted[BidRequest].update({message.bid_for} if message.bid_for else ())
            case RequestBids():
                wanted[BidRequest].add(message.id)
            case Mint():
                wanted[Deposit].add(message.deposit)
                wanted[Operator].add(message.to)
                wanted[Account].add(message.to)
            case Redeem():
                wanted[Redemption].add(message.id)
            case Admit():
                wanted[Operator].add(message.party.id)
                wanted[Key].update(_thumbprints(message.party.key, message.party.recovery_key))
            case AddKey():
                wanted[Key].update(_thumbprints(message.key) if message.purpose == "sign" else _seal_ids(message.key))
                wanted[Key].update({message.replaces} if message.replaces else ())
            case Recover():
                wanted[Key].update(_thumbprints(message.key, message.recovery_key))
            case ProposeInvoice():
                wanted[Obligation].add(message.id)
                wanted[Operator].add(message.debtor)
            case ProposeCycle():
                wanted[Cycle].add(message.id)
                name_cycle(wanted, message)
            case RaiseDispute():
                wanted[Dispute].add(message.id)
                wanted[Request].add(message.request)
                name_dispute(wanted, message)
            case ProposeDeal():
                wanted[Deal].add(message.id)
                wanted[Operator].add(message.partner)
                name_deal(wanted, message)
            case SettleDeal():
                wanted[Deal].add(message.deal)
                ids = settlement_ids(message.deal, message.period)
                wanted[Obligation].update(each for pair in ids for each in pair)
            case RecordDocument():
                wanted[Document].add(message.id)
                wanted[Operator].update({message.counterparty} if message.counterparty else ())
            case AttestReserves():
                wanted[Attestation].add(message.id)
            case _:
                for field, row_type in _NAMED_BY.items():
                    if (named := getattr(message, field, None)) is not None:
                        wanted[row_type].add(named)
    return wanted


def name_dispute(wanted: dict[type[Row], set[Any]], dispute: Dispute | RaiseDispute) -> None:
    """What raising and ending a dispute need: what else is contested of its request, what may be owed in the end."""
    wanted[Contested].add(dispute.request)
    wanted[Obligation].add(derive_id(dispute.id, REST))


def name_deal(wanted: dict[type[Row], set[Any]], deal: Deal | ProposeDeal) -> None:
    """What agreeing on a deal and use under it need: its offers, its periods, and what is owed on credit in each."""
    wanted[Offer].update(direction.offer for direction in deal.directions)
    wanted[Account].update(direction.home for direction in deal.directions)
    calendar = Calendar(deal.starts, deal.ends, deal.months)
    if deal.starts >= deal.ends:  # the rule will say so
        return
    numbers = range(min(periods(calendar), MAX_PERIODS))
    wanted[DealPeriod].update(period_key(deal.id, number) for number in numbers)
    wanted[Obligation].update(
        credit_id(deal.id, place, number)
        for place, direction in enumerate(deal.directions)
        for number in numbers
        if direction.credit_limit
    )


def cited_by(envelopes: Iterable[Envelope]) -> set[int]:
    """Indices of earlier entries that messages cite."""
    return {each.message.entry for each in envelopes if isinstance(each.message, RaiseDispute)}


def name_cycle(wanted: dict[type[Row], set[Any]], cycle: Cycle | ProposeCycle) -> None:
    """What proposing and executing a cycle need: its obligations, old and new, and who would owe anew."""
    wanted[Obligation].update(change.obligation for change in cycle.changes)
    wanted[Obligation].update(derive_id(cycle.id, str(number)) for number in range(len(cycle.added)))
    wanted[Operator].update({cycle.hub} if cycle.hub else ())


_NAMED_BY: Final[dict[str, type[Row]]] = {
    "request": Request,
    "offer": Offer,
    "bids": BidRequest,
    "redemption": Redemption,
    "kid": Key,
    "proposal": Proposal,
    "obligation": Obligation,
    "dispute": Dispute,
}


def _thumbprints(*keys: str) -> set[str]:
    found = set()
    for key in keys:
        try:
            found.add(thumbprint(read_signing_key(key)))
        except InvalidKey:  # the rule will say so
            continue
    return found


def _seal_ids(key: str) -> set[str]:
    try:
        return {seal_key_id(from_base64url(key.encode()))}
    except ValueError:
        return set()
