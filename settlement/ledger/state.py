"""The shared state as values: one frozen row a thing, and `State`, the view the rules decide on.

Rows are what the effects chain hashes, what PostgreSQL stores and what the auditor rebuilds, so a field added here is
a change of rules version. `State` holds rows by type and key; the sequencer loads only those a batch touches, the
auditor keeps all. A row is replaced, never changed.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from settlement.ledger.messages import Parameters, Role, Terms, Wanted
from settlement.ledger.settling import Change, Debt, Direction
from settlement.usage.deals import Calendar, Rate, Traffic
from settlement.usage.grading import Cumulative


class Row(Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, tag_field="row"):
    """A row of shared state; `KEY` names the field that identifies it, `row` (in its coded forms) its type."""

    KEY: ClassVar[str]

    @property
    def key(self) -> Any:
        """The value of the identifying field."""
        return getattr(self, self.KEY)


class Ledger(Row, frozen=True, kw_only=True, tag="ledger"):
    """The one row about the ledger itself. `minted`, `burned`: totals in micro-SDRt since genesis."""

    KEY = "origin"
    origin: str
    rules_version: int
    issuer: str
    parameters: Parameters
    minted: int
    burned: int


class Operator(Row, frozen=True, kw_only=True, tag="operator"):
    """A party as it was admitted. `admitted`: when, in milliseconds since the epoch."""

    KEY = "id"
    id: str
    name: str
    country: str
    tadig: str | None
    plmns: tuple[str, ...]
    role: Role
    admitted: int


class Key(Row, frozen=True, kw_only=True, tag="key"):
    """`until`: first millisecond the key is no longer valid; None while it is open-ended."""

    KEY = "kid"
    kid: str
    operator: str
    purpose: Literal["sign", "seal", "recovery", "origin"]
    public: bytes
    since: int
    until: int | None


class Account(Row, frozen=True, kw_only=True, tag="account"):
    """Micro-SDRt of one operator. Nothing is ever below zero."""

    KEY = "operator"
    operator: str
    available: int
    escrow: int
    held: int


class Deposit(Row, frozen=True, kw_only=True, tag="deposit"):
    """Money deposited with the issuer, against which `amount` was minted to `operator`: once."""

    KEY = "reference"
    reference: str
    operator: str
    amount: int


class Redemption(Row, frozen=True, kw_only=True, tag="redemption"):
    """A holder's wish for money: `amount` is held while `asked`, burnt when `paid`, available again when `refused`."""

    KEY = "id"
    id: UUID
    operator: str
    amount: int
    payout: str
    state: Literal["asked", "paid", "refused"]


class Offer(Row, frozen=True, kw_only=True, tag="offer"):
    """`stock`: requests that may still be placed, None without limit. `deal`: the deal it is a direction of, if any."""

    KEY = "id"
    id: UUID
    publisher: str
    published: int
    status: Literal["open", "withdrawn", "superseded"]
    stock: int | None
    terms: Terms
    deal: UUID | UnsetType = UNSET


class BidRequest(Row, frozen=True, kw_only=True, tag="request-for-bids"):
    """What a buyer looks for. `until`: the last millisecond in which a bid may be made."""

    KEY = "id"
    id: UUID
    buyer: str
    published: int
    until: int
    status: Literal["open", "withdrawn"]
    wanted: Wanted


RequestState = Literal["requested", "accepted", "delivered", "active", "cancelled", "declined", "expired", "closed"]
"""States of a request, in the order of its life; the last four are ends."""


class Request(Row, frozen=True, kw_only=True, tag="request"):
    """A request and its high-water marks.

    `escrow`: what is left. `charged`: what has gone to the visited operator. `report_by`: 0 until accepted.
    `used_*`: cumulative octets, seconds, messages. `limit_*`: a bundle's paid allowance on the same scale.
    `call_seconds`: length so far of the call that the last voice record belongs to. `period_ends`: end of a bundle's
    running period, milliseconds. `sequence`: number of the last usage group. `cause`: why it was declined, cancelled
    or closed, if anybody said. `cumulative`: what a graded tariff counts, zone by zone.
    """

    KEY = "id"
    id: UUID
    home: str
    visited: str
    offer: UUID
    user_id: str
    delivery_key: str
    state: RequestState
    placed: int
    accept_by: int
    ends: int
    report_by: int = 0
    escrow: int
    charged: int = 0
    renewals: int = 0
    payload: str | None = None
    activated: int = 0
    period_ends: int = 0
    sequence: int = 0
    used_octets: int = 0
    used_seconds: int = 0
    used_messages: int = 0
    limit_octets: int = 0
    limit_seconds: int = 0
    limit_messages: int = 0
    call_seconds: int = 0
    cause: str | None = None
    cumulative: Cumulative | UnsetType = UNSET


