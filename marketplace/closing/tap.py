"""What own subscribers used abroad, as TAP for the home billing: a file a visited network and period (decision 0099).

A settled record belongs to a request, the request to a purchase, the purchase to a subscriber, whom the home billing
knows by number. Files of one network are numbered without gaps, in the transaction that keeps them.
"""

import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.closing.repository import Closing
from marketplace.closing.schemas import Span
from marketplace.operator_database import execute, fetch, scalar
from settlement.ledger.messages import UsageRecord
from settlement.usage.rating import MINUTE_MS
from settlement.usage.tap3.usage import Batch, Settled, write_settled

LAST_SEQUENCE: Final = 99_999
"""After which file numbers begin again (TD.57)."""


class TapBatch(Struct, frozen=True):
    """The records of one visited network."""

    partner: str
    tadig: str
    settled: tuple[Settled, ...]


class _Used(Struct, frozen=True):
    entry: int
    request: UUID
    partner: str
    service: str
    start_ms: int
    offset_min: int
    duration: int
    units: int
    place: str
    charge_usdr: int
    msisdn: str


async def plan_tap(
    connection: AsyncConnection, span: Span, own_tadig: str, tadigs: Mapping[str, str]
) -> list[TapBatch]:
    """Records of own subscribers by visited network; networks without a TADIG code have no TAP."""
    if not own_tadig:
        return []
    rows = await fetch(
        connection,
        _Used,
        "SELECT c.*, s.msisdn FROM book_charges c JOIN purchase_items i ON i.request = c.request"
        " JOIN purchases p ON p.id = i.purchase JOIN subscribers s ON s.id = p.subscriber"
        " WHERE c.role = 'home' AND c.service IN ('data', 'voice', 'message') AND c.time_ms >= :from_ms"
        " AND c.time_ms < :to_ms ORDER BY c.partner, c.entry, c.request, c.position",
        from_ms=span.from_ms,
        to_ms=span.to_ms,
    )
    of_partner: dict[str, list[Settled]] = {}
    for row in rows:
        tadig = tadigs.get(row.partner, "")
        if tadig:
            of_partner.setdefault(row.partner, []).append(_settled(row, tadig))
    return [TapBatch(partner, tadigs[partner], tuple(settled)) for partner, settled in sorted(of_partner.items())]


def _settled(row: _Used, tadig: str) -> Settled:
    record = UsageRecord(
        row.service,  # type: ignore[arg-type]  # the query takes these three
        row.start_ms // MINUTE_MS,
        row.offset_min,
        row.duration,
        row.units,
        row.place,
    )
    return Settled(imsi="", network=tadig, record=record, charge=row.charge_usdr, msisdn=row.msisdn.lstrip("+"))


async def put_tap(
    connection: AsyncConnection, closing: Closing, span: Span, own_tadig: str, batch: TapBatch
) -> bytes | None:
    """Write and keep one file, once; its SHA-256, None where it is kept already."""
    sql = "SELECT count(*) FROM closing_files WHERE closing = :closing AND partner = :partner"
    if await scalar(connection, sql, closing=closing.id, partner=batch.partner):
        return None
    await execute(connection, "LOCK TABLE closing_files IN SHARE ROW EXCLUSIVE MODE")
    sql = "SELECT coalesce(max(sequence), 0) FROM closing_files WHERE partner = :partner"
    sequence = int(await scalar(connection, sql, partner=batch.partner)) + 1
    number = (sequence - 1) % LAST_SEQUENCE + 1
    name = f"CD{batch.tadig}{own_tadig}{number:05d}"
    made_s = span.to_ms // 1000
    with tempfile.TemporaryDirectory(prefix="landfall-tap-") as folder:
        file = Path(folder) / name
        write_settled(file, Batch(batch.tadig, own_tadig, number, made_s, made_s), batch.settled)
        octets = file.read_bytes()
    digest = sha256(octets).digest()
    await execute(
        connection,
        "INSERT INTO closing_files (closing, name, partner, sequence, amount_usdr, digest, octets)"
        " VALUES (:closing, :name, :partner, :sequence, :amount, :digest, :octets)",
        closing=closing.id,
        name=name,
        partner=batch.partner,
        sequence=sequence,
        amount=sum(one.charge for one in batch.settled),
        digest=digest,
        octets=octets,
    )
    return digest
