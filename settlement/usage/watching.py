"""A watched folder: each file is taken exactly once, by its content, and leaves a report beside.

    inbox/         files are put here; hidden ones, *.part and *.tmp are left alone, and so are ones still being written
    inbox/.work/   the file under way, moved here in one step, with its batches and how far they are
    inbox/taken/   done, as `<digest>-<name>`      inbox/refused/  not taken, nothing of it was booked
    inbox/reports/ `<digest>-<name>.json` and `.html`

    watch = Watch(Path("inbox"), sources, deliver)
    for report in watch.look(): …       # what became of each file that was there; call it again, or from a timer

Killed at any point, the next look goes on where it was: a file in `.work` is read again until all of its batches are
written and named in `plan.json`; from then on exactly these go to the node, by names that follow from the content, so
that it takes each once; then the report is written, which is what makes the file taken; then the file is moved. A file
with the content of one that was taken is a copy, whatever its name, and is told as one.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from jinja2 import Environment, PackageLoader
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.usage.taking import Problem, Sources, Taken, take_file
from settlement.usage.tap3.returns import list_returned
from settlement.usage.tap3.sequence import SequenceBook, digest_file
from settlement.usage.tap3.writer import replace

SETTLE_S: Final = 2.0
"""How long a file must have been left alone: programs that write in place pause for less."""
UNFINISHED: Final = (".part", ".tmp", ".filepart", ".crdownload", "~")
"""Endings of names under which programs write what they rename when it is whole."""
SHOWN: Final = 500
"""Problems and returns on a page; the JSON report has a thousand."""
MAX_NAME: Final = 120
"""Octets of a file's name that are kept in others made of it."""
MAX_NOT_TAKEN: Final = 1000
"""Records the node did not take that a report names; the rest are counted."""

Status = Literal["taken", "refused", "copy"]


class NotBooked(Struct, frozen=True):
    """A record the node did not take: its number among the file's usage from 1, and why."""

    record: int
    cause: str


class FileReport(Struct, kw_only=True):
    """What became of a file. `stored`: records the node took for reporting; `not_booked`: those it did not.

    `copy_of`: the file of the same content that was taken before.
    """

    name: str
    digest: str
    status: Status
    at: str
    kept_as: str
    taken: Taken | None = None
    stored: int = 0
    not_booked: list[NotBooked] = []
    not_booked_count: dict[str, int] = {}
    copy_of: str | None = None


class _Plan(Struct, kw_only=True):
    name: str
    digest: str
    taken: Taken


Deliver = Callable[[Path], dict[str, Any]]
"""Gives a batch's file to the node; returns its answer (`stored`, `not_taken`). Raises LandfallError to try again."""


