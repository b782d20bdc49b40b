"""RAP out (GSMA TD.32): what of a TAP file goes back to its sender, from what validation found.

A fatal finding returns the whole file, each section with its errors. Without one, every record with a severe finding
goes back as it came, with its errors; the rest is settled. Missing numbers are asked for. Warnings return nothing.

    report = validate(path)
    summary = write_return(out, path, report, sequence=12, created_s=now)

An error's context is the path of tags to the field, each with its level, and its occurrence in a list.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from landfall.errors import LandfallError
from settlement.usage.tap3.ber import LIST, Node, grammar
from settlement.usage.tap3.checks import Report
from settlement.usage.tap3.events import Fields, worth, write_offset, write_time
from settlement.usage.tap3.findings import Finding
from settlement.usage.tap3.stream import open_tap
from settlement.usage.tap3.writer import write_element

RAP_VERSION: Final = (1, 5)
_SECTIONS: Final = {
    "batchControlInfo": "batchControlError",
    "accountingInfo": "accountingInfoError",
    "networkInfo": "networkInfoError",
    "auditControlInfo": "auditControlInfoError",
}
_STEP: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")


class Returned(Struct, frozen=True):
    """What a RAP file returns. `value`, `tax`: of the severe returns, in the TAP file's decimal places."""

    file: str
    missing: int
    fatal: int
    severe: int
    value: int
    tax: int


def write_return(
    out: Path, tap_file: Path, report: Report, *, sequence: int, created_s: int, missing: Sequence[tuple[str, str]] = ()
) -> Returned:
    """Write the return batch for a validated file; `missing`: first and last number of each gap.

    Raises `LandfallError` when there is nothing to return, or more than the report has kept the places of.
    """
    details: list[Fields] = [
        {"missingReturn": {"startMissingSeqNumber": first} | ({"endMissingSeqNumber": last} if last != first else {})}
        for first, last in missing
    ]
    value = tax = severe = 0
    with open_tap(tap_file) as tap:
        if report.verdict == "fatal":
            details.append({"fatalReturn": _fatal(report, tap.header)})
        elif report.verdict == "severe":
            if sum(report.counts.values()) > len(report.findings):
                told = f"{sum(report.counts.values())} findings, {len(report.findings)} of them kept with their place"
                raise LandfallError(f"{tap_file}: {told}: agree with the sender to take the whole file back")
            by_record = defaultdict(list)
            for one in report.findings:
                if one.severity == "severe":
                    by_record[one.record].append(one)
            for record in tap.pick(by_record.keys()):
                [(kind, body)] = record.value.items()
                charged, taxed = worth(kind, body)
                value, tax = value + charged, tax + taxed
                severe += 1
                errors = [_error(grammar("CallEvent"), one) for one in by_record[record.number]]
                details.append(
                    {
                        "severeReturn": {
                            "fileSequenceNumber": report.sequence,
                            "callEventDetail": record.value,
                            "errorDetail": errors,
                        }
                    }
                )
        if not details:
            raise LandfallError(f"{tap_file}: is {report.verdict}, and nothing is missing: there is nothing to return")
        control = _control(tap.header, report, sequence, created_s)
    audit = {"totalSevereReturnValue": value, "returnDetailsCount": len(details)}
    audit |= {"totalSevereReturnTax": tax} if tax else {}
    batch = {"rapBatchControlInfoRap": control, "returnDetails": details, "rapAuditControlInfo": audit}
    write_element(out, {"returnBatch": batch})
    return Returned(str(out), len(missing), int(report.verdict == "fatal"), severe, value, tax)