ProposalKind = Literal["invoice", "cycle", "deal"]
ProposalState = Literal["open", "effective", "refused", "lapsed"]


class Proposal(Row, frozen=True, kw_only=True, tag="proposal"):
    """What one party proposed and `parties` must all consent to, until `until`; `leaf` is the proposing entry's hash.

    `subject`: id of the obligation, cycle or deal that it would make. `reason`: why it was refused, by `refused_by`.
    """

    KEY = "leaf"
    leaf: str
    kind: ProposalKind
    subject: UUID
    proposer: str
    parties: tuple[str, ...]
    proposed: int
    until: int
    consented: tuple[str, ...] = ()
    state: ProposalState = "open"
    refused_by: str | None = None
    reason: str | None = None


ObligationCause = Literal["invoice", "dispute", "shortfall", "rebate", "credit", "netting"]
ObligationState = Literal["proposed", "open", "settled", "dropped"]


class Obligation(Row, frozen=True, kw_only=True, tag="obligation"):
    """A debt: `remaining` of `amount` micro-SDRt, to be paid by `due`, milliseconds.

    `source`: the dispute, deal or cycle it comes from. `document`, `number`: of an invoice.
    """

    KEY = "id"
    id: UUID
    debtor: str
    creditor: str
    amount: int
    remaining: int
    due: int
    cause: ObligationCause
    made: int
    source: UUID | None = None
    document: str | None = None
    number: str | None = None
    state: ObligationState = "open"


class Cycle(Row, frozen=True, kw_only=True, tag="cycle"):
    """A netting cycle as it was proposed: the `Proposal` of its id tells who must consent."""

    KEY = "id"
    id: UUID
    proposer: str
    method: Literal["setoff", "novation"]
    changes: tuple[Change, ...]
    caps: tuple[Debt, ...]
    hub: str | None
    added: tuple[Debt, ...]
    due: int | None
    state: Literal["proposed", "executed", "dropped"] = "proposed"


DisputeState = Literal["raised", "rejected", "escalated", "upheld", "dismissed", "withdrawn"]


class Dispute(Row, frozen=True, kw_only=True, tag="dispute"):
    """The home operator wants `amount` of a request's charge back; the last three states are ends.

    `entry`: index of the usage report. `record`: place in the request's group there, None for the whole group.
    `held`: what is frozen of the visited operator's. `deadline`: last millisecond for the next step. `answer`: digest
    of the visited operator's evidence. `award`: what the home operator got.
    """

    KEY = "id"
    id: UUID
    request: UUID
    home: str
    visited: str
    entry: int
    record: int | None
    amount: int
    held: int
    cause: str
    evidence: str | None
    raised: int
    deadline: int
    state: DisputeState = "raised"
    answer: str | None = None
    award: int = 0


class Contested(Row, frozen=True, kw_only=True, tag="contested"):
    """How much of a request's charge was ever disputed, however that ended: never more than the charge."""

    KEY = "request"
    request: UUID
    amount: int


DealState = Literal["proposed", "agreed", "dropped"]


class Deal(Row, frozen=True, kw_only=True, tag="deal"):
    """A deal as it was proposed. `credit`: micro-SDRt that each direction's home owes now for usage beyond escrow."""

    KEY = "id"
    id: UUID
    proposer: str
    partner: str
    directions: tuple[Direction, ...]
    balanced: tuple[Rate, ...]
    starts: int
    ends: int
    months: int
    settle_after_days: int
    due_days: int
    credit: tuple[int, ...]
    state: DealState = "proposed"

    @property
    def calendar(self) -> Calendar:
        """When it runs and is settled."""
        return Calendar(self.starts, self.ends, self.months)

    def direction_of(self, home: str) -> int:
        """Place of the direction in which an operator is home."""
        return next(place for place, each in enumerate(self.directions) if each.home == home)

    def visited_of(self, place: int) -> str:
        """Who serves a direction."""
        return self.partner if self.directions[place].home == self.proposer else self.proposer


