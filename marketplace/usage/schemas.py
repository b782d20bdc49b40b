"""Shapes of the usage intake. The IMSI stays in this node: what is reported names requests."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from settlement.ledger.messages import MAX_TIME
from settlement.usage.tariff import Units


class NetworkRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One chargeable event as the network tells it.

    `start_ms`: milliseconds since the epoch, reported as its minute. `offset`: minutes of local time from UTC.
    `duration`: seconds. `units`: octets of data, seconds of voice, count of messages. `place`: PLMN or ISO country.
    """

    imsi: Annotated[str, Meta(pattern="^[0-9]{6,15}$")]
    service: Literal["data", "voice", "message"]
    start_ms: Annotated[int, Meta(ge=0, le=MAX_TIME)]
    units: Units
    place: Annotated[str, Meta(min_length=2, max_length=6)]
    duration: Units = 0
    offset: Annotated[int, Meta(ge=-840, le=840)] = 0
    continues: bool = False


class UsageBatch(Struct, frozen=True, forbid_unknown_fields=True):
    """A file's or a collector's worth of records. `batch` names it: the same again gets the first answer again."""

    batch: Annotated[str, Meta(min_length=1, max_length=100)]
    records: Annotated[tuple[NetworkRecord, ...], Meta(min_length=1, max_length=100_000)]


class NotTaken(Struct, frozen=True):
    """A record, by its place in the batch from 0, that will not be reported, and why."""

    record: int
    cause: str


class Intake(Struct, frozen=True):
    """What became of a batch: how many records are stored for reporting, and those that are not."""

    batch: str
    stored: int
    not_taken: tuple[NotTaken, ...] = ()


class Sent(Struct, frozen=True):
    """What a round of reporting stored for the ledger."""

    reports: int
    records: int


class UsageView(Struct, frozen=True):
    """How far the records of a request have come."""

    request: UUID
    stored: int
    reported: int
    settled: int
    refused: int
    causes: tuple[str, ...] = ()
