"""A ledger in memory for tests: operators with keys, a clock, and the real rules. No database, no network.

    world = World()
    home, visited = world.admit("alfa", funds=100 * SDRT), world.admit("bravo")
    offer = world.publish(visited, terms(Bundle(price=5 * SDRT, octets=GB, hours=24)))
    request = world.request(home, offer)
    assert world.send(visited, CancelRequest, request=request) == refused("not-permitted")

`send` goes the way of the sequencer: sign, parse, verify, run; accepted entries are kept in `entries`. Everything is a
function of what is called: keys come from names, ids and times from counters, so two equal runs make equal logs.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from settlement.ledger import checkpoint
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.envelope import EnvelopeError, Signer, parse
from settlement.ledger.execution import Execution
from settlement.ledger.keys import seal_key_id, to_base64url
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import Frontier, leaf_hash
from settlement.ledger.messages import (
    MAX_TIME,
    AcceptRequest,
    ActivateRequest,
    AddKey,
    Admit,
    Genesis,
    Message,
    Mint,
    Parameters,
    Party,
    PlaceRequest,
    PublishOffer,
    ReportUsage,
    Role,
    StateDigest,
    Terms,
    UsageGroup,
    UsageRecord,
)
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.note import VerifierKey
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.settling import Consent, ProposeInvoice
from settlement.ledger.state import (
    Account,
    Dispute,
    Key,
    Ledger,
    Obligation,
    Offer,
    Proposal,
    Redemption,
    Request,
    State,
)
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, encode_bundle, new_tiles
from settlement.usage.tariff import Bundle, Metered, Tariff

ORIGIN = "ledger.example/test"
SDRT = 1_000_000
MB, GB = 1_000_000, 1_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
START = 29_000_000 * MINUTE
"""2025-02-20T05:20Z, when the clock of every world begins."""
ACCEPT_WITHIN, REPORT_WITHIN = HOUR, 2 * DAY


def seed_of(name: str) -> bytes:
    """A private key that follows from a name."""
    return hashlib.sha256(b"test key of " + name.encode()).digest()


class Member:
    """An operator as its own tests hold it: signing key, offline recovery key, seal key."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.signer = Signer(seed_of(name))
        self.recovery = Signer(seed_of(name + " recovery"))
        self.seal_key = b"\x02" + seed_of(name + " seal")

    @property
    def delivery_key(self) -> str:
        return seal_key_id(self.seal_key)

    def party(self, role: Role = "operator") -> Party:
        return Party(
            id=self.id,
            name=self.id.title(),
            country="DE",
            role=role,
            key=to_base64url(self.signer.public),
            recovery_key=to_base64url(self.recovery.public),
        )


class _AnyDetail(Rejection, frozen=True):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rejection) and other.code == self.code

    def __hash__(self) -> int:
        return hash(self.code)


def refused(code: str) -> Rejection:
    """Equal to every rejection of this code, whatever its detail."""
    return _AnyDetail(code, "(any detail)")


class Balance(NamedTuple):
    available: int
    escrow: int
    held: int


