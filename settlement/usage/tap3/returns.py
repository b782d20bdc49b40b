"""RAP in (GSMA TD.32): what a partner returns of files one sent, found again in them, with the reasons.

    applied = apply_returns(rap_file, [sent_file, …])
    applied.findings                     # what is wrong with the RAP file; fatal: nothing of it is applied
    for one in applied.returns: …        # a severe return of file "00003", record 2, with its causes
    applied.files                        # of each sent file: what it charged, what came back, what stands
    for line in list_returned(applied): …  # the records themselves, to correct and send anew

A severe return holds the record itself. It is found in the sent file by its content, whatever order the partner wrote
its fields in; one that was changed on the way, by event, subscriber, time and charge, if only one record has these.
What is not found is named and counted, and returns no money. Memory holds the returns, not the files.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.tap3.ber import grammar
from settlement.usage.tap3.events import Fields, started, subscriber, worth
from settlement.usage.tap3.findings import Finding, finding
from settlement.usage.tap3.rap import read_context
from settlement.usage.tap3.stream import Record, open_tap

RAP_RELEASES: Final = range(1, 6)
"""RAP 1.1 to 1.5."""
ROOTS: Final = {"notificationError": "DataInterChange", "": "CallEvent"}
"""Types in which a context begins; the other errors of a fatal return begin in the batch."""

Status = Literal["applied", "noted", "no-such-record", "returned-twice", "file-not-given", "not-applied"]
Key = tuple[str, str, str, int]


class Cause(Struct, frozen=True):
    """Why something came back: the code, and the field as far as the partner named it."""

    code: int
    field: str


class Return(Struct, kw_only=True):
    """One return. `number`: its place in the RAP file from 1. `record`: place in the sent file, 0 without one.

    `applied`: what it returns has been found (missing and stop returns are `noted`). `value`, `tax`: what we charged.
    """

    number: int
    kind: Literal["stop", "missing", "fatal", "severe"]
    file: str
    event: str = ""
    record: int = 0
    offset: int = 0
    value: int = 0
    tax: int = 0
    causes: list[Cause] = []
    status: Status = "not-applied"


class SentFile(Struct, kw_only=True):
    """A sent file after its returns, in its own decimals: `charge` of `records`, of which `returned` came back."""

    file: str
    sequence: str
    records: int
    charge: int
    returned_records: int = 0
    returned: int = 0
    stands: int = 0


class Applied(Struct, kw_only=True):
    """What a RAP file did. `missing`: numbers, first and last of each gap, to be sent again."""

    file: str
    sender: str
    recipient: str
    sequence: str
    findings: list[Finding]
    returns: list[Return]
    files: list[SentFile]
    missing: list[tuple[str, str]]

    @property
    def verdict(self) -> str:
        """`fatal`: nothing was applied; `open`: a return was not found; else `applied`."""
        if any(one.severity == "fatal" for one in self.findings):
            return "fatal"
        return "applied" if all(one.status in ("applied", "noted") for one in self.returns) else "open"


class _Open(Struct):
    """Returns of one file still to be found, by content and by key."""

    by_content: dict[bytes, list[Return]] = msgspec.field(default_factory=lambda: defaultdict(list))
    by_key: dict[Key, list[Return]] = msgspec.field(default_factory=lambda: defaultdict(list))


def apply_returns(
    rap: Path,
    sent: Sequence[Path],
    *,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
    also: Sequence[Finding] = (),
) -> Applied:
    """Find what a RAP file returns in the files that were sent. `advance` is told of records looked through.

    Raises `TapError` for a file that cannot be read, `LandfallError` for sent files that are not the RAP file's.
    """
    with open_tap(rap, rap=True) as stream:
        if stream.kind != "returnBatch":
            raise LandfallError(f"{rap}: is an acknowledgement: the partner has nothing to return")
        control = stream.header.get("rapBatchControlInfoRap", {})
        returns: list[Return] = []
        open_returns: dict[str, _Open] = defaultdict(_Open)
        missing: list[tuple[str, str]] = []
        value = tax = 0
        for record in stream.records():
            [(kind, body)] = record.value.items()
            one = _read_return(record.number, kind, body)
            returns.append(one)
            if one.kind == "missing":
                missing.append((one.file, body.get("endMissingSeqNumber") or one.file))
            if one.kind == "severe" and "callEventDetail" in body:
                [(event, detail)] = body["callEventDetail"].items()
                one.event = event
                stated = worth(event, detail)
                value, tax = value + stated[0], tax + stated[1]
                place = open_returns[one.file]
                place.by_content[_digest(body["callEventDetail"])].append(one)
                place.by_key[_key(event, detail)].append(one)
        findings = [*also, *_check(control, stream.header.get("rapAuditControlInfo", {}), len(returns), value, tax)]
    applied = Applied(
        file=str(rap),
        sender=control.get("sender", ""),
        recipient=control.get("recipient", ""),
        sequence=control.get("rapFileSequenceNumber", ""),
        findings=findings,
        returns=returns,
        files=[],
        missing=missing,
    )
    if applied.verdict != "fatal":
        _apply(applied, control, sent, open_returns, workers, advance)
    return applied


def _read_return(number: int, kind: str, body: Fields) -> Return:
    short = kind.removesuffix("Return")
    assert short in ("stop", "missing", "fatal", "severe")
    about = body.get("fileSequenceNumber") or body.get("startMissingSeqNumber") or body.get("lastSeqNumber") or ""
    errors = [("", body), *((name, inner) for name, inner in body.items() if name.endswith("Error"))]
    causes = [
        Cause(
            error.get("errorCode", 0),
            read_context(grammar(ROOTS.get(name, "TransferBatch")), error.get("errorContext", [])),
        )
        for name, holder in errors
        for error in holder.get("errorDetail", [])
    ]
    return Return(number=number, kind=short, file=about, causes=causes)  # type: ignore[arg-type]


def _check(control: Fields, audit: Fields, count: int, value: int, tax: int) -> Iterator[Finding]:
    """What the RAP file says of itself and is not so."""
    where = "rapBatchControlInfoRap"
    for name in ("sender", "recipient", "rapFileSequenceNumber"):
        if not control.get(name):
            yield finding("missing-field", f"{where}.{name}", "is not there, or empty")
    number = control.get("rapFileSequenceNumber", "00001")
    if not (len(number) == 5 and number.isascii() and number.isdigit() and int(number)):
        yield finding("syntax", f"{where}.rapFileSequenceNumber", f"{number!r}: five digits, 00001 to 99999")
    version = control.get("rapSpecificationVersionNumber", 1), control.get("rapReleaseVersionNumber", 5)
    if version[0] != 1 or version[1] not in RAP_RELEASES:
        yield finding("out-of-range", f"{where}.rapReleaseVersionNumber", f"{version[0]}.{version[1]}: 1.1 to 1.5")
    for rule, name, true in (
        ("return-count", "returnDetailsCount", count),
        ("return-value", "totalSevereReturnValue", value),
        ("return-value", "totalSevereReturnTax", tax),
    ):
        stated = audit.get(name, 0)
        if stated != true and (name in audit or name != "totalSevereReturnTax"):
            yield finding(rule, f"rapAuditControlInfo.{name}", f"{stated} is stated, the returns come to {true}")


def _apply(
    applied: Applied,
    control: Fields,
    sent: Sequence[Path],
    open_returns: dict[str, _Open],
    workers: int | None,
    advance: Callable[[int], None],
) -> None:
    given: dict[str, Path] = {}
    for path in sent:
        sequence, totals = _identify(path, control)
        if sequence in given:
            raise LandfallError(f"{path}: has the number {sequence}, which {given[sequence]} has too: give one of them")
        given[sequence] = path
        state = SentFile(
            file=str(path),
            sequence=sequence,
            records=totals.get("callEventDetailsCount", 0),
            charge=totals.get("totalCharge", 0),
        )
        applied.files.append(state)
        if sequence in open_returns:
            _find(path, open_returns[sequence], workers, advance)
        whole = [one for one in applied.returns if one.kind == "fatal" and one.file == sequence]
        for number, one in enumerate(whole):
            one.status = "returned-twice" if number else "applied"
            one.value, one.tax = state.charge, totals.get("totalTaxValue", 0)
        parts = [one for one in applied.returns if one.kind == "severe" and one.file == sequence]
        if whole:
            for one in parts:
                one.status = "returned-twice"
            state.returned_records, state.returned = state.records, state.charge
        else:
            found = [one for one in parts if one.status == "applied"]
            state.returned_records, state.returned = len(found), sum(one.value for one in found)
        state.stands = state.charge - state.returned
    for one in applied.returns:
        if one.kind in ("missing", "stop"):
            one.status = "noted"
        elif one.file not in given:
            one.status = "file-not-given"
        elif one.status == "not-applied":
            one.status = "no-such-record"


def _identify(path: Path, rap: Fields) -> tuple[str, Fields]:
    with open_tap(path) as tap:
        control = tap.header.get("batchControlInfo", tap.header)
        parties = control.get("sender", ""), control.get("recipient", "")
        theirs = rap.get("recipient", ""), rap.get("sender", "")
        if parties != theirs or control.get("fileTypeIndicator") != rap.get("fileTypeIndicator"):
            told = f"is from {parties[0]} to {parties[1]}, the RAP file answers files from {theirs[0]} to {theirs[1]}"
            raise LandfallError(f"{path}: {told} (test and live files apart)")
        return str(control.get("fileSequenceNumber", "")), tap.header.get("auditControlInfo", {})


def _find(path: Path, wanted: _Open, workers: int | None, advance: Callable[[int], None]) -> None:
    """Give each wanted return the record it is of; two alike need two records."""
    near: dict[Key, list[tuple[int, int, int, int]]] = defaultdict(list)
    taken: set[int] = set()
    work = partial(_look, frozenset(wanted.by_content), frozenset(wanted.by_key))
    with open_tap(path) as tap:
        for count, hits in tap.map(work, workers):
            advance(count)
            for number, offset, digest, key, value, tax in hits:
                exact = next((one for one in wanted.by_content.get(digest, ()) if not one.record), None)
                if exact is not None:
                    _place(exact, number, offset, value, tax)
                    taken.add(number)
                near[key].append((number, offset, value, tax))
    for digest_returns in wanted.by_content.values():
        if any(one.record for one in digest_returns):
            for one in digest_returns:
                if not one.record:
                    one.status = "returned-twice"
    for key, returns in wanted.by_key.items():
        left = [one for one in returns if one.status == "not-applied"]
        places = [hit for hit in near[key] if hit[0] not in taken]
        if len(left) == len(places) == 1:
            _place(left[0], *places[0])


def _place(one: Return, number: int, offset: int, value: int, tax: int) -> None:
    one.record, one.offset, one.value, one.tax, one.status = number, offset, value, tax, "applied"


Hit = tuple[int, int, bytes, Key, int, int]


def _look(contents: frozenset[bytes], keys: frozenset[Key], records: list[Record]) -> tuple[int, list[Hit]]:
    """Records that may have been returned. Runs in a process of its own."""
    hits = []
    for record in records:
        [(kind, body)] = record.value.items()
        key, digest = _key(kind, body), _digest(record.value)
        if key in keys or digest in contents:
            hits.append((record.number, record.offset, digest, key, *worth(kind, body)))
    return len(records), hits


def _digest(event: Fields) -> bytes:
    return blake2b(msgspec.json.encode(event, order="sorted"), digest_size=16).digest()


def _key(kind: str, body: Fields) -> Key:
    moment = (started(kind, body)[1] or {}).get("localTimeStamp", "")
    return kind, subscriber(kind, body) or "", str(moment), worth(kind, body)[0]


def list_returned(applied: Applied) -> Iterator[Fields]:
    """The returned records as they were sent, each with its file, number and causes: to correct, and to send anew."""
    for state in applied.files:
        causes = {one.record: one.causes for one in applied.returns if one.file == state.sequence and one.record}
        if not causes:
            continue
        with open_tap(Path(state.file)) as tap:
            for record in tap.pick(causes):
                why = msgspec.to_builtins(causes[record.number])
                yield {"file": state.sequence, "record": record.number, "causes": why, "event": record.value}
