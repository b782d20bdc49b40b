"""What the nine kinds of call event have in common, wherever each keeps it: who, when, where, what it costs.

Everything takes a decoded record's kind and body, as in `[(kind, body)] = record.value.items()`, and answers with what
is there: a missing field is None or nothing, never an error, so that validation can go on and name all that is wrong.
"""

from calendar import timegm
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from msgspec import Struct, structs

TOTAL: Final = "00"
"""Charge type of the total that is invoiced; the others break it down."""

Fields = dict[str, Any]


class Priced(Struct, frozen=True):
    """Charge of one item: `path` of its fields; `refund` for what is given back; amounts in TAP's decimal places."""

    path: str
    details: list[Fields]
    taxes: list[Fields]
    discount: Fields | None
    exchange_code: int | None
    refund: bool = False
    fee: bool = False
    """A CAMEL invocation fee: an amount by itself, without charge types."""

    def total(self) -> int:
        """Sum of the charges of type 00."""
        return sum(detail.get("charge", 0) for detail in self.details if detail.get("chargeType") == TOTAL)


def prices(kind: str, body: Fields) -> Iterator[Priced]:
    """Every charge of an event, in the file's order."""
    if kind in ("mobileOriginatedCall", "mobileTerminatedCall"):
        for number, used in enumerate(body.get("basicServiceUsedList", ())):
            yield from _listed(f"basicServiceUsedList[{number}].chargeInformationList", used)
    elif kind == "gprsCall":
        yield from _listed("gprsServiceUsed.chargeInformationList", body.get("gprsServiceUsed", {}))
    elif kind == "supplServiceEvent":
        if (info := body.get("supplServiceUsed", {}).get("chargeInformation")) is not None:
            yield _priced("supplServiceUsed.chargeInformation", info)
    elif kind == "serviceCentreUsage":
        if (info := body.get("chargeInformation")) is not None:
            yield _priced("chargeInformation", info)
    elif kind == "contentTransaction":
        for number, used in enumerate(body.get("contentServiceUsed", ())):
            refund = bool(used.get("chargeRefundIndicator"))
            yield from _listed(f"contentServiceUsed[{number}].chargeInformationList", used, refund)
    elif kind == "locationService":
        yield from _listed("locationServiceUsage.chargeInformationList", body.get("locationServiceUsage", {}))
    elif kind == "messagingEvent":
        details = [{"chargeType": TOTAL, "charge": body["charge"]}] if "charge" in body else []
        yield Priced("charge", details, body.get("taxInformationList", []), None, body.get("exchangeRateCode"))
    elif kind == "mobileSession":
        for number, info in enumerate(body.get("sessionChargeInfoList", ())):
            yield _priced(f"sessionChargeInfoList[{number}]", info)
    if (camel := body.get("camelServiceUsed")) is not None and "camelInvocationFee" in camel:
        fee = {"chargeType": TOTAL, "charge": camel["camelInvocationFee"]}
        yield structs.replace(_priced("camelServiceUsed", camel), details=[fee], fee=True)


def _listed(path: str, used: Fields, refund: bool = False) -> Iterator[Priced]:
    for number, info in enumerate(used.get("chargeInformationList", ())):
        yield _priced(f"{path}[{number}]", info, refund)


def _priced(path: str, info: Fields, refund: bool = False) -> Priced:
    taxes = info.get("taxInformation") or info.get("taxInformationList") or []
    code = info.get("exchangeRateCode")
    return Priced(path, info.get("chargeDetailList", []), taxes, info.get("discountInformation"), code, refund)


def worth(kind: str, body: Fields) -> tuple[int, int]:
    """Charges of type 00 and taxes of an event, without refunds, in the file's decimals: what its return is worth."""
    paid = [price for price in prices(kind, body) if not price.refund]
    return sum(price.total() for price in paid), sum(tax.get("taxValue", 0) for price in paid for tax in price.taxes)


def subscriber(kind: str, body: Fields) -> str | None:
    """The IMSI an event is charged to, if it names one."""
    if kind in ("messagingEvent", "mobileSession"):
        imsi = body.get("chargedParty", {}).get("imsi")
        return None if imsi is None else str(imsi)
    if kind in ("mobileOriginatedCall", "mobileTerminatedCall"):
        holder = body.get("basicCallInformation", {})
    elif kind == "gprsCall":
        holder = body.get("gprsBasicCallInformation", {}).get("gprsChargeableSubscriber", {})
    elif kind == "serviceCentreUsage":
        holder = body.get("basicInformation", {})
    else:
        holder = body
    for charged in holder.get("chargeableSubscriber", {}).values():
        if "imsi" in charged:
            return str(charged["imsi"])
    return None


def started(kind: str, body: Fields) -> tuple[str, Fields | None]:
    """Path and value of the time an event began: local time and code of its UTC offset."""
    if kind in ("mobileOriginatedCall", "mobileTerminatedCall"):
        field = "basicCallInformation.callEventStartTimeStamp"
    elif kind == "gprsCall":
        field = "gprsBasicCallInformation.callEventStartTimeStamp"
    elif kind == "supplServiceEvent":
        field = "supplServiceUsed.chargingTimeStamp"
    elif kind == "serviceCentreUsage":
        field = "scuTimeStamps.depositTimeStamp"
    elif kind == "contentTransaction":
        field = "contentTransactionBasicInfo.orderPlacedTimeStamp"
    elif kind == "locationService":
        field = "locationServiceUsage.chargingTimeStamp"
    else:
        field = "serviceStartTimestamp"
    value: Any = body
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return field, value


def rec_entities(kind: str, body: Fields) -> tuple[str, list[int]]:
    """Path and codes of the recording entities an event names."""
    if kind in ("mobileOriginatedCall", "mobileTerminatedCall", "supplServiceEvent"):
        code = body.get("locationInformation", {}).get("networkLocation", {}).get("recEntityCode")
        return "locationInformation.networkLocation.recEntityCode", [] if code is None else [code]
    if kind == "gprsCall":
        location = body.get("gprsLocationInformation", {}).get("gprsNetworkLocation", {})
        return "gprsLocationInformation.gprsNetworkLocation.recEntity", location.get("recEntity", [])
    if kind in ("messagingEvent", "mobileSession"):
        return "recEntityCodeList", body.get("recEntityCodeList", [])
    code = body.get("recEntityCode")
    return "recEntityCode", [] if code is None else [code]


def read_offset(text: str) -> int | None:
    """Minutes from UTC of an offset as `+0530`, or None if it is none."""
    if len(text) != 5 or text[0] not in "+-" or not (text.isascii() and text[1:].isdigit()):
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:])
    if minutes > 14 * 60 or int(text[3:]) > 59:
        return None
    return -minutes if text[0] == "-" else minutes


def read_time(local: str, offset: int) -> int | None:
    """Seconds since the epoch of a local time as `20261101235959`, `offset` minutes from UTC; None if it is no time."""
    if len(local) != 14 or not (local.isascii() and local.isdigit()):
        return None
    parts = [int(local[:4])] + [int(local[at : at + 2]) for at in range(4, 14, 2)]
    try:
        return timegm(datetime(*parts).timetuple()) - offset * 60  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None


def write_time(epoch_s: int, offset: int) -> str:
    """The local time, as `20261101235959`, `offset` minutes from UTC."""
    return datetime.fromtimestamp(epoch_s, timezone(timedelta(minutes=offset))).strftime("%Y%m%d%H%M%S")


def write_offset(offset: int) -> str:
    """`+0530` for 330 minutes."""
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}{abs(offset) % 60:02d}"
