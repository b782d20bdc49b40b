"""From a reconciliation to sightings: each break with a mark by which it is known again."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import polars as pl

from marketplace.agreeing.model import Sighting
from settlement.reconciliation import Break, Reconciliation, Report


def list_sightings(partner: str, basis: str, found: Reconciliation, report: Report) -> Iterator[Sighting]:
    """Every break of the report, in its order.

    A break is known again by partner, kind and the record's key; a record without a key by all it says. Of several
    alike, the first in the files is the first again.
    """
    assert report.breaks_in_all == len(report.breaks), "the report was cut short"
    places = {id(one): number for number, one in _number(report.breaks)}
    for one in report.breaks:
        request = _request(found.ours, one.ours_record) or _request(found.theirs, one.theirs_record)
        yield Sighting(
            mark=mark_of(basis, partner, one.kind.value, *_identity(one, request), places[id(one)]),
            partner=partner,
            source="reconciliation",
            basis=basis,
            kind=one.kind.value,
            key=one.key,
            time_ms=int(datetime.fromisoformat(one.time).timestamp() * 1000),
            request=_uuid(request),
            at_stake_usdr=one.at_stake,
            ours_usdr=one.ours_amount,
            theirs_usdr=one.theirs_amount,
            records=_sides(one, request),
        )


def mark_of(*parts: Any) -> str:
    """SHA-256 of what identifies a difference."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _number(breaks: tuple[Break, ...]) -> Iterator[tuple[int, Break]]:
    """Of breaks alike, the how manieth each is, by the order of the files."""
    seen: Counter[tuple[Any, ...]] = Counter()
    for one in sorted(breaks, key=lambda one: (one.ours_record or 0, one.theirs_record or 0)):
        alike = (one.kind, *_identity(one, ""))
        yield seen[alike], one
        seen[alike] += 1


def _identity(one: Break, request: str) -> tuple[Any, ...]:
    if one.key:
        return ("key", one.key)
    values = tuple(
        getattr(one, f"{side}_{name}") for side in ("ours", "theirs") for name in ("amount", "volume", "duration")
    )
    return ("record", request, one.party, one.time, one.theirs_party, one.theirs_time, *values)


def _sides(one: Break, request: str) -> dict[str, Any]:
    """Both records as they stood in their files, without their numbers there, which change from file to file."""
    sides: dict[str, Any] = {}
    for side, there in (("ours", one.ours_record), ("theirs", one.theirs_record)):
        if there is None:
            continue
        fields = {name: getattr(one, f"{side}_{name}") for name in ("amount", "volume", "duration")}
        other = side == "theirs"
        sides[side] = {
            "key": one.key,
            "party": (other and one.theirs_party) or one.party,
            "time": (other and one.theirs_time) or one.time,
            "request": request,
            **{name: value for name, value in fields.items() if value is not None},
        }
    return sides


def _request(side: pl.DataFrame, record: int | None) -> str:
    if record is None or "request" not in side.columns:
        return ""
    return str(side["request"][record - 1] or "")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
