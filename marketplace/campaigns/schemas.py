"""What is asked of the OTA platform and what it tells."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from ota.templates import Commands, Name, Values

CARDS_INLINE: Final = 1000
"""Cards in the body that makes a campaign; more are added as CSV, which is read as it comes."""
VALID_HOURS: Final = 72
"""A long weekend: how long a card that is off is waited for, unless told otherwise."""
VALID_HOURS_MAX: Final = 24 * 90

Iccid = Annotated[str, Meta(pattern="^[0-9]{18,20}$")]
Hours = Annotated[float, Meta(gt=0, le=VALID_HOURS_MAX)]
CampaignState = Literal["draft", "running", "paused", "cancelled", "done"]
JobState = Literal["queued", "sent", "delivered", "proven", "failed", "unknown", "cancelled", "expired"]


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """How to find out whether the commands have acted when their proof is lost: these commands, and the data of the
    last one (or its beginning) if they have.
    """

    commands: Commands
    expect: Annotated[str, Meta(pattern="^(?:[0-9A-Fa-f]{2})+$")]


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do: one of `commands`, `template` (its newest version, or `version`) with `values`, and `rotate_keys`."""

    commands: Commands | None = None
    template: Name | None = None
    version: int | None = None
    values: Values = {}
    rotate_keys: bool = False
    question: Question | None = None
    valid_hours: Hours = VALID_HOURS


class NewJob(Order, frozen=True, kw_only=True):
    """One card."""

    iccid: Iccid


class NewCard(Struct, frozen=True, forbid_unknown_fields=True):
    """A card of a campaign with values of its own."""

    iccid: Iccid
    values: Values = {}


class NewCampaign(Order, frozen=True, kw_only=True):
    """A campaign. With `start` it begins at once; without, cards can be added before it is started."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    cards: Annotated[list[NewCard], Meta(max_length=CARDS_INLINE)] = []
    per_minute: Annotated[int, Meta(ge=1, le=600_000)] | None = None
    start: bool = True


class Added(Struct, frozen=True):
    """What became of cards: `known` were in the campaign already, `without_keys` cannot be reached until imported."""

    added: int
    known: int
    without_keys: int


class Counts(Struct, frozen=True, omit_defaults=False):
    """Cards by state, `cards` their sum; `open` are those something will still become of, some of them unknown now."""

    cards: int = 0
    queued: int = 0
    sent: int = 0
    delivered: int = 0
    proven: int = 0
    failed: int = 0
    unknown: int = 0
    cancelled: int = 0
    expired: int = 0
    open: int = 0


class CampaignRow(Struct, frozen=True, kw_only=True):
    """A campaign as it is stored."""

    id: UUID
    name: str
    kind: str
    single: bool
    state: CampaignState
    template: str | None
    version: int | None
    commands: str
    parameters: str
    given: str
    question: str | None
    words: str
    per_minute: int | None
    expires_ms: int
    created_ms: int
    ended_ms: int | None


class CampaignView(Struct, frozen=True, kw_only=True):
    """A campaign as staff see it; `words` says what it does."""

    id: UUID
    name: str
    state: CampaignState
    words: str
    template: str | None
    version: int | None
    commands: list[dict[str, Any]]
    per_minute: int | None
    expires_ms: int
    created_ms: int
    ended_ms: int | None
    counts: Counts


class JobRow(Struct, frozen=True, kw_only=True):
    """A job that is due."""

    id: int
    campaign: UUID
    iccid: str
    given: str
    state: str
    packet: UUID | None
    attempts: int
    absences: int


class JobView(Struct, frozen=True, kw_only=True):
    """One card's job. `words` is what the card, or the lack of its proof, says; `final`: nothing more will come."""

    id: int
    campaign: UUID
    name: str
    iccid: str
    state: JobState
    final: bool
    attempts: int
    due_ms: int
    words: str | None
    packet: UUID | None
    changed: int
    changed_ms: int