class Watch:
    """A folder and what to do with its files. `settle_s`: age from which a file counts as written."""

    def __init__(
        self,
        folder: Path,
        sources: Sources,
        deliver: Deliver,
        *,
        settle_s: float = SETTLE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._sources, self._deliver = folder, sources, deliver
        self._settle_s, self._clock = settle_s, clock
        self._work = folder / ".work"
        self._reports = folder / "reports"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against a second watcher. Raises `LandfallError` if there is one, or no folder."""
        if not self._folder.is_dir():
            raise LandfallError(f"{self._folder} is no folder: make it, or name another")
        for path in (self._work, self._reports, self._folder / "taken", self._folder / "refused"):
            path.mkdir(exist_ok=True, mode=0o700)
        with (self._work / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LandfallError(
                    f"{self._folder} is being watched by another process: stop that one first"
                ) from None
            yield

    def look(self) -> Iterator[FileReport]:
        """Take every file that is there and written. Call it inside `alone`.

        Raises `LandfallError` when the node does not take a batch: the file stays under way, and the next call goes on.
        """
        stuck: list[str] = []  # one file the node refuses does not hold up the others
        for claimed in sorted(path for path in self._work.iterdir() if path.is_dir()):
            try:
                yield from self._go_on(claimed)
            except LandfallError as error:
                stuck.append(f"{claimed}: {error}")
        for path in sorted(self._folder.iterdir()):
            if not self._is_written(path):
                continue
            try:
                digest = digest_file(path)
            except FileNotFoundError:
                continue  # its owner took it back
            except OSError as error:
                stuck.append(f"{path} cannot be read: {error.strerror}")
                continue
            claimed = self._work / f"{digest[:16]}-{_cut(path.name)}"
            claimed.mkdir(exist_ok=True)
            (claimed / "name").write_text(_shown(path.name), encoding="utf-8")
            _move(path, claimed / "file")
            yield from self._go_on(claimed)
        if stuck:
            raise LandfallError("; ".join(stuck))

    def _is_written(self, path: Path) -> bool:
        if path.name.startswith((".", "~$")) or path.name.lower().endswith(UNFINISHED):
            return False
        if path.is_symlink() or not path.is_file():
            return False
        return path.stat().st_mtime <= self._clock() - self._settle_s

    def _go_on(self, claimed: Path) -> Iterator[FileReport]:
        """Bring a claimed file to its end, from wherever it stands."""
        source, named = claimed / "file", claimed / "name"
        if not source.exists():  # killed between claiming and moving, or after its last move
            shutil.rmtree(claimed)
            return
        name = named.read_text(encoding="utf-8")
        digest = digest_file(source)
        if (earlier := self._find_report(digest)) is not None:
            if (claimed / "plan.json").exists():  # its own: killed after the report was written
                self._finish(claimed, earlier)
                yield earlier
                return
            report = self._report(name, digest, "copy", copy_of=earlier.name)
            self._write_report(report)
            self._finish(claimed, report)
            yield report
            return
        plan = self._plan(claimed, name, digest)
        if plan.taken.problems:
            report = self._report(name, digest, "refused", taken=plan.taken)
        else:
            report = self._report(name, digest, "taken", taken=plan.taken)
            self._send(claimed, plan, report)
            self._note_number(plan)
            self._note_number(plan)
        self._write_report(report)
        self._finish(claimed, report)
        yield report

    def _plan(self, claimed: Path, name: str, digest: str) -> _Plan:
        """What is to be sent of a file; made once, whatever the mapping says later."""
        path = claimed / "plan.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=_Plan)
        try:
            taken = take_file(
                claimed / "file",
                claimed / "batches",
                self._sources,
                name=name,
                book=self._work / "numbers.jsonl",
                sent=self._tap_files(),
            )
        except LandfallError as error:
            taken = Taken(kind="table")
            taken.refuse(0, "", "", str(error))
        if digest_file(claimed / "file") != digest:
            taken.refuse(0, "", "", "was written to while it was read: write to a name ending in .part and rename it")
        plan = _Plan(name=name, digest=digest, taken=taken)
        with replace(path) as file:
            file.write(msgspec.json.encode(plan))
        return plan

    def _tap_files(self) -> Iterator[Path]:
        """TAP files that were taken, which a RAP file may be about."""
        for path in sorted((self._folder / "taken").iterdir()):
            known = self._find_report(path.name[:64])
            if known is not None and known.taken is not None and known.taken.kind == "tap":
                yield path

    def _send(self, claimed: Path, plan: _Plan, report: FileReport) -> None:
        """Give every batch to the node; those it has had it answers as before."""
        before = 0
        for name, count in plan.taken.batches:
            answer = self._deliver(claimed / "batches" / name)
            report.stored += int(answer.get("stored", 0))
            for one in answer.get("not_taken", ()):
                cause = str(one["cause"])
                report.not_booked_count[cause] = report.not_booked_count.get(cause, 0) + 1
                if len(report.not_booked) < MAX_NOT_TAKEN:
                    report.not_booked.append(NotBooked(before + int(one["record"]) + 1, cause))
            before += count

    def _note_number(self, plan: _Plan) -> None:
        """Enter a TAP or RAP file's number, so that its reuse is found; entered twice it says the same."""
        if (parties := plan.taken.parties) is None:
            return
        control = {
            "sender": f"RAP {parties.sender}" if plan.taken.kind == "rap" else parties.sender,
            "recipient": parties.recipient,
            "fileSequenceNumber": parties.sequence,
        }
        with SequenceBook(self._work / "numbers.jsonl") as book:
            book.take(control | ({"fileTypeIndicator": "T"} if parties.test else {}), plan.digest)

    def _report(self, name: str, digest: str, status: Status, **more: Any) -> FileReport:
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        where = "refused" if status == "refused" else "taken"
        return FileReport(
            name=name, digest=digest, status=status, at=at, kept_as=f"{where}/{digest}-{_cut(name)}", **more
        )

    def _find_report(self, digest: str) -> FileReport | None:
        """The report of a file of this content that was taken; refused ones may be put in again."""
        path = self._reports / f"{digest}.json"
        return msgspec.json.decode(path.read_bytes(), type=FileReport) if path.exists() else None

    def _write_report(self, report: FileReport) -> None:
        """Write page and JSON; the JSON under its digest is what makes a file taken, and is written last."""
        stem = report.digest if report.status == "taken" else f"{report.digest}-{_cut(report.name)}"
        beside = self._reports / f"{_cut(report.name)}.{report.digest[:12]}.html"
        if report.taken is not None and report.taken.returned is not None and report.status == "taken":
            with replace(beside.with_suffix(".returned.jsonl")) as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in list_returned(report.taken.returned))
        with replace(beside) as file:
            file.write(render_report(report).encode())
        with replace(self._reports / f"{stem}.json") as file:
            file.write(msgspec.json.format(msgspec.json.encode(report), indent=2))
        _sync(self._reports)

    def _finish(self, claimed: Path, report: FileReport) -> None:
        _move(claimed / "file", self._folder / report.kept_as)
        shutil.rmtree(claimed)  # with its batches, which hold IMSIs


def render_report(report: FileReport) -> str:
    """The report as one HTML page that needs nothing from elsewhere; what files contain is shown as text."""
    environment = Environment(autoescape=True, loader=PackageLoader(__package__, ""))
    problems: list[Problem] = report.taken.problems[:SHOWN] if report.taken else []
    returns = report.taken.returned.returns[:SHOWN] if report.taken and report.taken.returned else []
    return environment.get_template("report.html").render(r=report, problems=problems, returns=returns)


def _shown(name: str) -> str:
    """A file's name as text; one that is not in UTF-8 with its strange octets replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def _cut(name: str) -> str:
    """A name that leaves room for a digest before it: file systems take 255 octets."""
    return _shown(name).encode()[:MAX_NAME].decode("utf-8", "ignore")


def _move(source: Path, target: Path) -> None:
    """Move within a file system, in one step that outlasts a power cut."""
    os.rename(source, target)
    _sync(source.parent)
    _sync(target.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
