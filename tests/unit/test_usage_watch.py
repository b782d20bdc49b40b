"""A watched folder: every file once, by its content, however often the watcher dies; a report beside each."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.usage import watching
from settlement.usage.cli import app
from settlement.usage.taking import Sources, read_mappings
from settlement.usage.tap3.checks import validate
from settlement.usage.tap3.rap import write_return
from settlement.usage.tap3.writer import write_batch
from settlement.usage.watch_cli import deliver_to
from settlement.usage.watching import FileReport, Watch
from tests import tap_batch

MAPPING = """
[imsi]
column = "imsi"
[service]
column = "service"
[start]
column = "start"
[place]
column = "place"
[units]
data = { column = "units", unit = "kB" }
voice = { column = "units", unit = "seconds" }
message = { value = 1 }
"""
HEADER = "imsi,service,start,place,units\n"
GOOD = (
    HEADER + "262011234567890,data,2026-11-02T10:00:00Z,25001,5\n262011234567890,voice,2026-11-02T11:00:00Z,25001,61\n"
)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "billing.toml").write_text(MAPPING)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def look(inbox: Path, deliver: Any = None, *, settle_s: float = 0) -> list[FileReport]:
    mappings = read_mappings([str(inbox.parent / "billing.toml")])
    sources = Sources(mappings, {"RUS01": "25001"})
    watch = Watch(inbox, sources, deliver or deliver_to(inbox.parent / "out"), settle_s=settle_s)
    with watch.alone():
        return list(watch.look())


def booked(inbox: Path) -> list[dict[str, Any]]:
    batches = sorted((inbox.parent / "out").glob("*.json")) if (inbox.parent / "out").exists() else []
    return [record for batch in batches for record in json.loads(batch.read_bytes())["records"]]


def left(inbox: Path) -> list[str]:
    return [path.name for path in inbox.iterdir() if path.is_file()] + [
        path.name for path in (inbox / ".work").iterdir() if path.is_dir()
    ]


def test_a_file_is_taken_and_leaves_a_report(inbox: Path) -> None:
    (inbox / "ноябрь <b>.csv").write_text(GOOD)
    [report] = look(inbox)
    assert (report.status, report.name, report.stored) == ("taken", "ноябрь <b>.csv", 2)
    assert (inbox / report.kept_as).read_text() == GOOD
    assert [record["units"] for record in booked(inbox)] == [5000, 61]
    [page] = (inbox / "reports").glob("*.html")
    assert "ноябрь &lt;b&gt;.csv" in page.read_text()
    assert "262011234567890" not in page.read_text()
    assert left(inbox) == []
    assert look(inbox) == []


def test_the_same_content_under_another_name_is_a_copy(inbox: Path) -> None:
    (inbox / "one.csv").write_text(GOOD)
    look(inbox)
    (inbox / "two.csv").write_text(GOOD)
    [report] = look(inbox)
    assert (report.status, report.copy_of) == ("copy", "one.csv")
    assert len(booked(inbox)) == 2


def test_a_file_with_anything_wrong_is_refused_whole_and_may_come_again(inbox: Path) -> None:
    (inbox / "bad.csv").write_text(GOOD + "262011234567890,fax,2026-11-02T10:00:00Z,25001,5\n")
    [report] = look(inbox)
    assert report.status == "refused"
    assert report.taken is not None
    [problem] = report.taken.problems
    assert (problem.place, problem.field, problem.value) == (4, "service", "fax")
    assert booked(inbox) == []
    (inbox / "bad.csv").write_text(GOOD)
    assert [one.status for one in look(inbox)] == ["taken"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", b"", "its header would be"),
        ("strange.dat", b"hello", "no mapping is for its name"),
        ("wide.csv", b",".join(b"c" for _ in range(1_000_000)), "65536 octets"),
        ("other.csv", HEADER.encode() + "262011234567890,данные,,,\n".encode("cp1251"), "utf-8"),
        ("cut", b"\x61\x84\x7f\xff\xff\xff", "cut"),
        ("rap", b"\x7f\x84\x16\x00", "missing-field"),
        ("crowded.csv", HEADER.encode() + b",".join(b"" for _ in range(2000)) + b"\n", "more than 1000"),
        ("not.xlsx", b"PK\x03\x04", "no mapping"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_moved_away(
    inbox: Path, name: str, content: bytes, told: str
) -> None:
    (inbox / name).write_bytes(content)
    [report] = look(inbox)
    assert report.status == "refused"
    assert report.taken is not None
    assert told in " ".join(f"{one.field} {one.value} {one.why}" for one in report.taken.problems)
    assert (booked(inbox), left(inbox)) == ([], [])


def test_a_workbook_is_taken_by_its_own_mapping(inbox: Path) -> None:
    (inbox.parent / "billing.toml").write_text('format = "xlsx"\n' + MAPPING)
    book = openpyxl.Workbook()
    assert book.active is not None
    for line in GOOD.splitlines():
        book.active.append(line.split(","))
    book.save(inbox / "usage.xlsx")
    assert [report.stored for report in look(inbox)] == [2]


def test_a_file_that_is_still_being_written_is_left_alone(inbox: Path) -> None:
    for name in ("new.csv.part", ".hidden.csv", "~$book.xlsx"):
        (inbox / name).write_text(GOOD)
    (inbox / "fresh.csv").write_text(GOOD)
    (inbox / "link.csv").symlink_to("fresh.csv")
    assert look(inbox, settle_s=3600) == []
    os.utime(inbox / "fresh.csv", (0, 0))
    assert [report.name for report in look(inbox, settle_s=3600)] == ["fresh.csv"]


def test_two_watchers_do_not_share_a_folder(inbox: Path) -> None:
    watch = Watch(inbox, Sources(()), deliver_to(inbox.parent / "out"))
    with watch.alone(), pytest.raises(LandfallError, match="another process"), watch.alone():
        pass


def test_a_node_that_is_away_is_tried_again_with_the_same_batches(inbox: Path) -> None:
    def refuse(batch: Path) -> dict[str, Any]:
        raise LandfallError("the node does not answer")

    (inbox / "one.csv").write_text(GOOD)
    with pytest.raises(LandfallError, match="does not answer"):
        look(inbox, refuse)
    (inbox.parent / "billing.toml").write_text(MAPPING.replace('"kB"', '"MB"'))  # too late for a file under way
    assert [report.status for report in look(inbox)] == ["taken"]
    assert [record["units"] for record in booked(inbox)] == [5000, 61]


def test_a_file_the_node_refuses_does_not_hold_up_the_others(inbox: Path) -> None:
    def refuse(batch: Path) -> dict[str, Any]:
        raise LandfallError("no")

    (inbox / "one.csv").write_text(GOOD)
    with pytest.raises(LandfallError):
        look(inbox, refuse)
    (inbox / "two.csv").write_text(GOOD.replace("10:00", "12:00"))

    def refuse_the_first(batch: Path) -> dict[str, Any]:
        if json.loads(batch.read_bytes())["records"][0]["start_ms"] % 86_400_000 == 36_000_000:
            raise LandfallError("never")
        return deliver_to(inbox.parent / "out")(batch)

    with pytest.raises(LandfallError, match="never"):
        look(inbox, refuse_the_first)
    assert len(booked(inbox)) == 2
    assert [report.name for report in look(inbox)] == ["one.csv"]


def test_tap_is_taken_and_rap_is_applied_to_what_was_taken(inbox: Path, tmp_path: Path) -> None:
    tap = inbox / "CDRUS01DEUD100003"
    write_batch(tap, tap_batch.header("00003"), [tap_batch.call(0), tap_batch.session(1)])
    bad = tmp_path / "bad"
    events = [tap_batch.session(1)]
    events[0]["gprsCall"]["gprsLocationInformation"]["gprsNetworkLocation"]["recEntity"] = [9]
    write_batch(bad, tap_batch.header("00003"), events)
    [report] = look(inbox)
    assert (report.status, report.stored) == ("taken", 2)
    write_return(inbox / "RCDEUD1RUS0100001", bad, validate(bad), sequence=1, created_s=1_793_000_000)
    [report] = look(inbox)
    assert report.taken is not None
    assert report.taken.returned is not None
    [back] = report.taken.returned.returns
    assert (report.status, back.status, back.record) == ("taken", "applied", 2)
    [lines] = (inbox / "reports").glob("*.returned.jsonl")
    assert "gprsCall" in lines.read_text()
    write_batch(tap, tap_batch.header("00003"), [tap_batch.call(9)])
    [report] = look(inbox)
    assert report.taken is not None
    assert (report.status, report.taken.problems[0].why[:15]) == ("refused", "sequence-reused")


def die_at(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a process that dies, as by kill -9, before its n-th change on disk; whether it got to the end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    steps = iter(range(1, step))

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            if next(steps, None) is None:
                os._exit(9)
            return function(*arguments, **named)

        return run

    for owner, name in (
        (os, "rename"), (os, "replace"), (os, "fsync"), (os, "open"), (shutil, "rmtree"), (shutil, "copyfile"),
        (Path, "mkdir"), (Path, "write_text"), (Path, "replace"), (watching.Watch, "_note_number"),
    ):  # fmt: skip
        setattr(owner, name, deadly(getattr(owner, name)))
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def test_a_watcher_that_is_killed_anywhere_loses_and_doubles_nothing(inbox: Path) -> None:
    look(inbox)  # makes its folders
    survived = False
    step = 0
    while not survived:
        step += 1
        assert step < 300
        content = GOOD.replace("10:00:00Z", f"10:{step // 60:02d}:{step % 60:02d}Z")
        (inbox / f"file-{step}.csv").write_text(content)
        before = len(booked(inbox))
        survived = die_at(step, lambda: look(inbox))
        look(inbox)
        assert len(booked(inbox)) == before + 2, f"killed before change {step}"
        assert left(inbox) == []
        assert len(list((inbox / "taken").iterdir())) == step
        (inbox / "again.csv").write_text(content)
        assert [report.status for report in look(inbox)] == ["copy"]
        (inbox / "taken" / next(p.name for p in (inbox / "taken").iterdir() if p.name.endswith("again.csv"))).unlink()
    assert step > 20, "this many changes on disk, or the test does not see them"


def test_the_command_takes_what_is_there(inbox: Path) -> None:
    (inbox / "one.csv").write_text(GOOD)
    (inbox / "two.csv").write_text(HEADER + "x,data,2026-11-02T10:00:00Z,25001,5\n")
    arguments = ["watch", str(inbox), "-m", str(inbox.parent / "billing.toml"), "--out", str(inbox.parent / "out")]
    told = CliRunner().invoke(app, [*arguments, "--once", "--settle", "0"])
    assert told.exit_code == 1, told.output
    assert "one.csv: taken, 2 of 2 records" in told.output
    assert "two.csv: refused, 1 problem; line or record 2, imsi, 'x': " in told.output
    (inbox / "three.csv").write_text(GOOD)
    told = CliRunner().invoke(app, [*arguments, "--once", "--settle", "0", "--json"])
    assert json.loads(told.stdout)["status"] == "copy"
