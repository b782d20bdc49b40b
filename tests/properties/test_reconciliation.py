"""Random differences put into one side are all found, each by its name, and nothing else is; counts and sums add up.

Amounts are powers of three, so that no two different sets of records add up to the same by chance.
"""

from collections import Counter
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.reconciliation import Kind, Rules, Via, list_breaks, reconcile, summarise

COLUMNS = {
    "key": pl.String,
    "party": pl.String,
    "request": pl.String,
    "time": pl.Int64,
    "amount": pl.Int64,
    "volume": pl.Int64,
    "duration": pl.Int64,
}
RULES = Rules(time_window_s=60, amount_tolerance=1, volume_tolerance_ppm=1000)
START = 1_790_000_000_000
Row = dict[str, Any]

CHANGES = [
    "none",
    "no key",
    "near",
    "near without key",
    "wrong party",
    "amount",
    "volume",
    "duration",
    "late",
    "twice there",
    "twice here",
    "missing here",
    "missing there",
    "split there",
    "split here by key",
]


def _row(number: int) -> Row:
    return {
        "key": f"K{number}",
        "party": "AB"[number % 2],
        "request": f"R{number % 3}",
        "time": START + number * 1000,
        "amount": 3 ** (number + 5),
        "volume": 1_000_000 + number,
        "duration": 60 + number,
    }


def _halves(row: Row) -> tuple[Row, Row]:
    first = {**row, "amount": row["amount"] // 3, "volume": row["volume"] // 3, "duration": row["duration"] // 3}
    return first, {**row, **{name: row[name] - first[name] for name in ("amount", "volume", "duration")}}


def _apply(change: str, row: Row) -> tuple[list[Row], list[Row], list[tuple[Kind, Via]], list[tuple[Kind, Via]]]:
    """What each side has of a record after a change, and what is to be found of it."""
    pair = (Kind.MATCHED, Via.KEY)
    match change:
        case "none":
            return [row], [row], [pair], [pair]
        case "no key":
            window = (Kind.MATCHED, Via.WINDOW)
            return [row], [{**row, "key": ""}], [window], [window]
        case "near":
            found = (Kind.WITHIN, Via.KEY)
            return [row], [{**row, "amount": row["amount"] + 1, "time": row["time"] - 60_000}], [found], [found]
        case "near without key":
            found = (Kind.WITHIN, Via.WINDOW)
            return [row], [{**row, "key": f"other {row['key']}", "volume": row["volume"] + 900}], [found], [found]
        case "wrong party":
            found = (Kind.WRONG_PARTY, Via.KEY)
            return [row], [{**row, "party": "C", "amount": 1}], [found], [found]
        case "amount":
            found = (Kind.AMOUNT, Via.KEY)
            return [row], [{**row, "amount": row["amount"] + 2, "volume": 1}], [found], [found]
        case "volume":
            found = (Kind.VOLUME, Via.KEY)
            return [row], [{**row, "volume": row["volume"] + 1100, "duration": 0}], [found], [found]
        case "duration":
            found = (Kind.DURATION, Via.KEY)
            return [row], [{**row, "duration": row["duration"] + 1}], [found], [found]
        case "late":
            found = (Kind.LATE, Via.KEY)
            return [row], [{**row, "time": row["time"] + 60_001}], [found], [found]
        case "twice there":
            return [row], [row, row], [pair], [pair, (Kind.DUPLICATE, Via.KEY)]
        case "twice here":
            return [row, row, row], [row], [pair, *[(Kind.DUPLICATE, Via.KEY)] * 2], [pair]
        case "missing here":
            return [], [row], [], [(Kind.MISSING_HERE, Via.NONE)]
        case "missing there":
            return [row], [], [(Kind.MISSING_THERE, Via.NONE)], []
        case "split there":
            first, second = _halves(row)
            found = (Kind.MATCHED, Via.SUM)
            return [row], [{**first, "key": ""}, {**second, "key": ""}], [found], [found] * 2
        case _:
            found = (Kind.MATCHED, Via.SUM)
            return list(_halves(row)), [row], [found] * 2, [found]


def _frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS)


def _found(side: pl.DataFrame) -> Counter[tuple[str, str, str]]:
    numbers = side["request"].str.slice(1).to_list()
    return Counter(zip(numbers, side["kind"].to_list(), side["via"].to_list(), strict=True))


@settings(max_examples=100, deadline=None)
@given(changes=st.lists(st.sampled_from(CHANGES), max_size=25), order=st.randoms(use_true_random=False))
def test_injected_differences_are_all_found_and_nothing_else(changes: list[str], order: Any) -> None:
    ours, theirs, expected = [], [], (Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]())
    for number, change in enumerate(changes):
        # one request a record, so that a finding can be told from its neighbours'
        here, there, *found = _apply(change, {**_row(number), "request": f"R{number}"})
        ours += here
        theirs += there
        for side, kinds in zip(expected, found, strict=True):
            side.update((str(number), kind.value, via.value) for kind, via in kinds)
    order.shuffle(ours)
    order.shuffle(theirs)
    result = reconcile(_frame(ours), _frame(theirs), RULES)
    assert (_found(result.ours), _found(result.theirs)) == expected


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.sampled_from(CHANGES), max_size=25))
def test_the_same_holds_where_records_share_parties_and_requests(changes: list[str]) -> None:
    ours, theirs, expected = [], [], Counter[str]()
    for number, change in enumerate(changes):
        here, there, found, _ = _apply(change, _row(number))
        ours += here
        theirs += there
        expected.update(kind.value for kind, _ in found)
    assert Counter(reconcile(_frame(ours), _frame(theirs), RULES).ours["kind"].to_list()) == expected


rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["", "a", "b", "c"]),
            "party": st.sampled_from(["A", "B"]),
            "request": st.just("R"),
            "time": st.sampled_from([START, START + 1, START + 200_000]),
            "amount": st.integers(0, 4),
            "volume": st.integers(0, 1),
            "duration": st.just(0),
        }
    ),
    max_size=14,
)


@settings(max_examples=120, deadline=None)
@given(ours=rows_of, theirs=rows_of)
def test_whatever_the_input_counts_and_sums_add_up_and_sides_agree(ours: list[Row], theirs: list[Row]) -> None:
    found = reconcile(_frame(ours), _frame(theirs), RULES)
    report = summarise(found)  # asserts that the kinds add up to the input
    assert report.ours.amount == sum(row["amount"] for row in ours)
    assert report.theirs.records == len(theirs)
    ages = Counter[Kind]()
    for age in report.ageing:
        ages[age.kind] += age.breaks
    singles = [Kind.DUPLICATE, Kind.MISSING_HERE, Kind.MISSING_THERE]
    for tally in report.kinds[1:]:
        if tally.kind in singles:
            assert ages[tally.kind] == tally.ours + tally.theirs
        else:
            assert tally.ours == tally.theirs
            assert ages[tally.kind] == (tally.ours if tally.kind is not Kind.WITHIN else 0)
    assert list_breaks(found).height == report.breaks_in_all == sum(ages.values())
    for match in set(found.ours["match"].to_list()) - {-1}:  # counterparts are one to one, or add up
        here, there = (side.filter(pl.col("match") == match) for side in (found.ours, found.theirs))
        assert here["kind"].unique().to_list() == there["kind"].unique().to_list()
        if here["via"][0] == Via.SUM:
            assert min(here.height, there.height) == 1
            assert here["amount"].sum() == there["amount"].sum()
            assert here["volume"].sum() == there["volume"].sum()
        else:
            assert here.height == there.height == 1