class World:
    """One ledger in memory. `time` is the ledger's clock; tests move it forward with `wait`."""

    def __init__(self, parameters: Parameters | None = None, *, version: int = 2) -> None:
        self.time = START
        self.origin = Signer(seed_of("origin"))
        self.issuer = Member("issuer")
        self.members: dict[str, Member] = {"issuer": self.issuer}
        self.entries: list[tuple[int, bytes]] = []
        self.execution = Execution(ORIGIN, self.origin.public, State(cite=self.cite))
        self._ids = 0
        founded = self.send(
            self.origin,
            Genesis,
            rules_version=version,
            issuer=self.issuer.party("issuer"),
            parameters=parameters or Parameters(),
        )
        assert isinstance(founded, Effects), founded

    def cite(self, index: int) -> tuple[int, bytes] | None:
        """An earlier entry, as rules look at it."""
        return self.entries[index] if index < len(self.entries) else None

    # saying things

    def new_id(self) -> UUID:
        self._ids += 1
        return UUID(int=self.time << 80 | 7 << 76 | 2 << 62 | self._ids)

    def make(self, kind: type[Message], /, **fields: Any) -> Message:
        """A message with a fresh id, this log as audience, and an hour to be accepted in."""
        return kind(
            **{
                "id": self.new_id(),
                "aud": ORIGIN,
                "exp": self.time + HOUR,
                **fields,
            }
        )

    def send(self, sender: Member | Signer, kind: type[Message], /, **fields: Any) -> Effects | Rejection:
        """Sign a message by `sender` and run it."""
        signer = sender.signer if isinstance(sender, Member) else sender
        return self.send_raw(signer.sign(self.make(kind, **fields)))

    def send_raw(self, raw: bytes) -> Effects | Rejection:
        """Run one envelope as it came in."""
        before = self.execution.chain
        try:
            envelope = parse(raw)
            public = self.origin.public
            if self.execution.size and envelope.kid != self.origin.kid:
                key = self.state.get(Key, envelope.kid)
                if key is None:
                    return Rejection("unknown-key", envelope.kid)
                public = key.public
            envelope.verify(public)
        except EnvelopeError as error:
            return Rejection(error.code, error.detail)
        outcome = self.execution.run(envelope, self.time)
        if isinstance(outcome, Effects):
            self.entries.append((self.time, raw))
        else:
            assert self.execution.chain == before, "a rejection has moved something"
        return outcome

    def must(self, sender: Member | Signer, kind: type[Message], /, **fields: Any) -> Effects:
        """As `send`, where the test is about something later."""
        outcome = self.send(sender, kind, **fields)
        assert isinstance(outcome, Effects), outcome
        return outcome

    def digest(self) -> Effects | Rejection:
        """The origin states the head of the effects chain."""
        state = self.execution.chain.hex()
        return self.send(self.origin, StateDigest, size=self.execution.size, state=state, exp=MAX_TIME)

    def wait(self, milliseconds: int) -> None:
        self.time += milliseconds

    # scenes that many tests begin with

    def admit(self, name: str, *, funds: int = 0, role: Role = "operator") -> Member:
        """An operator with a seal key and, if wanted, SDRt."""
        member = self.members[name] = Member(name)
        self.must(self.issuer, Admit, party=member.party(role))
        self.must(member, AddKey, purpose="seal", key=to_base64url(member.seal_key))
        if funds:
            self.must(self.issuer, Mint, to=name, amount=funds, deposit=f"deposit for {name}")
        return member

    def publish(self, publisher: Member, terms: Terms, **fields: Any) -> UUID:
        offer = self.new_id()
        self.must(publisher, PublishOffer, id=offer, terms=terms, **fields)
        return offer

    def request(self, home: Member, offer: UUID, **fields: Any) -> UUID:
        """A request that is placed; for a bundle or code with the escrow that is due."""
        request = self.new_id()
        self.must(home, PlaceRequest, id=request, **self.order(home, offer, **fields))
        return request

    def order(self, home: Member, offer: UUID, **fields: Any) -> dict[str, Any]:
        """Fields of a good order, to be changed by tests of bad ones."""
        row = self.state.get(Offer, offer)
        assert row is not None
        tariff = row.terms.tariff
        due = 10 * SDRT if isinstance(tariff, Metered) else tariff.price * (1 + fields.get("renewals", 0))
        return {
            "offer": offer,
            "user_id": "0123456789abcdef",
            "delivery_key": home.delivery_key,
            "escrow": due,
            "ends": self.time + 10 * DAY,
            **fields,
        }

    def accept(self, visited: Member, request: UUID) -> None:
        self.must(visited, AcceptRequest, request=request, payload="ab" * 32)

    def activate(self, visited: Member, request: UUID) -> None:
        self.must(visited, ActivateRequest, request=request, at=self.minute)

    def active(self, home: Member, visited: Member, offer: UUID, **fields: Any) -> UUID:
        """A request on `offer` that is in use."""
        request = self.request(home, offer, **fields)
        self.accept(visited, request)
        self.activate(visited, request)
        return request

    def report(self, visited: Member, request: UUID, sequence: int, *records: UsageRecord) -> Effects | Rejection:
        return self.send(visited, ReportUsage, groups=(UsageGroup(request, sequence, records),))

    def propose(self, proposer: Member, kind: type[Message], /, **fields: Any) -> str:
        """Propose something that is open until tomorrow; returns the leaf hash that consents cite."""
        effects = self.must(proposer, kind, **{"until": self.time + DAY, **fields})
        [leaf] = [row.leaf for row in effects.rows if isinstance(row, Proposal)]
        return leaf

    def agree(self, leaf: str, *parties: Member) -> None:
        """Every one of `parties` consents."""
        for party in parties:
            self.must(party, Consent, proposal=leaf)

    def owe(self, debtor: Member, creditor: Member, amount: int) -> UUID:
        """An obligation, by an invoice that was agreed."""
        invoice = self.new_id()
        due = {"due": self.time + 30 * DAY, "document": "cd" * 32}
        leaf = self.propose(creditor, ProposeInvoice, id=invoice, debtor=debtor.id, amount=amount, **due)
        self.agree(leaf, debtor)
        return invoice

    # looking

    def remaining(self, obligation: UUID) -> int:
        row = self.state.get(Obligation, obligation)
        assert row is not None
        return row.remaining

    @property
    def state(self) -> State:
        return self.execution.state

    @property
    def minute(self) -> int:
        """The clock in UTC minutes, as usage and activation are told."""
        return self.time // MINUTE

    @property
    def key(self) -> VerifierKey:
        """The origin's verifier key."""
        return NoteSigner(ORIGIN, seed_of("origin")).verifier

    def balance(self, member: Member) -> Balance:
        account = self.state.get(Account, member.id)
        assert account is not None
        return Balance(account.available, account.escrow, account.held)

    def get(self, request: UUID) -> Request:
        row = self.state.get(Request, request)
        assert row is not None
        return row

    def check_money(self) -> None:
        """What must hold after every entry (docs/protocol.md, Money)."""
        ledger = self.state.get(Ledger, ORIGIN)
        assert ledger is not None
        accounts = list(self.state.all(Account))
        assert sum(row.available + row.escrow + row.held for row in accounts) == ledger.minted - ledger.burned
        assert sum(row.escrow for row in self.state.all(Request)) == sum(row.escrow for row in accounts)
        owed = sum(row.amount for row in self.state.all(Redemption) if row.state == "asked")
        frozen = sum(row.held for row in self.state.all(Dispute))
        assert sum(row.held for row in accounts) == owed + frozen
        assert all(row.remaining >= 0 for row in self.state.all(Obligation))
        assert all(min(row.available, row.escrow, row.held) >= 0 for row in accounts)
        assert all(row.escrow >= 0 for row in self.state.all(Request))


