"""Issuing: a number without gaps, and the document kept with its octets, in the caller's one transaction.

`issue` locks the series (issuer, kind, year of issue), takes the next number, renders the files with it and stores all;
what fails, fails before anything is kept, and a rollback leaves no gap. The lock is held until the caller commits, so
documents of one series are issued one after the other: commit soon, and who issues several kinds in one transaction
does so in the order of `KINDS`, or two of them may wait for each other until PostgreSQL ends one.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.documents.checks import check
from settlement.documents.model import Document, DocumentError, Format, Language, issuer_of
from settlement.documents.rendering import render
from settlement.documents.tables import documents, files, series

PREFIXES: Final = {
    "statement": "ST",
    "usage": "US",
    "invoice": "INV",
    "credit-note": "CN",
    "act": "RA",
    "netting-notice": "NN",
}
"""How the numbers of a kind begin."""

Wanted: TypeAlias = Sequence[tuple[Language, Format]]


class StoredFile(Struct, frozen=True):
    """One file of a stored document; `digest` is the SHA-256 of its octets."""

    language: Language
    format: Format
    digest: bytes
    size: int

    @property
    def sha256(self) -> str:
        """The digest in hex, as the ledger is told it (`RecordDocument`)."""
        return self.digest.hex()


class Stored(Struct, frozen=True):
    """A document that was issued, with its number."""

    id: int
    subject: str
    document: Document
    files: tuple[StoredFile, ...]


async def issue(connection: AsyncConnection, document: Document, *, subject: str, files: Wanted) -> Stored:
    """Give a document its number, render it and store both; call it inside a transaction.

    For a `subject` that this issuer issued this kind for before, hand back what was stored then, whatever is asked now.
    Raises `DocumentError` where the document has a number already or cannot be rendered; the caller rolls back.
    """
    if document.number:
        raise DocumentError(f"{document.kind}.number is {document.number!r}: it is given here, leave it empty")
    if not subject:
        raise DocumentError("subject is empty: say what the document is of, as close:2026-10:bravo-mobile")
    check(document)
    issuer, kind, year = issuer_of(document).operator, document.kind, document.issued_on.year
    which = (series.c.issuer == issuer, series.c.kind == kind, series.c.year == year)
    first = insert(series).values(issuer=issuer, kind=kind, year=year, last=0).on_conflict_do_nothing()
    await connection.execute(first)
    last = await connection.scalar(select(series.c.last).where(*which).with_for_update())
    if (stored := await find_by_subject(connection, issuer, kind, subject)) is not None:
        return stored
    assert last is not None, "the row was there or was made"
    sequence = last + 1
    await connection.execute(update(series).where(*which).values(last=sequence))
    numbered = replace(document, number=write_number(kind, year, sequence))
    row = {
        "issuer": issuer,
        "kind": kind,
        "year": year,
        "sequence": sequence,
        "number": numbered.number,
        "subject": subject,
        "issued_on": document.issued_on,
        "body": msgspec.json.encode(numbered),
    }
    found = await connection.scalar(insert(documents).values(row).returning(documents.c.id))
    assert found is not None
    for language, format_ in files:
        # In a thread: typst takes a tenth of a second, and a node serves others meanwhile.
        octets = await asyncio.to_thread(render, numbered, language, format_)
        await add_file(connection, found, language, format_, octets)
    return Stored(found, subject, numbered, await _files_of(connection, found))


def write_number(kind: str, year: int, sequence: int) -> str:
    """The number of a document, as `INV-2026-000017`."""
    return f"{PREFIXES[kind]}-{year}-{sequence:06d}"


async def add_file(
    connection: AsyncConnection,
    document: int,
    language: Language,
    format: Format,  # noqa: A002 - the word for it
    octets: bytes,
) -> None:
    """Keep one more file of a stored document."""
    row = {
        "document": document,
        "language": language.value,
        "format": format.value,
        "digest": sha256(octets).digest(),
        "octets": octets,
    }
    await connection.execute(insert(files).values(row))


async def find_by_subject(connection: AsyncConnection, issuer: str, kind: str, subject: str) -> Stored | None:
    """The document of a kind that was issued for a subject."""
    same = documents.c.issuer == issuer, documents.c.kind == kind, documents.c.subject == subject
    return await _find(connection, *same)


async def find_by_number(connection: AsyncConnection, issuer: str, number: str) -> Stored | None:
    """The document of a number."""
    return await _find(connection, documents.c.issuer == issuer, documents.c.number == number)


async def list_documents(connection: AsyncConnection, *, issuer: str | None = None, limit: int = 100) -> list[Stored]:
    """The documents issued last, newest first."""
    query = select(documents.c.id).order_by(documents.c.id.desc()).limit(limit)
    ids = (await connection.execute(query if issuer is None else query.where(documents.c.issuer == issuer))).scalars()
    found = [await _find(connection, documents.c.id == each) for each in ids]
    return [each for each in found if each is not None]


async def read_file(
    connection: AsyncConnection,
    document: int,
    language: Language,
    format: Format,  # noqa: A002 - the word for it
) -> bytes | None:
    """The octets of a stored file, as they were issued."""
    query = select(files.c.octets).where(
        files.c.document == document, files.c.language == language.value, files.c.format == format.value
    )
    octets: bytes | None = await connection.scalar(query)
    return octets


async def find_gaps(connection: AsyncConnection) -> list[str]:
    """Numbers that are missing in a series. There are none; an auditor looks all the same."""
    per_series = (
        select(
            series.c.issuer,
            series.c.kind,
            series.c.year,
            func.generate_series(1, series.c.last).label("sequence"),
        )
    ).subquery()
    same = [per_series.c[name] == documents.c[name] for name in ("issuer", "kind", "year", "sequence")]
    query = (
        select(per_series)
        .where(~select(documents.c.id).where(*same).exists())
        .order_by(per_series.c.issuer, per_series.c.kind, per_series.c.year, per_series.c.sequence)
    )
    return [f"{row.issuer} {write_number(row.kind, row.year, row.sequence)}" for row in await connection.execute(query)]


async def _find(connection: AsyncConnection, *where: Any) -> Stored | None:
    query = select(documents.c.id, documents.c.subject, documents.c.body).where(*where)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    document = msgspec.json.decode(row.body, type=Document)
    return Stored(row.id, row.subject, document, await _files_of(connection, row.id))


async def _files_of(connection: AsyncConnection, document: int) -> tuple[StoredFile, ...]:
    query = (
        select(files.c.language, files.c.format, files.c.digest, func.length(files.c.octets).label("size"))
        .where(files.c.document == document)
        .order_by(files.c.language, files.c.format)
    )
    return tuple(
        StoredFile(Language(row.language), Format(row.format), row.digest, row.size)
        for row in await connection.execute(query)
    )
