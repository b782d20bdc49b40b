"""The values of evidence: what homes have, what was reported, what was found. Minutes are since the epoch."""

from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from landfall.errors import LandfallError
from settlement.ledger.messages import UsageRecord

METER_PREFIX: Final = b"landfall meter v1\n"

Service = Literal["data", "voice", "message"]
SERVICES: Final[tuple[Service, ...]] = ("data", "voice", "message")
Fraud = Literal["phantom-usage", "replay", "over-report", "implausible", "out-of-window"]


class EvidenceError(LandfallError):
    """A file of evidence or of reports cannot be read; the message names file and line."""


class Ordered(Struct, frozen=True, kw_only=True, tag="ordered"):
    """The home operator's own request. `reports`: its card tells of switches. `device`: the meter's Ed25519 key."""

    request: UUID
    visited: str
    offer: UUID
    reports: bool
    device: bytes | None = None


class Switched(Struct, frozen=True, kw_only=True, tag="switched"):
    """The card's report: on the profile of `request` from minute `on` (since the epoch) to minute `off`, if it left."""

    request: UUID
    on: int
    off: int | None = None


class Metered(Struct, frozen=True, kw_only=True, tag="metered"):
    """The meter's sums until `minute`, signed by the device over `signed_octets`."""

    request: UUID
    minute: int
    octets: int
    seconds: int
    messages: int
    signature: bytes

    @property
    def signed_octets(self) -> bytes:
        """What the signature is over."""
        return METER_PREFIX + f"{self.request} {self.minute} {self.octets} {self.seconds} {self.messages}".encode()

    def sums(self) -> dict[Service, int]:
        """By service."""
        return {"data": self.octets, "voice": self.seconds, "message": self.messages}


class Limits(Struct, frozen=True, kw_only=True, tag="limits"):
    """What use of an offer can be: octets a second, messages an hour. A call's seconds are at most its duration."""

    offer: UUID
    octets_per_s: int
    messages_per_h: int


class OwnRecord(Struct, frozen=True, kw_only=True, tag="own-record"):
    """Use that the home operator has a record of itself, in the service's units."""

    request: UUID
    service: Service
    start: int
    units: int


Evidence = Ordered | Switched | Metered | Limits | OwnRecord


class Reported(Struct, frozen=True):
    """A usage group as the ledger has it: `entry` is the index of the report it stood in."""

    request: UUID
    visited: str
    entry: int
    sequence: int
    records: tuple[UsageRecord, ...]


class Finding(Struct, frozen=True, kw_only=True):
    """One request whose reports do not fit. `excess`: units beyond the evidence, by service. `entries`: to dispute."""

    request: UUID
    visited: str
    fraud: Fraud
    entries: tuple[int, ...]
    excess: dict[str, int]
    why: str
