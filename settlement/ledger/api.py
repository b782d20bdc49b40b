"""What the ledger's HTTP API answers: the shapes that the server writes and the SDK reads.

Amounts are micro-SDRt, times milliseconds since the epoch, hashes lower-case hex. Paths stand in `Path`, so that both
sides spell them once.
"""

from typing import Final, Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from settlement.ledger.rules.context import Refusal
from settlement.ledger.state import Key, Operator

T = TypeVar("T")

JOSE: Final = "application/jose"
"""Media type of one envelope (RFC 7515 §9.2.1)."""
JOSE_SEQUENCE: Final = "application/jose-seq"
"""Media type of envelopes divided by newlines, answered line by line."""
MAX_SEQUENCE: Final = 10_000
"""Envelopes in one call: half a second's work, so that a client that must send again loses little."""
MAX_PAYLOAD: Final = 65_536
"""Octets of one sealed payload: a mobile profile is some 2 KiB with the hybrid KEM's share."""
PAGE: Final = 100
MAX_PAGE: Final = 1000
"""Rows of a page unless asked otherwise, and at most."""


MAX_HISTORY: Final = 64
"""Sizes whose trees are proven to be one history in one call: what some seconds of full load show a client."""


class Path:
    """The API's paths."""

    TRANSACTIONS: Final = "/v1/transactions"  # POST one or many; GET /{id}: the sender's own receipt
    TOKEN: Final = "/v1/token"  # noqa: S105 - a path
    OPERATORS: Final = "/v1/operators"
    OFFERS: Final = "/v1/offers"
    BIDS: Final = "/v1/requests-for-bids"
    REQUESTS: Final = "/v1/requests"
    PROPOSALS: Final = "/v1/proposals"
    OBLIGATIONS: Final = "/v1/obligations"
    CYCLES: Final = "/v1/cycles"
    DISPUTES: Final = "/v1/disputes"
    DEALS: Final = "/v1/deals"
    DOCUMENTS: Final = "/v1/documents"
    ATTESTATIONS: Final = "/v1/attestations"
    ACCOUNT: Final = "/v1/account"
    ENTRIES: Final = "/v1/entries"
    EVENTS: Final = "/v1/events"
    PAYLOADS: Final = "/v1/payloads"
    INCLUSION: Final = "/v1/proofs/inclusion"
    CONSISTENCY: Final = "/v1/proofs/consistency"
    HISTORY: Final = "/v1/proofs/history"
    CHECKPOINT: Final = "/checkpoint"
    TILE: Final = "/tile"


class Receipt(Struct, frozen=True, gc=False, omit_defaults=True):
    """An accepted envelope's place in the log. *Durable*: committed, and covered by `checkpoint` where it stands.

    `leaf`: its RFC 6962 leaf hash. `proof`: inclusion proof of it in the checkpoint's tree (single envelopes only; in a
    sequence the last line brings the checkpoint, and proofs follow from the public tiles).
    """

    id: UUID
    index: int
    time: int
    leaf: str
    settled: int = 0
    refused: tuple[Refusal, ...] = ()
    checkpoint: str | None = None
    proof: tuple[str, ...] | None = None


class Problem(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """RFC 9457 problem details; `code` is one of docs/rejections.md, `remedy` what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    remedy: str = ""


class Answer(Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of the answer to a sequence: a receipt, a problem, or (the last line) the checkpoint that covers all."""

    receipt: Receipt | None = None
    problem: Problem | None = None
    checkpoint: str | None = None


class Entry(Struct, frozen=True, omit_defaults=True):
    """One entry as its parties read it: `envelope` is the compact JWS as it was received."""

    index: int
    time: int
    sender: str
    envelope: str
    counterparty: str | None = None
    settled: int = 0
    refused: tuple[Refusal, ...] = ()


class Recorded(Struct, frozen=True):
    """An entry that has a document's digest in `field` of its message of `type`: where, when, and who signed it."""

    index: int
    time: int
    sender: str
    type: str
    field: str


class OperatorView(Struct, frozen=True):
    """What everybody may know of an operator: its row, and its keys that are valid now."""

    operator: Operator
    keys: tuple[Key, ...]


class Quality(Struct, frozen=True):
    """An operator's service record, from what became of the requests on its offers in the last `days` days.

    `requests`: how many are in each state. `causes`: of those declined, cancelled and closed, how many for which cause.
    """

    operator: str
    days: int
    requests: dict[str, int]
    causes: dict[str, dict[str, int]]


class Page(Struct, Generic[T], frozen=True, omit_defaults=True):
    """A page of a listing. `next` is the `after` that brings the next page, absent at the end."""

    items: tuple[T, ...]
    next: str | None = None


class Token(Struct, frozen=True):
    """A bearer token (RFC 6749 §5.1)."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - a type of token


class Proof(Struct, frozen=True):
    """An inclusion or consistency proof up to `checkpoint`: hashes in hex, lowest first (RFC 9162 §2.1.3, §2.1.4)."""

    checkpoint: str
    hashes: tuple[str, ...]


class History(Struct, frozen=True):
    """Consistency proofs between neighbours of some sizes, up to `checkpoint`, each as in `Proof`."""

    checkpoint: str
    proofs: tuple[tuple[str, ...], ...]
