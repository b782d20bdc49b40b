"""Closings with their steps, and what came of them, in the node's database."""

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


async def list_invoiced(connection: AsyncConnection) -> set[UUID]:
    """Obligations that stand on an invoice of a closing."""
    rows = await fetch(connection, _Obligation, "SELECT obligation FROM closing_obligations")
    return {row.obligation for row in rows}


class _Obligation(Struct, frozen=True):
    obligation: UUID


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
