"""Breaks are known again by their marks; ages and exports tell what there is, and no record becomes a formula."""

import io
from typing import Any
from uuid import UUID

import polars as pl
from openpyxl import load_workbook

from marketplace.agreeing import model
from marketplace.agreeing.breaks import list_sightings
from marketplace.agreeing.export import write_page, write_workbook
from marketplace.agreeing.model import DAY_MS, bucket
from marketplace.agreeing.records import SCHEMA
from marketplace.agreeing.schemas import CaseView, RunView, SourceView
from marketplace.agreeing.service import age_cases
from settlement.reconciliation import Report, Rules, reconcile, summarise

TIME = 1_790_000_000_000
REQUEST = str(UUID(int=7))


def frame(*rows: tuple[str, int]) -> pl.DataFrame:
    made: list[tuple[Any, ...]] = [(key, "bravo", TIME, amount, REQUEST, 0, 0) for key, amount in rows]
    return pl.DataFrame(made, schema=SCHEMA, orient="row")


def find(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[list[model.Sighting], Report]:
    found = reconcile(ours, theirs, Rules())
    report = summarise(found)
    return list(list_sightings("bravo", "own-records/ledger", found, report)), report


OURS = frame(("A", 5), ("B", 7), ("B", 7), ("B", 7), ("", 11), ("", 11))
THEIRS = frame(("A", 6), ("B", 7), ("C", 13))


def test_every_break_has_a_mark_of_its_own_that_the_order_of_files_does_not_change() -> None:
    first, report = find(OURS, THEIRS)
    assert sorted(one.kind for one in first) == [
        "amount",
        "duplicate",
        "duplicate",
        "missing here",
        "missing there",
        "missing there",
    ]
    assert len({one.mark for one in first}) == len(first) == report.breaks_in_all
    again, _ = find(OURS.reverse(), THEIRS.reverse())
    assert {one.mark for one in again} == {one.mark for one in first}
    amount = next(one for one in first if one.kind == "amount")
    assert (amount.ours_usdr, amount.theirs_usdr, amount.at_stake_usdr, amount.request) == (5, 6, 1, UUID(REQUEST))
    assert (amount.records["ours"]["amount"], amount.records["theirs"]["amount"]) == (5, 6)


def test_another_amount_of_the_same_record_is_the_same_break() -> None:
    before = {one.mark for one in find(OURS, THEIRS)[0]}
    changed = frame(("A", 9), ("B", 7), ("C", 13))
    assert {one.mark for one in find(OURS, changed)[0]} == before


def views(days: int = 0, key: str = "A") -> list[CaseView]:
    found = []
    for number, sighting in enumerate(find(frame((key, 5)), frame((key, 6)))[0], 1):
        event = model.find(UUID(int=number), sighting, by="run", at_ms=TIME)
        case = model.replay([event])
        age = case.age_days(TIME + days * DAY_MS)
        found.append(CaseView(case, age, bucket(age)))
    return found


def test_ages_fall_into_the_steps_of_finance() -> None:
    for days, name in ((0, "0–30"), (30, "0–30"), (31, "31–60"), (60, "31–60"), (61, "61–90"), (91, "over 90")):
        lines = age_cases(views(days))
        assert [line.days for line in lines] == ["0–30", "31–60", "61–90", "over 90"]
        assert {line.days: line.cases for line in lines if line.cases} == {name: 1}
        assert sum(line.at_stake_usdr for line in lines) == 1


def test_a_workbook_and_a_page_show_text_as_text() -> None:
    nasty = '=HYPERLINK("http://x")<script>'
    cases = views(key=nasty)
    octets = write_workbook(cases, age_cases(cases))
    assert octets == write_workbook(cases, age_cases(cases)), "the same cases make the same octets"
    book = load_workbook(io.BytesIO(octets))
    assert book.sheetnames == ["Ageing", "Cases"]
    header, row = book["Cases"].iter_rows(values_only=True)
    told = dict(zip(header, row, strict=True))
    assert (told["key"], told["at stake SDRt"], told["state"]) == (nasty, 0.000001, "open")
    assert book["Cases"].cell(2, 4).data_type == "s"
    source = SourceView(origin="ledger", name="ledger")
    _, report = find(frame((nasty, 5)), frame((nasty, 6)))
    run = RunView(
        id=UUID(int=1),
        partner="bravo",
        period="2026-10",
        from_ms=0,
        to_ms=1,
        made_by="anna",
        made_ms=TIME,
        ours=source,
        theirs=source,
        report=report,
        cases=1,
        ageing=age_cases(cases),
    )
    page = write_page(run, cases)
    assert "<script>" not in page
    assert "Reconciliation with bravo, 2026-10" in page
    assert "What is to be ended, by age" in page
