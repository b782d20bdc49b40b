"""Whether a TAP file may be paid: everything that is wrong with it, by code, from fatal to warning.

    report = validate(Path("CDDEUD1RUS0100001"))
    report.findings        # Finding("fatal", 100, "total-charge", …); none of them: the file is as it should be

Fatal: the whole file goes back. Severe: the record goes back, the rest is settled. Warning: told, and settled. Records
are checked by several processes; what needs them all (sums, duplicates) is put together here. `docs/tap.md` lists the
codes. Sequence numbers need memory of earlier files: `sequence.py`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from settlement.usage.tap3.events import (
    TOTAL,
    Fields,
    Priced,
    prices,
    read_offset,
    read_time,
    rec_entities,
    started,
    subscriber,
)
from settlement.usage.tap3.findings import RULES, Finding, finding
from settlement.usage.tap3.stream import Record, TapError, TapStream, open_tap
from settlement.usage.tap3.totals import Totals, utc_offsets

MAX_FINDINGS: Final = 1000
"""Findings kept with their place; beyond it they are only counted, for a file wrong throughout is wrong at once."""
MAX_DECIMALS: Final = 6
RELEASES: Final = range(1, 13)
"""TAP 3.1 to 3.12."""


class Report(Struct, frozen=True):
    """What validation found. `counts`: findings by rule, all of them; `findings`: the first `MAX_FINDINGS`."""

    file: str
    kind: str
    sender: str
    recipient: str
    sequence: str
    records: int
    totals: dict[str, Any]
    counts: dict[str, int]
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        """The gravest severity, or `correct`."""
        found = {RULES[rule][0] for rule in self.counts}
        return next((severity for severity in ("fatal", "severe", "warning") if severity in found), "correct")


class Codes(Struct, frozen=True):
    """What records of a batch may refer to."""

    offsets: dict[int, int]
    rec_entities: frozenset[int]
    exchange_rates: frozenset[int]
    taxes: frozenset[int]
    discounts: frozenset[int]


class Part(Struct):
    """What one process found in one chunk of records."""

    totals: Totals
    findings: list[Finding]
    keys: list[tuple[bytes, int, int]]
    """Digest, number and offset of each record."""


Say = Callable[[str, str, str], None]
"""Takes rule, field, message."""


class _Findings:
    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[str] = Counter()

    def add(self, one: Finding) -> None:
        self.counts[one.rule] += 1
        if len(self.kept) < MAX_FINDINGS:
            self.kept.append(one)

    def say(self, rule: str, field: str, message: str) -> None:
        self.add(finding(rule, field, message))


def validate(
    path: Path,
    *,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
    also: Sequence[Finding] = (),
) -> Report:
    """Check a TAP file. `advance` is told of records done; `also`: findings of the caller (sequence numbers).

    Raises `TapError` when the file cannot be read as TAP to its end; `refuse` makes a report of it.
    """
    with open_tap(path) as tap:
        found = _Findings()
        for one in also:
            found.add(one)
        for strange in tap.unknown:
            message = f"tag {strange.tag} is unknown in {strange.within}; passed over"
            found.add(finding("unknown-field", strange.within, message, offset=strange.offset))
        control = tap.header if tap.kind == "notification" else tap.header.get("batchControlInfo", {})
        _check_control(control, found.say)
        totals = Totals()
        if tap.kind == "transferBatch":
            totals = _check_batch(tap, found, workers, advance)
        return Report(
            str(path),
            tap.kind,
            str(control.get("sender", "")),
            str(control.get("recipient", "")),
            str(control.get("fileSequenceNumber", "")),
            totals.count,
            totals.audit(),
            dict(found.counts),
            found.kept,
        )


def refuse(error: TapError) -> Report:
    """The report of a file that cannot be read to its end: fatal, for the one reason."""
    one = finding("unreadable", error.field, error.why, record=error.record, offset=error.offset)
    return Report(str(error.path), "unreadable", "", "", "", 0, {}, {one.rule: 1}, [one])


def _check_batch(tap: TapStream, found: _Findings, workers: int | None, advance: Callable[[int], None]) -> Totals:
    for name in ("batchControlInfo", "accountingInfo", "networkInfo", "auditControlInfo"):
        if name not in tap.header:
            found.say("missing-section", name, "the batch lacks it")
    codes = _check_codes(tap.header, found.say)
    totals, seen = Totals(), dict[bytes, int]()
    for part in tap.map(partial(check_chunk, codes), workers):
        totals.merge(part.totals)
        for one in part.findings:
            found.add(one)
        for key, number, offset in part.keys:
            first = seen.setdefault(key, number)
            if first != number:
                found.add(finding("duplicate-record", "", f"the same as record {first}", record=number, offset=offset))
        advance(part.totals.count)
    _check_audit(tap.header.get("auditControlInfo", {}), totals, found.say)
    return totals


def _check_control(control: Fields, say: Say) -> None:
    for name in ("sender", "recipient", "fileSequenceNumber", "fileAvailableTimeStamp"):
        if not control.get(name):
            say("missing-field", f"batchControlInfo.{name}", "is not there, or empty")
    sequence = control.get("fileSequenceNumber", "00001")
    if len(sequence) != 5 or not (sequence.isascii() and sequence.isdigit()):
        say("syntax", "batchControlInfo.fileSequenceNumber", f"{sequence!r}: five digits")
    elif sequence == "00000":
        say("out-of-range", "batchControlInfo.fileSequenceNumber", "00000: 00001 to 99999")
    version = control.get("specificationVersionNumber"), control.get("releaseVersionNumber")
    if version[0] != 3 or version[1] not in RELEASES:
        say("out-of-range", "batchControlInfo.specificationVersionNumber", f"{version[0]}.{version[1]}: 3.1 to 3.12")
    if control.get("fileTypeIndicator", "T") != "T":
        say("out-of-range", "batchControlInfo.fileTypeIndicator", f"{control['fileTypeIndicator']!r}: T, or not there")
    for name in ("fileCreationTimeStamp", "transferCutOffTimeStamp", "fileAvailableTimeStamp"):
        if (time := control.get(name)) is not None:
            offset = read_offset(time.get("utcTimeOffset", ""))
            if offset is None or read_time(time.get("localTimeStamp", ""), offset) is None:
                say("syntax", f"batchControlInfo.{name}", f"{time}: 14 digits and an offset as +0100")


def _check_codes(header: Fields, say: Say) -> Codes:
    accounting, network = header.get("accountingInfo", {}), header.get("networkInfo", {})

    def codes(section: str, list_name: str, name: str) -> frozenset[int]:
        listed = [entry.get(name) for entry in header.get(section, {}).get(list_name, [])]
        field = f"{section}.{list_name}"
        for code, times in Counter(listed).items():
            if code is None:
                say("missing-field", field, f"an entry lacks {name}")
            elif times > 1:
                say("repeated-code", field, f"{name} {code} is there {times} times")
        return frozenset(code for code in listed if code is not None)

    decimals = accounting.get("tapDecimalPlaces")
    if accounting and (decimals is None or not 0 <= decimals <= MAX_DECIMALS):
        say("decimals", "accountingInfo.tapDecimalPlaces", f"{decimals}: 0 to {MAX_DECIMALS}")
    if accounting and not accounting.get("localCurrency"):
        say("missing-field", "accountingInfo.localCurrency", "is not there")
    for number, entry in enumerate(accounting.get("currencyConversionInfo", [])):
        if entry.get("exchangeRate", 0) <= 0 or not 0 <= entry.get("numberOfDecimalPlaces", -1) <= 18:
            say("out-of-range", f"accountingInfo.currencyConversionInfo[{number}]", f"{entry}: no exchange rate")
    for number, entry in enumerate(network.get("utcTimeOffsetInfo", [])):
        if read_offset(text := entry.get("utcTimeOffset", "")) is None:
            say("syntax", f"networkInfo.utcTimeOffsetInfo[{number}].utcTimeOffset", f"{text!r}: as +0100")
    codes("networkInfo", "utcTimeOffsetInfo", "utcTimeOffsetCode")
    return Codes(
        utc_offsets(header),
        codes("networkInfo", "recEntityInfo", "recEntityCode"),
        codes("accountingInfo", "currencyConversionInfo", "exchangeRateCode"),
        frozenset(entry.get("taxCode", -1) for entry in accounting.get("taxation", [])),
        frozenset(entry.get("discountCode", -1) for entry in accounting.get("discounting", [])),
    )


def check_chunk(codes: Codes, records: list[Record]) -> Part:
    """Check some records by themselves. Runs in a process of its own."""
    part = Part(Totals(), [], [])
    for record in records:
        [(kind, body)] = record.value.items()

        def say(rule: str, field: str, message: str, record: Record = record, kind: str = kind) -> None:
            place = f"{kind}.{field}" if field else kind
            part.findings.append(finding(rule, place, message, record=record.number, offset=record.offset))

        part.totals.add(kind, body, codes.offsets)
        digest = blake2b(msgspec.json.encode(record.value), digest_size=10).digest()
        part.keys.append((digest, record.number, record.offset))
        for strange in record.unknown:
            say("unknown-field", strange.within, f"tag {strange.tag} at octet {strange.offset}: passed over")
        _check_who_and_when(kind, body, codes, say)
        priced = list(prices(kind, body))
        if not priced and kind != "supplServiceEvent":
            say("no-charge", "", "has no charge information")
        for price in priced:
            _check_price(price, codes, say)
    return part


def _check_who_and_when(kind: str, body: Fields, codes: Codes, say: Say) -> None:
    if kind not in ("contentTransaction", "locationService"):  # which name parties by other identifiers
        imsi = subscriber(kind, body)
        if imsi is None:
            say("no-subscriber", "", "names no IMSI")
        elif not (6 <= len(imsi) <= 15 and imsi.isdigit()):
            say("imsi-syntax", "", f"an IMSI of {len(imsi)} digits, or not of digits: 6 to 15")
    field, time = started(kind, body)
    if time is None:
        say("no-start", field, "is not there")
    else:
        code = time.get("utcTimeOffsetCode")
        if code not in codes.offsets:
            say("unknown-utc-offset", f"{field}.utcTimeOffsetCode", f"{code} is not in networkInfo")
        elif read_time(local := time.get("localTimeStamp", ""), 0) is None:
            say("start-syntax", f"{field}.localTimeStamp", f"{local!r}: 14 digits, YYYYMMDDhhmmss")
    field, entities = rec_entities(kind, body)
    for entity in entities:
        if entity not in codes.rec_entities:
            say("unknown-rec-entity", field, f"{entity} is not in networkInfo.recEntityInfo")


def _check_price(price: Priced, codes: Codes, say: Say) -> None:
    if not price.details:
        say("no-charge", price.path, "has no charge detail")
    elif not any(detail.get("chargeType") == TOTAL for detail in price.details):
        say("no-total-charge", price.path, "has no charge of type 00, the total")
    for detail in price.details:
        if detail.get("charge", 0) < 0:
            say("negative-charge", price.path, f"{detail['charge']}: charges are not below zero")
    if price.exchange_code is not None and price.exchange_code not in codes.exchange_rates:
        say(
            "unknown-exchange-rate", f"{price.path}.exchangeRateCode", f"{price.exchange_code} is not in accountingInfo"
        )
    for tax in price.taxes:
        if tax.get("taxCode") not in codes.taxes:
            say("unknown-tax", f"{price.path}.taxInformation", f"taxCode {tax.get('taxCode')} is not in accountingInfo")
    if price.discount is not None and price.discount.get("discountCode") not in codes.discounts:
        code = price.discount.get("discountCode")
        say("unknown-discount", f"{price.path}.discountInformation", f"discountCode {code} is not in accountingInfo")


def _check_audit(audit: Fields, totals: Totals, say: Say) -> None:
    sums = (
        ("total-charge", "totalCharge", totals.charge),
        ("total-tax", "totalTaxValue", totals.tax),
        ("total-discount", "totalDiscountValue", totals.discount),
        ("total-refund", "totalChargeRefund", totals.charge_refund),
        ("total-refund", "totalTaxRefund", totals.tax_refund),
        ("total-refund", "totalDiscountRefund", totals.discount_refund),
        ("record-count", "callEventDetailsCount", totals.count),
    )
    for rule, name, true in sums:
        stated = audit.get(name, 0)
        if stated != true:
            say(rule, f"auditControlInfo.{name}", f"{stated} is stated, the records come to {true}")
    for name, moment in (("earliestCallTimeStamp", totals.earliest), ("latestCallTimeStamp", totals.latest)):
        time = audit.get(name)
        if time is None or moment is None:
            continue
        offset = read_offset(time.get("utcTimeOffset", ""))
        if offset is None or read_time(time.get("localTimeStamp", ""), offset) != moment[0]:
            say("call-times", f"auditControlInfo.{name}", f"{time} is stated, not the time of any such record")
