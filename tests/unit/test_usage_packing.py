"""Records become reports that fit an entry, one group a request, in order."""

import time
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from marketplace.usage.service import MAX_GROUPS, _pack, _Stored
from settlement.ledger.envelope import Signer
from settlement.ledger.ids import new_id
from settlement.ledger.messages import ReportUsage, UsageGroup, UsageRecord
from settlement.usage.tariff import MAX_UNITS

WIDEST = msgspec.json.encode(UsageRecord("message", 10**8, -840, MAX_UNITS, MAX_UNITS, "310410", True)).decode()
SHORT = msgspec.json.encode(UsageRecord("data", 1, 0, 0, 1, "DE")).decode()


def rows(sizes: list[int], record: str) -> list[_Stored]:
    found: list[_Stored] = []
    for number, size in enumerate(sizes):
        found += [_Stored(len(found) + at, "home", UUID(int=number), 2**31, record) for at in range(size)]
    return found


def seal(groups: list[UsageGroup]) -> bytes:
    message = ReportUsage(id=new_id(), aud="x" * 255, exp=time.time_ns() // 10**6, groups=tuple(groups))
    return Signer(bytes(32)).sign(message)  # raises EnvelopeError where it is too large


@given(st.lists(st.integers(1, 900), min_size=1, max_size=700), st.sampled_from([WIDEST, SHORT]))
def test_every_report_fits_an_envelope_and_every_request_goes_on_from_its_first_record(
    sizes: list[int], record: str
) -> None:
    waiting = rows(sizes, record)
    seen: set[UUID] = set()
    for report in _pack(waiting):
        assert 1 <= len(report) <= MAX_GROUPS
        seal(
            [
                UsageGroup(
                    group.request,
                    group.sequence,
                    tuple(msgspec.json.decode(row.record, type=UsageRecord) for row in group.rows),
                )
                for group in report
            ]
        )
        for group in report:
            assert group.request not in seen, "a request is in one report at a time"
            seen.add(group.request)
            own = [row.position for row in waiting if row.request == group.request]
            assert [row.position for row in group.rows] == own[: len(group.rows)]
            assert group.rows
    assert seen == {row.request for row in waiting}
