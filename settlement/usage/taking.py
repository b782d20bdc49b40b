"""One file as usage, whatever it is: a table by its mapping, TAP by what stands in it, RAP by what it returns.

    sources = Sources(mappings=read_mappings(["billing.toml"]), places={"RUS01": "25001"})
    taken = take_file(Path("november.csv"), Path("./batches"), sources)
    taken.problems        # none: its batches are in the folder, for the node; any: nothing was written

A file is taken whole or not at all: a bad line, a fatal or severe finding refuses it, and says so with its place.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.csv_mapping import UsageMapping, read_mapping
from settlement.usage.intake import NetworkUsage, write_batches
from settlement.usage.rows import Tally, read_usage
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.returns import Applied, apply_returns
from settlement.usage.tap3.sequence import SequenceBook, digest_file
from settlement.usage.tap3.stream import TapError, open_tap
from settlement.usage.tap3.usage import NotUsage, TapUsage, to_usage

MAX_PROBLEMS: Final = 1000
"""Problems told with their place; the rest are counted."""
TAP: Final = b"\x61\x62"
"""First octets of a transfer batch and of a notification."""
RAP: Final = b"\x7f"
"""First octet of a return batch and of an acknowledgement."""

Kind = Literal["table", "tap", "rap"]


class Problem(Struct, frozen=True):
    """One reason to refuse a file: line or record (0: the file), the field, what stands there, why it is wrong."""

    place: int
    field: str
    value: str
    why: str


class Sources(Struct, frozen=True):
    """How files are read: mappings of tables by pattern of their names, the first that fits; TADIG codes' places."""

    mappings: tuple[tuple[str, UsageMapping], ...]
    places: Mapping[str, str] = {}


class Parties(Struct, frozen=True):
    """Whom a TAP file is from and to, and its number."""

    sender: str
    recipient: str
    sequence: str
    test: bool