class DealPeriod(Row, frozen=True, kw_only=True, tag="deal-period"):
    """What a deal's directions came to in one of its periods; `settled`: when that was made obligations."""

    KEY = "id"
    id: str
    deal: UUID
    number: int
    traffic: tuple[Traffic, ...]
    settled: int | None = None


def period_key(deal: UUID, number: int) -> str:
    """The id of a deal's period."""
    return f"{deal}.{number}"


class Document(Row, frozen=True, kw_only=True, tag="document"):
    """A document's digest as it was recorded: by whom, for whom, of what kind and period, and when."""

    KEY = "id"
    id: UUID
    sender: str
    counterparty: str | None
    kind: str
    digest: str
    period: str | None
    recorded: int


class Attestation(Row, frozen=True, kw_only=True, tag="attestation"):
    """What somebody stated of the deposits behind the SDRt; `minted` and `burned` as at the entry itself."""

    KEY = "id"
    id: UUID
    attestor: str
    as_of: int
    deposits: int
    digest: str
    minted: int
    burned: int
    made: int


R = TypeVar("R", bound=Row)
ROW_TYPES: tuple[type[Row], ...] = (
    *(Ledger, Operator, Key, Account, Deposit, Redemption, Offer, BidRequest, Request),
    *(Proposal, Obligation, Cycle, Dispute, Contested, Deal, DealPeriod, Document, Attestation),
)


class Unloaded(LookupError):  # noqa: N818 - nothing is wrong with the row
    """A row was asked for of which it is not known whether it exists: nothing may be decided without it."""


Cite = Callable[[int], tuple[int, bytes] | None]
"""(time, envelope) of an earlier entry by its index, None where the log is not that long."""


def _cite_nothing(index: int) -> tuple[int, bytes] | None:
    raise Unloaded(f"a rule cites entry {index}: give this State a `cite` that reads the log before it")


class State:
    """Rows by type and key. `changed` keeps the last value of every row put since `settle()`.

    `whole`: every row there is, as an auditor has. Otherwise only what was loaded, `load_absent` naming what is known
    not to exist: asking for anything else raises Unloaded, never a wrong decision.
    `cite`: the log so far, for the few rules that look at an earlier entry; it must be the very log that is executed.
    """

    __slots__ = ("_rows", "_whole", "changed", "cite")

    def __init__(self, *, whole: bool = True, cite: Cite | None = None) -> None:
        self._rows: dict[type[Row], dict[Any, Any]] = {row_type: {} for row_type in ROW_TYPES}
        self._whole = whole
        self.cite: Cite = cite or _cite_nothing
        self.changed: dict[tuple[type[Row], Any], Row] = {}

    def get(self, row_type: type[R], key: Any) -> R | None:
        """The row, or None where there is none."""
        rows: dict[Any, R] = self._rows[row_type]
        if self._whole:
            return rows.get(key)
        try:
            return rows[key]
        except KeyError:
            raise Unloaded(f"{row_type.__name__} {key} was not loaded") from None

    def put(self, row: Row) -> None:
        """Insert or replace a row."""
        key = row.key
        self._rows[type(row)][key] = row
        self.changed[(type(row), key)] = row

    def load(self, rows: Iterable[Row]) -> None:
        """Take rows as they are stored; they do not count as changed."""
        for row in rows:
            self._rows[type(row)][row.key] = row

    def load_absent(self, row_type: type[Row], keys: Iterable[Any]) -> None:
        """What was looked for: keys among `keys` that `load` did not bring are known not to exist."""
        rows = self._rows[row_type]
        for key in keys:
            rows.setdefault(key, None)

    def all(self, row_type: type[R]) -> Iterable[R]:
        """Every row of a type that is here."""
        return (row for row in self._rows[row_type].values() if row is not None)

    def settle(self) -> dict[tuple[type[Row], Any], Row]:
        """Hand over what has changed and start anew."""
        changed, self.changed = self.changed, {}
        return changed
