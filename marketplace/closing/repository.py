"""What the book has of a period, and closings with their steps, in the node's database."""

from datetime import date
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.closing.schemas import ClosingView, DocumentView, FileView, Span, StepView
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import execute, execute_many, fetch, fetch_one, scalar


class Closing(Struct, frozen=True):
    """A closing's own row."""

    id: str
    from_ms: int
    to_ms: int
    state: str
    attempt: int
    issued_on: date
    done_ms: int | None
    error: str | None


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


async def list_invoiced(connection: AsyncConnection) -> set[UUID]:
    """Obligations that stand on an invoice of a closing."""
    rows = await fetch(connection, _Obligation, "SELECT obligation FROM closing_obligations")
    return {row.obligation for row in rows}


class _Obligation(Struct, frozen=True):
    obligation: UUID


# closings


async def lock_closings(connection: AsyncConnection) -> None:
    """Until the transaction's end nobody else begins a closing; reading goes on."""
    await execute(connection, "LOCK TABLE closings IN SHARE ROW EXCLUSIVE MODE")


async def insert_closing(connection: AsyncConnection, span: Span, issued_on: date, steps: tuple[str, ...]) -> None:
    """A closing with its steps, none of them taken."""
    await execute(
        connection,
        "INSERT INTO closings (id, from_ms, to_ms, issued_on, asked_ms) VALUES (:id, :from_ms, :to_ms, :on, :now)",
        id=span.id,
        from_ms=span.from_ms,
        to_ms=span.to_ms,
        on=issued_on,
        now=now_ms(),
    )
    await execute_many(
        connection,
        "INSERT INTO closing_steps (closing, number, name) VALUES (:closing, :number, :name)",
        [{"closing": span.id, "number": number, "name": name} for number, name in enumerate(steps)],
    )


async def find_closing(connection: AsyncConnection, closing: str, *, lock: bool = False) -> Closing | None:
    """A closing's row."""
    sql = "SELECT * FROM closings WHERE id = :id" + (" FOR UPDATE" if lock else "")  # noqa: S608 - no value in it
    return await fetch_one(connection, Closing, sql, id=closing)


async def find_overlapping(connection: AsyncConnection, span: Span) -> str | None:
    """Another closing that has entries of this span."""
    sql = "SELECT id FROM closings WHERE from_ms < :to_ms AND to_ms > :from_ms AND id <> :id LIMIT 1"
    found: str | None = await scalar(connection, sql, id=span.id, from_ms=span.from_ms, to_ms=span.to_ms)
    return found


async def list_closings(connection: AsyncConnection) -> list[Closing]:
    """All closings, the latest period first."""
    return await fetch(connection, Closing, "SELECT * FROM closings ORDER BY from_ms DESC")


async def list_steps(connection: AsyncConnection, closing: str) -> list[StepView]:
    """The steps of a closing in order."""
    return await fetch(
        connection, StepView, "SELECT * FROM closing_steps WHERE closing = :c ORDER BY number", c=closing
    )


async def set_step(
    connection: AsyncConnection,
    closing: str,
    name: str,
    state: str,
    *,
    done: int | None = None,
    total: int | None = None,
    told: str | None = None,
) -> None:
    """Move a step on; what is not given stays."""
    await execute(
        connection,
        "UPDATE closing_steps SET state = :state, done = coalesce(:done, done), total = coalesce(:total, total),"
        " told = coalesce(:told, told) WHERE closing = :closing AND name = :name",
        closing=closing,
        name=name,
        state=state,
        done=done,
        total=total,
        told=told,
    )


async def set_closing(connection: AsyncConnection, closing: str, state: str, *, error: str | None = None) -> None:
    """Move a closing on."""
    await execute(
        connection,
        "UPDATE closings SET state = :state, error = :error, done_ms = :done WHERE id = :id",
        id=closing,
        state=state,
        error=error,
        done=now_ms() if state == "done" else None,
    )