class Taken(Struct, kw_only=True):
    """What became of a file. `batches`: file names in the folder given, each with its count of records, in order."""

    kind: Kind
    records: int = 0
    by_service: dict[str, dict[str, int]] = {}
    not_usage: dict[str, int] = {}
    warnings: dict[str, int] = {}
    problems: list[Problem] = []
    problem_count: int = 0
    batches: list[tuple[str, int]] = []
    parties: Parties | None = None
    returned: Applied | None = None

    def refuse(self, place: int, field: str, value: str, why: str) -> None:
        """Note a reason to refuse the file."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(place, field, value, why))


def read_mappings(given: Sequence[str]) -> tuple[tuple[str, UsageMapping], ...]:
    """Read `billing.toml`, or `mediation-*.txt=mediation.toml`; without a pattern, `*.csv` and so on by its format."""
    found = []
    for text in given:
        pattern, _, name = text.rpartition("=")
        mapping = read_mapping(Path(name))
        found.append((pattern or f"*.{mapping.format}", mapping))
    return tuple(found)


def take_file(
    path: Path, folder: Path, sources: Sources, *, name: str = "", book: Path | None = None, sent: Iterable[Path] = ()
) -> Taken:
    """Read a file and write its batches; `name` is what it was called. `book`: sequence numbers of TAP and RAP files.

    `sent`: TAP files a RAP file may be about. Raises `LandfallError` where a file's kind cannot be told.
    """
    name = name or path.name
    mapping = next((each for pattern, each in sources.mappings if fnmatch(name.lower(), pattern.lower())), None)
    with path.open("rb") as file:
        first = file.read(1)
    if mapping is None and first and first in TAP + RAP:
        taken = Taken(kind="tap" if first in TAP else "rap")
        read = _take_tap if first in TAP else _take_rap
        try:
            read(path, folder, sources, taken, book, sent)
        except TapError as error:
            taken.refuse(error.record, error.field, f"octet {error.offset}", error.why)
        except LandfallError as error:
            taken.refuse(0, "", "", str(error))
        return taken
    if mapping is None:
        patterns = ", ".join(pattern for pattern, _ in sources.mappings) or "none is given"
        raise LandfallError(f"{name}: is no TAP or RAP file, and no mapping is for its name ({patterns})")
    taken = Taken(kind="table")
    try:
        _take_table(path, folder, mapping, taken)
    except LandfallError as error:  # none of it can be read
        taken.refuse(0, "", "", str(error).removeprefix(f"{path}: "))
    return taken


def _take_table(path: Path, folder: Path, mapping: UsageMapping, taken: Taken) -> None:
    tally = Tally()
    for _ in tally.pick(read_usage(path, mapping)):
        pass
    taken.records, taken.by_service = tally.records, tally.by_service
    for bad in tally.bad:
        taken.refuse(bad.line, bad.column, bad.value, bad.why)
    taken.problem_count = tally.bad_lines
    if not tally.bad_lines and not tally.records:
        taken.refuse(0, "", "", "holds no usage: no line of it is a record")
    if not taken.problems:
        _write(taken, folder, path, Tally().pick(read_usage(path, mapping)))


def _write(taken: Taken, folder: Path, path: Path, records: Iterator[NetworkUsage]) -> None:
    name = f"file-{digest_file(path)[:32]}"
    taken.batches = [(written.name, count) for written, count in write_batches(folder, name, records)]


def _take_tap(
    path: Path, folder: Path, sources: Sources, taken: Taken, book: Path | None, sent: Iterable[Path]
) -> None:
    with open_tap(path) as tap:
        control = tap.header.get("batchControlInfo", tap.header)
        digest = digest_file(path)
        also = []
        if book is not None:
            with SequenceBook(book) as kept:
                also = kept.check(control, digest)
        report = validate(path, also=also)
        taken.parties = Parties(report.sender, report.recipient, report.sequence, "fileTypeIndicator" in control)
        for one in report.findings:
            if one.severity != "warning":
                taken.refuse(one.record, one.field, f"octet {one.offset}", f"{one.rule} ({one.code}): {one.message}")
        taken.warnings = {rule: count for rule, count in report.counts.items() if report.verdict in ("warning",)}
        if taken.problems:
            return
        causes: Counter[str] = Counter()
        services: dict[str, dict[str, int]] = {}
        _write(taken, folder, path, _usage_of(to_usage(tap, sources.places), causes, services))
        taken.records = sum(count for _, count in taken.batches)
        taken.by_service, taken.not_usage = services, dict(causes)
        if causes.get("no-place"):
            told = "give the PLMN of each TADIG code, as --place RUS01=25001"
            taken.refuse(0, "servingNetwork", f"{causes['no-place']} records", f"in a network without a place: {told}")
            taken.batches = []


def _usage_of(
    items: Iterator[TapUsage | NotUsage], causes: Counter[str], services: dict[str, dict[str, int]]
) -> Iterator[NetworkUsage]:
    for item in items:
        if isinstance(item, NotUsage):
            causes[item.cause] += 1
            continue
        sums = services.setdefault(item.usage.service, {"records": 0, "units": 0})
        sums["records"] += 1
        sums["units"] += item.usage.units
        yield NetworkUsage.of(item.imsi, item.start_ms, item.usage)


def _take_rap(
    path: Path, folder: Path, sources: Sources, taken: Taken, book: Path | None, sent: Iterable[Path]
) -> None:
    with open_tap(path, rap=True) as stream:
        control = dict(stream.header.get("rapBatchControlInfoRap", {}))
        numbers = {body.get("fileSequenceNumber", "") for record in stream.records() for body in record.value.values()}
    control["fileSequenceNumber"] = control.get("rapFileSequenceNumber", "")
    theirs = []
    for tap_file in sent:
        with open_tap(tap_file) as tap:
            own = tap.header.get("batchControlInfo", tap.header)
            parties = (own.get("recipient"), own.get("sender"), own.get("fileTypeIndicator"))
            if parties == (control.get("sender"), control.get("recipient"), control.get("fileTypeIndicator")) and (
                own.get("fileSequenceNumber") in numbers
            ):
                theirs.append(tap_file)
    also = []
    if book is not None:
        with SequenceBook(book) as kept:
            also = kept.check({**control, "sender": f"RAP {control.get('sender', '')}"}, digest_file(path))
    taken.returned = apply_returns(path, theirs, also=also)
    taken.records = len(taken.returned.returns)
    taken.parties = Parties(
        str(control.get("sender", "")),
        str(control.get("recipient", "")),
        taken.returned.sequence,
        "fileTypeIndicator" in control,
    )
    for one in taken.returned.findings:
        if one.severity == "fatal":
            taken.refuse(one.record, one.field, "", f"{one.rule} ({one.code}): {one.message}")
    for back in taken.returned.returns:
        if back.status not in ("applied", "noted", "not-applied"):
            taken.refuse(back.number, back.kind, back.file, back.status)
