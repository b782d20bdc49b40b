"""From TAP to usage records, and from a settled period to TAP.

Inbound: `to_usage` takes the calls, messages and data sessions of a file. The IMSI goes no further than the operator
node that takes the records, which puts the request's id in its place (`POST /usage`); no number, cell, device or
address leaves the file at all. Outbound: `write_settled` writes what the ledger settled for one's own subscribers as a
transfer batch, so that home billing takes it as it takes any TAP file. Amounts are in µSDRt: six decimal places.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from settlement.ledger.messages import UsageRecord
from settlement.usage.tap3.events import TOTAL, Fields, read_time, started, subscriber, write_offset, write_time
from settlement.usage.tap3.stream import TapStream
from settlement.usage.tap3.totals import Totals, utc_offsets
from settlement.usage.tap3.writer import write_batch
from settlement.usage.tariff import MAX_UNITS

PARTIAL: Final = 1
"""Cause for termination of a record that another one goes on (3GPP TS 32.298, partialRecord)."""
MAX_OPEN: Final = 100_000
"""Partial calls remembered while a file is read: far more than go on at one time in one file."""
SMS: Final = ("21", "22")
"""Teleservices that are short messages, mobile-terminated and -originated (3GPP TS 22.003)."""
DECIMALS: Final = 6
"""tapDecimalPlaces at which an amount is a count of µSDRt."""
SDR: Final = "SDR"


class TapUsage(Struct, frozen=True):
    """One record's use: number in the file, whose, `start_ms` since the epoch (the record has its minute)."""

    number: int
    imsi: str
    start_ms: int
    usage: UsageRecord


class NotUsage(Struct, frozen=True):
    """A record that is no use to report, and why: `no-imsi`, `no-time`, `not-reported` (its kind), `no-place`,
    `out-of-range` (a negative or absurd duration or volume).
    """

    number: int
    cause: str


class Settled(Struct, frozen=True, forbid_unknown_fields=True):
    """One settled record of an own subscriber, who has an IMSI, a number or both; `network` is the visited TADIG code.

    `charge` is in µSDRt. `msisdn`: digits alone.
    """

    imsi: str
    network: str
    record: UsageRecord
    charge: int
    msisdn: str = ""


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """What a written file says of itself: TADIG codes, number 1 to 99999, times in seconds since the epoch."""

    sender: str
    recipient: str
    sequence: int
    created_s: int
    cut_off_s: int
    test: bool = False