def _control(header: Fields, report: Report, sequence: int, created_s: int) -> Fields:
    control, accounting = header.get("batchControlInfo", header), header.get("accountingInfo", {})
    moment = {"localTimeStamp": write_time(created_s, 0), "utcTimeOffset": write_offset(0)}
    given = {
        "specificationVersionNumber": control.get("specificationVersionNumber"),
        "releaseVersionNumber": control.get("releaseVersionNumber"),
        "fileTypeIndicator": control.get("fileTypeIndicator"),
        "tapDecimalPlaces": accounting.get("tapDecimalPlaces"),
        "tapCurrency": accounting.get("tapCurrency"),
    }
    return {
        "sender": report.recipient,
        "recipient": report.sender,
        "rapFileSequenceNumber": f"{sequence:05d}",
        "rapFileCreationTimeStamp": moment,
        "rapFileAvailableTimeStamp": moment,
        "rapSpecificationVersionNumber": RAP_VERSION[0],
        "rapReleaseVersionNumber": RAP_VERSION[1],
    } | {name: value for name, value in given.items() if value is not None}


def _fatal(report: Report, header: Fields) -> Fields:
    if report.kind == "notification":
        root = grammar("DataInterChange")
        listed = [
            _error(root, replace(one, field=f"notification.{one.field.removeprefix('batchControlInfo.')}"))
            for one in report.findings
            if one.severity == "fatal"
        ]
        return {
            "fileSequenceNumber": report.sequence,
            "notificationError": {"notification": header, "errorDetail": listed},
        }
    errors: dict[str, list[Fields]] = defaultdict(list)
    for one in report.findings:
        if one.severity == "fatal":
            section = one.field.split(".")[0].split("[")[0]
            errors[section if section in _SECTIONS and section in header else ""].append(
                _error(grammar("TransferBatch"), one)
            )
    returned: Fields = {"fileSequenceNumber": report.sequence}
    for section, listed in errors.items():
        if section:
            returned[_SECTIONS[section]] = {section: header[section], "errorDetail": listed}
        else:
            returned["transferBatchError"] = {"errorDetail": listed}
    return returned


def _error(node: Node, one: Finding) -> Fields:
    context = error_context(node, one.field)
    return ({"errorContext": context} if context else {}) | {"errorCode": one.code}


def error_context(node: Node, field: str) -> list[dict[str, int]]:
    """The tags on the way to a field, as far as the grammar goes; a list's element has its occurrence from 1."""
    items: list[dict[str, int]] = []

    def enter(tag: bytes, **more: int) -> None:
        if tag:
            items.append({"pathItemId": _tag_number(tag), **more, "itemLevel": len(items) + 1})

    for name, index in _STEP.findall(field):
        if name not in node.by_name:
            break
        tag, node = node.by_name[name]
        enter(tag)
        if index and node.kind == LIST:
            tag, node = node.by_name[""]
            enter(tag, itemOccurrence=int(index) + 1)
    return items


def read_context(node: Node, items: Sequence[Fields]) -> str:
    """The field a context names, the way back of `error_context`; a tag that is not known there as its number."""
    path = ""
    for item in items:
        number = item.get("pathItemId", -1)
        for name, (tag, child) in node.by_name.items():
            if tag and _tag_number(tag) == number:
                occurrence = f"[{item['itemOccurrence'] - 1}]" if "itemOccurrence" in item else ""
                path, node = path + (f".{name}" if name and path else name) + occurrence, child
                break
        else:
            return f"{path}.{number}" if path else str(number)
    return path


def _tag_number(tag: bytes) -> int:
    if len(tag) == 1:
        return tag[0] & 0x1F
    number = 0
    for octet in tag[1:]:
        number = number << 7 | octet & 0x7F
    return number


def describe(returned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns of a RAP file in short: kind, the file they are about, the codes."""
    rows = []
    for detail in returned:
        [(kind, body)] = detail.items()
        errors = [body, *(inner for inner in body.values() if isinstance(inner, dict))]
        codes = sorted({one.get("errorCode", 0) for holder in errors for one in holder.get("errorDetail", [])})
        about = body.get("fileSequenceNumber") or body.get("startMissingSeqNumber") or body.get("lastSeqNumber")
        event = next(iter(body.get("callEventDetail", {})), None)
        rows.append({"return": kind, "file": about, "event": event, "codes": codes})
    return rows
