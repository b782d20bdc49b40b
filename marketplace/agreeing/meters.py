"""The subscriber's device meter: cumulative counters of one request, signed by the device.

    enrol    staff register the device's public key (Ed25519) for a subscriber; the newest counts for new requests
    report   an app posts readings; their signature is all the authentication there is, and all that is needed

A reading is taken if the device's key signed it, its minute is later than the last one's and no counter is lower. The
same reading again is answered as the first time, so that an app may repeat what was not answered; an older one, played
again, changes nothing. The first reading fixes the device of its request: another phone's counters begin anew and are
no continuation.
"""

from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, fetch, fetch_one, scalar
from marketplace.operator_problems import Refusal
from marketplace.subscribers.service import get_subscriber
from settlement.evidence import Metered, is_signed
from settlement.usage.rating import MINUTE_MS
from settlement.usage.tariff import Units

SKEW_MINUTES: Final = 15
"""How far a phone's clock may run ahead of ours: a reading of the future would shut out the true ones."""
KEY_OCTETS: Final = 32
SIGNATURE_OCTETS: Final = 64

Count = Annotated[int, Meta(ge=0, le=2**53)]


class NewDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """A device's Ed25519 public key, base64."""

    key: Annotated[bytes, Meta(min_length=KEY_OCTETS, max_length=KEY_OCTETS)]


class Device(Struct, frozen=True):
    """A registered device."""

    subscriber: UUID
    key: bytes
    added_ms: int
    added_by: str


class Reading(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a meter counted of a request until `minute` (since the epoch).

    `signature`: Ed25519 over "landfall meter v1", a newline, and request, minute, octets, seconds and messages in
    decimal with a space between; base64.
    """

    request: UUID
    minute: Units
    octets: Count
    seconds: Count
    messages: Count
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_OCTETS, max_length=SIGNATURE_OCTETS)]

    def metered(self) -> Metered:
        """As the detector takes it."""
        return Metered(
            request=self.request,
            minute=self.minute,
            octets=self.octets,
            seconds=self.seconds,
            messages=self.messages,
            signature=self.signature,
        )


class Stored(Reading, frozen=True, kw_only=True):
    """A reading that was taken, with the key that signed it."""

    key: bytes
    received_ms: int = 0


class Taken(Struct, frozen=True):
    """The last reading of a request stands at this minute."""

    request: UUID
    minute: int


def check_next(last: Stored | None, reading: Reading, key: bytes | None, *, now_minute: int) -> bool:
    """Whether a reading is new (False: the last one again). Raises Refusal for one that cannot follow."""
    device = last.key if last is not None else key
    if not is_signed(reading.metered(), device):
        raise Refusal("bad-signature", "the reading is not signed by the device of this request's subscriber")
    if reading.minute > now_minute + SKEW_MINUTES:
        raise Refusal("invalid", f"minute {reading.minute} is in the future, it is {now_minute}: set the clock")
    if last is None:
        return True
    counts = [(getattr(last, name), getattr(reading, name)) for name in ("octets", "seconds", "messages")]
    if reading.minute == last.minute and all(old == new for old, new in counts):
        return False
    if reading.minute <= last.minute or any(new < old for old, new in counts):
        raise Refusal("wrong-state", f"counters only go up: the last reading is of minute {last.minute}, with as much")
    return True


class Meters:
    """Devices and their readings."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enrol(self, subscriber: UUID, new: NewDevice, *, by: str) -> Device:
        """Register a subscriber's device. Raises Refusal `not-found`."""
        device = Device(subscriber, new.key, now_ms(), by)
        async with self._database.begin() as connection:
            await get_subscriber(connection, subscriber)
            await execute(
                connection,
                "INSERT INTO device_keys VALUES (:subscriber, :key, :added, :by)",
                subscriber=subscriber,
                key=new.key,
                added=device.added_ms,
                by=by,
            )
        return device

    async def take(self, reading: Reading) -> Taken:
        """Take a reading. Raises Refusal `bad-signature` (also for what nobody was asked to meter), `wrong-state`."""
        async with self._database.begin() as connection:
            locked = "SELECT true FROM requests WHERE id = :id AND role = 'home' FOR UPDATE"
            if not await scalar(connection, locked, id=reading.request):
                raise Refusal("bad-signature", "the reading is not signed by the device of this request's subscriber")
            last = await find_last(connection, reading.request)
            key = await find_device(connection, reading.request)
            if check_next(last, reading, key, now_minute=now_ms() // MINUTE_MS):
                await execute(
                    connection,
                    "INSERT INTO meter_readings VALUES (:request, :minute, :octets, :seconds, :messages, :signature,"
                    " :key, :now)",
                    request=reading.request,
                    minute=reading.minute,
                    octets=reading.octets,
                    seconds=reading.seconds,
                    messages=reading.messages,
                    signature=reading.signature,
                    key=last.key if last is not None else key,
                    now=now_ms(),
                )
        return Taken(reading.request, reading.minute)

    async def list(self, request: UUID) -> list[Stored]:
        """The readings of a request, in order."""
        async with self._database.read() as connection:
            sql = "SELECT * FROM meter_readings WHERE request = :request ORDER BY minute"
            return await fetch(connection, Stored, sql, request=request)


async def find_last(connection: AsyncConnection, request: UUID) -> Stored | None:
    """A request's last reading."""
    sql = "SELECT * FROM meter_readings WHERE request = :request ORDER BY minute DESC LIMIT 1"
    return await fetch_one(connection, Stored, sql, request=request)


async def find_device(connection: AsyncConnection, request: UUID) -> bytes | None:
    """The newest key of the subscriber that a request is for."""
    found = await scalar(
        connection,
        "SELECT d.key FROM purchase_items i JOIN purchases p ON p.id = i.purchase"
        " JOIN device_keys d ON d.subscriber = p.subscriber WHERE i.request = :request"
        " ORDER BY d.added_ms DESC LIMIT 1",
        request=request,
    )
    return None if found is None else bytes(found)