def to_usage(tap: TapStream, places: Mapping[str, str]) -> Iterator[TapUsage | NotUsage]:
    """Records of a transfer batch as usage, in the file's order, or why one is none. Raises `TapError`.

    `places`: PLMN or ISO country of each TADIG code, of the serving network where a record names it, of the sender
    otherwise. A call that goes on one with the same call reference `continues`.
    """
    offsets = utc_offsets(tap.header)
    sender = tap.header.get("batchControlInfo", {}).get("sender", "")
    going: dict[tuple[str, str], None] = {}
    for record in tap.records():
        [(kind, body)] = record.value.items()
        used = _measure(kind, body)
        if used is None:
            yield NotUsage(record.number, "not-reported")
            continue
        imsi = subscriber(kind, body)
        if imsi is None:
            yield NotUsage(record.number, "no-imsi")
            continue
        _, time = started(kind, body)
        offset = offsets.get((time or {}).get("utcTimeOffsetCode", -1))
        epoch = None if time is None or offset is None else read_time(time.get("localTimeStamp", ""), offset)
        if epoch is None or offset is None or epoch < 0:
            yield NotUsage(record.number, "no-time")
            continue
        place = places.get(_network(kind, body) or sender) or places.get(sender)
        if place is None:
            yield NotUsage(record.number, "no-place")
            continue
        service, duration, units = used
        if not (0 <= duration <= MAX_UNITS and 0 <= units <= MAX_UNITS):
            yield NotUsage(record.number, "out-of-range")
            continue
        continues = service == "voice" and _goes_on(going, imsi, body)
        usage = UsageRecord(service, epoch // 60, offset, duration, units, place, continues)
        yield TapUsage(record.number, imsi, epoch * 1000, usage)


def _measure(kind: str, body: Fields) -> tuple[Any, int, int] | None:
    """Service, seconds, units; None for what is not reported as usage."""
    if kind == "gprsCall":
        used = body.get("gprsServiceUsed", {})
        octets = used.get("dataVolumeIncoming", 0) + used.get("dataVolumeOutgoing", 0)
        return "data", body.get("gprsBasicCallInformation", {}).get("totalCallEventDuration", 0), octets
    if kind in ("mobileOriginatedCall", "mobileTerminatedCall"):
        if any(_service_code(used) in SMS for used in body.get("basicServiceUsedList", ())):
            return "message", 0, 1
        seconds = body.get("basicCallInformation", {}).get("totalCallEventDuration", 0)
        return "voice", seconds, seconds
    if kind == "messagingEvent":
        return "message", 0, 1
    if kind == "mobileSession":
        seconds = body.get("totalCallEventDuration", 0)
        return "voice", seconds, seconds
    return None


def _service_code(used: Fields) -> str:
    return str(used.get("basicService", {}).get("serviceCode", {}).get("teleServiceCode", ""))


def _network(kind: str, body: Fields) -> str | None:
    if kind == "gprsCall":
        body = body.get("gprsLocationInformation", {})
    elif kind in ("mobileOriginatedCall", "mobileTerminatedCall"):
        body = body.get("locationInformation", {})
    found = body.get("geographicalLocation", {}).get("servingNetwork")
    return None if found is None else str(found)


def _goes_on(going: dict[tuple[str, str], None], imsi: str, body: Fields) -> bool:
    """Whether a call's reference was that of a partial record before; remembers it if this one is partial too."""
    reference = body.get("locationInformation", {}).get("networkLocation", {}).get("callReference")
    if reference is None:
        return False
    call = (imsi, reference)
    known = call in going
    if body.get("basicCallInformation", {}).get("causeForTerm") == PARTIAL:
        if len(going) >= MAX_OPEN:
            going.pop(next(iter(going)))
        going[call] = None
    else:
        going.pop(call, None)
    return known


def write_settled(path: Path, batch: Batch, settled: Iterable[Settled]) -> Totals:
    """Write a settled period as a TAP 3.12 transfer batch in SDR; returns its sums. Raises `LandfallError`."""
    offsets = tuple(range(-14 * 60, 14 * 60 + 1, 15))
    codes = {offset: code for code, offset in enumerate(offsets)}
    header = {
        "batchControlInfo": _control(batch),
        "accountingInfo": {
            "localCurrency": SDR,
            "tapCurrency": SDR,
            "currencyConversionInfo": [{"exchangeRateCode": 0, "numberOfDecimalPlaces": 0, "exchangeRate": 1}],
            "tapDecimalPlaces": DECIMALS,
        },
        "networkInfo": {
            "utcTimeOffsetInfo": [
                {"utcTimeOffsetCode": code, "utcTimeOffset": write_offset(offset)} for offset, code in codes.items()
            ],
            "recEntityInfo": [{"recEntityCode": 0, "recEntityType": 1, "recEntityId": batch.sender}],
        },
    }
    return write_batch(path, header, (_event(one, codes) for one in settled))


def _control(batch: Batch) -> Fields:
    def moment(epoch_s: int) -> Fields:
        return {"localTimeStamp": write_time(epoch_s, 0), "utcTimeOffset": write_offset(0)}

    control = {
        "sender": batch.sender,
        "recipient": batch.recipient,
        "fileSequenceNumber": f"{batch.sequence:05d}",
        "fileCreationTimeStamp": moment(batch.created_s),
        "transferCutOffTimeStamp": moment(batch.cut_off_s),
        "fileAvailableTimeStamp": moment(batch.created_s),
        "specificationVersionNumber": 3,
        "releaseVersionNumber": 12,
    }
    return control | {"fileTypeIndicator": "T"} if batch.test else control


def _event(settled: Settled, codes: dict[int, int]) -> Fields:
    record = settled.record
    offset = record.offset if record.offset in codes else 0
    start = {"localTimeStamp": write_time(record.start * 60, offset), "utcTimeOffsetCode": codes[offset]}
    named = {"imsi": settled.imsi, "msisdn": settled.msisdn}
    subscriber_ = {"simChargeableSubscriber": {name: digits for name, digits in named.items() if digits}}
    charge = {
        "chargedItem": {"data": "X", "voice": "D", "message": "E"}[record.service],
        "exchangeRateCode": 0,
        "chargeDetailList": [
            {
                "chargeType": TOTAL,
                "charge": settled.charge,
                "chargeableUnits": record.units,
                "chargedUnits": record.units,
            }
        ],
    }
    geography = {"servingNetwork": settled.network}
    if record.service == "data":
        return {
            "gprsCall": {
                "gprsBasicCallInformation": {
                    "gprsChargeableSubscriber": {"chargeableSubscriber": subscriber_},
                    "callEventStartTimeStamp": start,
                    "totalCallEventDuration": record.duration,
                },
                "gprsLocationInformation": {
                    "gprsNetworkLocation": {"recEntity": [0]},
                    "geographicalLocation": geography,
                },
                "gprsServiceUsed": {
                    "dataVolumeIncoming": record.units,
                    "dataVolumeOutgoing": 0,
                    "chargeInformationList": [charge],
                },
            }
        }
    code = "22" if record.service == "message" else "11"
    return {
        "mobileOriginatedCall": {
            "basicCallInformation": {
                "chargeableSubscriber": subscriber_,
                "callEventStartTimeStamp": start,
                "totalCallEventDuration": record.duration,
            },
            "locationInformation": {
                "networkLocation": {"recEntityCode": 0},
                "geographicalLocation": geography,
            },
            "basicServiceUsedList": [
                {
                    "basicService": {"serviceCode": {"teleServiceCode": code}},
                    "chargingTimeStamp": start,
                    "chargeInformationList": [charge],
                }
            ],
        }
    }
