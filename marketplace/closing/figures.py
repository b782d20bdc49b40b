"""What the book has of a period: sums and rows, as documents state them. Amounts are micro-SDRt."""

from datetime import date
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.closing.schemas import Span
from marketplace.operator_database import fetch, scalar


class Sold(Struct, frozen=True):
    """What one partner used of one offer's service, and for how much."""

    partner: str
    offer: UUID
    service: str
    units: int
    charge_usdr: int


class Turnover(Struct, frozen=True):
    """Charges with a partner in one role: before the period, and in it; and what of them was paid from escrow."""

    partner: str
    role: str
    before_usdr: int
    charged_usdr: int


class Paid(Struct, frozen=True):
    """Movements with a partner of one cause: before the period and in it, and the entries they are of."""

    partner: str
    cause: str
    before_usdr: int
    amount_usdr: int
    first: int | None
    last: int | None


class DayMoved(Struct, frozen=True):
    """Movements of one day, cause and partner."""

    day: date
    cause: str
    partner: str
    first: int
    last: int
    entries: int
    amount_usdr: int


class Charge(Struct, frozen=True):
    """One rated record."""

    entry: int
    request: UUID
    position: int
    service: str
    start_ms: int
    offset_min: int
    duration: int
    units: int
    place: str
    charge_usdr: int


class DebtLine(Struct, frozen=True):
    """A change of an obligation."""

    entry: int
    obligation: UUID
    time_ms: int
    cause: str
    source: UUID | None
    amount_usdr: int


class Ended(Struct, frozen=True):
    """A dispute that ended in the period."""

    entry: int
    time_ms: int
    partner: str
    reference: str
    amount_usdr: int


async def list_sold(connection: AsyncConnection, span: Span) -> list[Sold]:
    """What this operator sold as visited, by partner, offer and service."""
    return await fetch(
        connection,
        Sold,
        "SELECT partner, offer, service, CAST(sum(units) AS bigint) AS units,"
        " CAST(sum(charge_usdr) AS bigint) AS charge_usdr FROM book_charges"
        " WHERE role = 'visited' AND time_ms >= :from_ms AND time_ms < :to_ms"
        " GROUP BY partner, offer, service ORDER BY partner, offer, service",
        from_ms=span.from_ms,
        to_ms=span.to_ms,
    )


async def list_turnover(connection: AsyncConnection, span: Span) -> list[Turnover]:
    """Charges by partner and role."""
    return await fetch(
        connection,
        Turnover,
        "SELECT partner, role,"
        " CAST(coalesce(sum(charge_usdr) FILTER (WHERE time_ms < :from_ms), 0) AS bigint) AS before_usdr,"
        " CAST(coalesce(sum(charge_usdr) FILTER (WHERE time_ms >= :from_ms), 0) AS bigint) AS charged_usdr"
        " FROM book_charges WHERE time_ms < :to_ms GROUP BY partner, role ORDER BY partner, role",
        from_ms=span.from_ms,
        to_ms=span.to_ms,
    )


async def list_paid(connection: AsyncConnection, span: Span) -> list[Paid]:
    """Movements by partner and cause."""
    return await fetch(
        connection,
        Paid,
        "SELECT partner, cause,"
        " CAST(coalesce(sum(amount_usdr) FILTER (WHERE time_ms < :from_ms), 0) AS bigint) AS before_usdr,"
        " CAST(coalesce(sum(amount_usdr) FILTER (WHERE time_ms >= :from_ms), 0) AS bigint) AS amount_usdr,"
        " min(entry) FILTER (WHERE time_ms >= :from_ms) AS first, max(entry) FILTER (WHERE time_ms >= :from_ms) AS last"
        " FROM book_movements WHERE time_ms < :to_ms GROUP BY partner, cause ORDER BY partner, cause",
        from_ms=span.from_ms,
        to_ms=span.to_ms,
    )


async def list_days(connection: AsyncConnection, span: Span) -> list[DayMoved]:
    """Movements of the period by day, cause and partner, in the order of their first entries."""
    return await fetch(
        connection,
        DayMoved,
        "SELECT CAST(to_timestamp(time_ms / 1000.0) AT TIME ZONE 'UTC' AS date) AS day, cause, partner,"
        " min(entry) AS first, max(entry) AS last, count(*) AS entries, CAST(sum(amount_usdr) AS bigint) AS amount_usdr"
        " FROM book_movements WHERE time_ms >= :from_ms AND time_ms < :to_ms AND amount_usdr <> 0"
        " GROUP BY 1, 2, 3 ORDER BY 1, 4",
        from_ms=span.from_ms,
        to_ms=span.to_ms,
    )


async def sum_before(connection: AsyncConnection, from_ms: int) -> int:
    """The operator's total at the period's first millisecond."""
    sql = "SELECT CAST(coalesce(sum(amount_usdr), 0) AS bigint) FROM book_movements WHERE time_ms < :from_ms"
    return int(await scalar(connection, sql, from_ms=from_ms))


async def list_charges(connection: AsyncConnection, span: Span, role: str, partner: str) -> list[Charge]:
    """Records rated in the period, in the log's order."""
    return await fetch(
        connection,
        Charge,
        "SELECT * FROM book_charges WHERE role = :role AND partner = :partner AND time_ms >= :from_ms"
        " AND time_ms < :to_ms ORDER BY entry, request, position",
        role=role,
        partner=partner,
        from_ms=span.from_ms,
        to_ms=span.to_ms,
    )


async def list_debt_lines(connection: AsyncConnection, to_ms: int) -> list[DebtLine]:
    """Every change of an obligation before a moment, in the log's order."""
    sql = "SELECT * FROM book_debts WHERE time_ms < :to_ms ORDER BY entry, obligation"
    return await fetch(connection, DebtLine, sql, to_ms=to_ms)


async def list_ended_disputes(connection: AsyncConnection, span: Span) -> list[Ended]:
    """Disputes that somebody accepted, decided or let lapse in the period."""
    sql = (
        "SELECT * FROM book_movements WHERE cause = 'dispute' AND time_ms >= :from_ms AND time_ms < :to_ms"
        " ORDER BY entry"
    )
    return await fetch(connection, Ended, sql, from_ms=span.from_ms, to_ms=span.to_ms)