async def view_closing(connection: AsyncConnection, row: Closing, name: str) -> ClosingView:
    """A closing as staff see it."""
    steps = await list_steps(connection, row.id)
    done = sum(100 if step.state == "done" else 100 * step.done // step.total if step.total else 0 for step in steps)
    return ClosingView(
        id=row.id,
        period=name,
        from_ms=row.from_ms,
        to_ms=row.to_ms,
        state=row.state,  # type: ignore[arg-type]  # checked by the table
        progress=100 if row.state == "done" else done // max(len(steps), 1),
        steps=tuple(steps),
        issued_on=row.issued_on,
        done_ms=row.done_ms,
        error=row.error,
    )


# what came of it


class _Made(Struct, frozen=True):
    closing: str
    document: int
    kind: str
    number: str
    counterparty: str | None
    amount_usdr: int
    issued_on: date


async def list_numbers(connection: AsyncConnection, closing: str) -> dict[str, str]:
    """Numbers of what a closing has issued, by kind and subject."""
    sql = (
        "SELECT d.kind, d.subject, d.number FROM closing_documents c JOIN documents d ON d.id = c.document"
        " WHERE c.closing = :closing"
    )
    return {f"{row.kind} {row.subject}": row.number for row in await fetch(connection, _Named, sql, closing=closing)}


class _Named(Struct, frozen=True):
    kind: str
    subject: str
    number: str


class _File(Struct, frozen=True):
    document: int
    language: str
    format: str
    digest: str
    size: int
    recorded: bool


class _TapFile(Struct, frozen=True):
    name: str
    partner: str
    sequence: int
    amount_usdr: int
    digest: str
    size: int
    recorded: bool


_RECORDED = (
    "EXISTS (SELECT FROM outbox WHERE purpose = 'record-document' AND subject = encode(digest, 'hex')"
    " AND state = 'accepted') AS recorded"
)


async def list_made(
    connection: AsyncConnection, *, closing: str | None = None, number: str | None = None
) -> list[DocumentView]:
    """Documents of one closing, or of all, or of a number, each with its files."""
    made = await fetch(
        connection,
        _Made,
        "SELECT c.*, d.number, d.issued_on FROM closing_documents c JOIN documents d ON d.id = c.document"
        " WHERE (CAST(:closing AS text) IS NULL OR c.closing = :closing)"
        " AND (CAST(:number AS text) IS NULL OR d.number = :number) ORDER BY c.document",
        closing=closing,
        number=number,
    )
    files = await fetch(
        connection,
        _File,
        "SELECT document, language, format, encode(digest, 'hex') AS digest, length(octets) AS size,"  # noqa: S608
        f" {_RECORDED} FROM document_files WHERE document = ANY(:ids) ORDER BY document, language, format",
        ids=[row.document for row in made],
    )
    views = [
        DocumentView(
            row.closing,
            row.kind,
            row.number,
            row.counterparty,
            row.amount_usdr,
            row.issued_on,
            tuple(
                FileView(f"{row.number}.{file.language}.{file.format}", file.digest, file.size, file.recorded)
                for file in files
                if file.document == row.document
            ),
        )
        for row in made
    ]
    return views if closing is None else [*views, *await _list_tap(connection, closing)]


async def _list_tap(connection: AsyncConnection, closing: str) -> list[DocumentView]:
    row = await find_closing(connection, closing)
    assert row is not None, f"there is no closing {closing}"
    files = await fetch(
        connection,
        _TapFile,
        "SELECT name, partner, sequence, amount_usdr, encode(digest, 'hex') AS digest, length(octets) AS size,"  # noqa: S608
        f" {_RECORDED} FROM closing_files WHERE closing = :closing ORDER BY id",
        closing=closing,
    )
    return [
        DocumentView(
            closing,
            "tap",
            f"{file.sequence:05d}",
            file.partner,
            file.amount_usdr,
            row.issued_on,
            (FileView(file.name, file.digest, file.size, file.recorded),),
        )
        for file in files
    ]


async def read_octets(connection: AsyncConnection, name: str) -> bytes | None:
    """A file by its name: `INV-2026-000001.en.pdf`, or a TAP file's."""
    number, _, rest = name.partition(".")
    language, _, form = rest.partition(".")
    found: bytes | None = await scalar(
        connection,
        "SELECT f.octets FROM document_files f JOIN documents d ON d.id = f.document"
        " WHERE d.number = :number AND f.language = :language AND f.format = :form",
        number=number,
        language=language,
        form=form,
    )
    if found is None:
        found = await scalar(connection, "SELECT octets FROM closing_files WHERE name = :name", name=name)
    return found