def terms(tariff: Tariff, **fields: Any) -> Terms:
    """Terms of a good offer around a tariff: profile, Germany, an hour to accept, two days to report."""
    return Terms(
        **{
            "name": {"en": "Test"},
            "description": {"en": "An offer of a test"},
            "category": "telecom",
            "countries": ("DE",),
            "plmns": ("26201",),
            "delivery": "profile",
            "tariff": tariff,
            "valid_until": START + 30 * DAY,
            "accept_within_s": ACCEPT_WITHIN // SECOND,
            "report_within_s": REPORT_WITHIN // SECOND,
            **fields,
        }
    )


def bundle(price: int = 5 * SDRT, **fields: Any) -> Bundle:
    return Bundle(**{"price": price, "octets": GB, "hours": 24, **fields})


def data(minute: int, octets: int, place: str = "DE") -> UsageRecord:
    """Octets that began at a minute."""
    return UsageRecord("data", minute, 60, 60, octets, place)


def voice(minute: int, seconds: int, *, continues: bool = False, place: str = "DE") -> UsageRecord:
    """A call, or with `continues` a further part of one."""
    return UsageRecord("voice", minute, 60, seconds, seconds, place, continues)


def export_from_entries(entries: Sequence[tuple[int, bytes]], signer: NoteSigner, folder: Path) -> None:
    """Write (time, envelope) pairs as an export; independent of `settlement.ledger.export`, which it checks."""
    leaves = [leaf_data(time, raw) for time, raw in entries]
    hashes = {0: [leaf_hash(leaf) for leaf in leaves]}
    frontier, rows = Frontier().extend(hashes[0])
    for row in rows:
        hashes.setdefault(row.level, []).extend(row.hashes)
    for tile in new_tiles(0, len(leaves)):
        span = slice(tile.number * TILE_WIDTH, tile.number * TILE_WIDTH + tile.width)
        _write(folder / tile.path, b"".join(hashes[tile.level][span]))
        if tile.level == 0:
            _write(folder / tile._replace(level=ENTRIES).path, encode_bundle(leaves[span]))
    note = checkpoint.sign(Checkpoint(signer.verifier.name, len(leaves), frontier.root()), signer)
    _write(folder / "checkpoint", note)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
