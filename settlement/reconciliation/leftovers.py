"""Pairing the few records that do not meet one to one by key: plain Python, bounded in every direction.

Keys used more than once pair as often as both sides have them. Records of one party and request pair with near ones in
a window of time. And a record pairs with several of the other side that add up to it exactly, in amount, volume and
duration: one side often splits a session where the other does not.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from settlement.reconciliation.model import Rules

MAX_CANDIDATES: Final = 20
"""Records of the other side one is compared with, the nearest in time: the work stays linear on any input."""
MAX_PARTS: Final = 12
"""Records among which a sum is looked for, the nearest in time: 4,096 subsets at the most."""
MAX_SUM_STEPS: Final = 2_000_000
"""Steps of the search for sums in all, some two seconds; the report says when they were used up."""

Content = tuple[str, str, str, int, int, int, int]
"""A record without its row."""
Group = tuple[tuple[int, ...], tuple[int, ...]]
"""Rows of ours and of theirs that add up to the same: one against several."""


class Record(NamedTuple):
    """A record at its row; time in ms, amount in µSDRt, volume in octets, duration in seconds."""

    row: int
    key: str
    party: str
    request: str
    time: int
    amount: int
    volume: int
    duration: int

    @property
    def measures(self) -> tuple[int, int, int]:
        """What adds up over the parts of a session."""
        return self.amount, self.volume, self.duration


@dataclass
class RepeatedKeys:
    """What was found of keys that a side uses more than once."""

    pairs: list[tuple[int, int]] = field(default_factory=list)
    sums: list[Group] = field(default_factory=list)
    ours_duplicates: list[int] = field(default_factory=list)
    theirs_duplicates: list[int] = field(default_factory=list)


def pair_repeated_keys(ours: Iterable[Record], theirs: Iterable[Record]) -> RepeatedKeys:
    """Pair records whose key one side, or both, use more than once.

    One against several that add up to it: a sum. Otherwise equal ones first, then in the order of time; what one side
    has more of is duplicate. Where the other side has no such key, identical copies are duplicates and the rest stays.
    """
    found, here, there = RepeatedKeys(), _by_key(ours), _by_key(theirs)
    for key in sorted(here.keys() | there.keys()):
        mine, yours = here.get(key, []), there.get(key, [])
        if not mine or not yours:
            found.ours_duplicates += _copies(mine)
            found.theirs_duplicates += _copies(yours)
        elif min(len(mine), len(yours)) == 1 and _adds_up(mine, yours):
            found.sums.append((_rows(mine), _rows(yours)))
        else:
            mine, yours = _equal_first(mine, yours)
            found.pairs += zip(_rows(mine), _rows(yours), strict=False)
            found.ours_duplicates += _rows(mine)[len(yours) :]
            found.theirs_duplicates += _rows(yours)[len(mine) :]
    return found


def pair_in_window(ours: Iterable[Record], theirs: Iterable[Record], rules: Rules) -> tuple[list[tuple[int, int]], int]:
    """Pair records of one party and request that are within tolerance of each other, the nearest in amount first.

    Returns the pairs, and how many records had more than `MAX_CANDIDATES` others in their window.
    """
    near, cut, window = [], 0, rules.time_window_s * 1000
    there = _blocks(theirs)
    for block, mine in _blocks(ours).items():
        yours = there.get(block, [])
        times = [other.time for other in yours]
        for one in mine:
            others, all_of_them = _nearest(yours, times, one.time, window, MAX_CANDIDATES)
            cut += not all_of_them
            for other in others:
                if not any(
                    rules.differs(name, getattr(one, name), getattr(other, name))
                    for name in ("amount", "volume", "duration")
                ):
                    near.append((abs(one.amount - other.amount), abs(one.time - other.time), one.row, other.row))
    pairs, taken, given = [], set(), set()
    for _, _, row, other_row in sorted(near):
        if row not in taken and other_row not in given:
            taken.add(row)
            given.add(other_row)
            pairs.append((row, other_row))
    return pairs, cut


def pair_sums(ours: list[Record], theirs: list[Record], rules: Rules) -> tuple[list[Group], bool]:
    """Pair one record with several of the other side, in its window, that add up to it exactly; in both directions.

    Returns the groups, and whether the search was complete within `MAX_SUM_STEPS`.
    """
    one_to_many, steps = _sums(ours, theirs, rules, MAX_SUM_STEPS)
    taken = {whole for whole, _ in one_to_many}
    given = {row for _, parts in one_to_many for row in parts}
    many_to_one, steps = _sums(
        [record for record in theirs if record.row not in given],
        [record for record in ours if record.row not in taken],
        rules,
        steps,
    )
    groups: list[Group] = [((whole,), parts) for whole, parts in one_to_many] + [
        (parts, (whole,)) for whole, parts in many_to_one
    ]
    return groups, steps > 0


def _sums(
    wholes: list[Record], pieces: list[Record], rules: Rules, steps: int
) -> tuple[list[tuple[int, tuple[int, ...]]], int]:
    found: list[tuple[int, tuple[int, ...]]] = []
    used, window = set[int](), rules.time_window_s * 1000
    blocks = _blocks(pieces)
    for block, many in _blocks(wholes).items():
        parts = [part for part in blocks.get(block, []) if part.amount]
        times = [part.time for part in parts]
        for whole in many:
            if steps <= 0:
                return found, 0
            others, _ = _nearest(parts, times, whole.time, window, MAX_PARTS)
            free = [part for part in others if part.row not in used]
            chosen, steps = _subset(sorted(free, key=lambda part: (-part.amount, part.row)), whole.measures, steps)
            if chosen:
                used.update(chosen)
                found.append((whole.row, chosen))
    return found, steps


def _subset(parts: list[Record], whole: tuple[int, int, int], steps: int) -> tuple[tuple[int, ...], int]:
    """Rows of two or more parts that add up to `whole`, or none; and the steps that are left."""
    behind = [0]
    for part in reversed(parts):
        behind.append(behind[-1] + part.amount)
    behind.reverse()
    stack: list[tuple[int, tuple[int, ...], tuple[int, int, int]]] = [(0, (), whole)]
    while stack and steps > 0:
        at, chosen, (amount, volume, duration) = stack.pop()
        steps -= 1
        if not (amount or volume or duration) and len(chosen) > 1:
            return chosen, steps
        if at == len(parts) or amount > behind[at] or min(amount, volume, duration) < 0 or not amount:
            continue
        part = parts[at]
        stack.append((at + 1, chosen, (amount, volume, duration)))
        rest = (amount - part.amount, volume - part.volume, duration - part.duration)
        stack.append((at + 1, (*chosen, part.row), rest))
    return (), steps


def _nearest(records: list[Record], times: list[int], time: int, window: int, most: int) -> tuple[list[Record], bool]:
    """The records within `window` ms of `time`, at most `most` of them, and whether these are all."""
    low, high = bisect_left(times, time - window), bisect_right(times, time + window)
    if high - low <= most:
        return records[low:high], True
    start = max(low, min(bisect_left(times, time, low, high) - most // 2, high - most))
    return records[start : start + most], False


def _blocks(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    blocks: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=attrgetter("time", "row")):
        blocks[record.party, record.request].append(record)
    return blocks


def _by_key(records: Iterable[Record]) -> dict[str, list[Record]]:
    keys: defaultdict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=attrgetter("time", "row")):
        keys[record.key].append(record)
    return keys


def _rows(records: Iterable[Record]) -> tuple[int, ...]:
    return tuple(record.row for record in records)


def _copies(records: list[Record]) -> list[int]:
    seen, copies = set(), []
    for record in records:
        if record[1:] in seen:
            copies.append(record.row)
        seen.add(record[1:])
    return copies


def _adds_up(mine: list[Record], yours: list[Record]) -> bool:
    if len(mine) == len(yours) or len({record.party for record in (*mine, *yours)}) > 1:
        return False
    sums = [[sum(measure) for measure in zip(*(r.measures for r in side), strict=True)] for side in (mine, yours)]
    return sums[0] == sums[1]


def _equal_first(mine: list[Record], yours: list[Record]) -> tuple[list[Record], list[Record]]:
    """Both lists with the records equal on both sides in front, in the same order."""
    common = Counter(record[1:] for record in mine) & Counter(record[1:] for record in yours)
    return _front(mine, common), _front(yours, common)


def _front(records: list[Record], common: Counter[Content]) -> list[Record]:
    left = common.copy()
    equal: list[Record] = []
    other: list[Record] = []
    for record in records:
        into = equal if left[record[1:]] else other
        left[record[1:]] -= into is equal
        into.append(record)
    return sorted(equal, key=lambda record: (record[1:], record.row)) + other
