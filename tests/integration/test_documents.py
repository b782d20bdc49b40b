"""Issued documents in PostgreSQL: numbers without gaps, whoever fails, and octets kept as they were."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from landfall.migrations import upgrade
from landfall.postgres import make_engine
from marketplace.operator_node import MIGRATIONS
from settlement.documents import (
    DocumentError,
    Format,
    Language,
    find_by_number,
    find_by_subject,
    find_gaps,
    issue,
    list_documents,
    read_file,
    render,
)
from settlement.documents.tables import metadata
from tests.documents_on_hand import example

CSV = [(Language.EN, Format.CSV)]


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield engine
    await engine.dispose()


async def test_numbers_count_from_one_in_each_series(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        numbers = [
            (await issue(connection, example(kind), subject=f"{kind} {turn}", files=CSV)).document.number
            for turn in (1, 2)
            for kind in ("invoice", "act")
        ]
    assert numbers == ["INV-2026-000001", "RA-2026-000001", "INV-2026-000002", "RA-2026-000002"]


async def test_a_rollback_leaves_no_gap(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await issue(connection, example("invoice"), subject="first", files=CSV)
    async with engine.connect() as connection, connection.begin() as transaction:
        stored = await issue(connection, example("invoice"), subject="lost", files=CSV)
        assert stored.document.number == "INV-2026-000002"
        await transaction.rollback()
    async with engine.begin() as connection:
        stored = await issue(connection, example("invoice"), subject="second", files=CSV)
        assert stored.document.number == "INV-2026-000002"
        assert await find_by_subject(connection, "bravo-mobile", "invoice", "lost") is None
        assert await find_gaps(connection) == []


async def test_many_at_once_get_numbers_without_gaps_and_without_twins(engine: AsyncEngine) -> None:
    async def one(turn: int) -> str | None:
        async with engine.connect() as connection, connection.begin() as transaction:
            stored = await issue(connection, example("invoice"), subject=f"subject {turn}", files=CSV)
            if turn % 3 == 0:
                await transaction.rollback()
                return None
            return stored.document.number

    numbers = await asyncio.gather(*(one(turn) for turn in range(12)))
    assert sorted(filter(None, numbers)) == [f"INV-2026-{sequence:06d}" for sequence in range(1, 9)]


async def test_the_same_subject_gives_the_same_document_and_no_number(engine: AsyncEngine) -> None:
    async def one() -> str:
        async with engine.begin() as connection:
            return (await issue(connection, example("invoice"), subject="close:2026-10", files=CSV)).document.number

    assert set(await asyncio.gather(*(one() for _ in range(6)))) == {"INV-2026-000001"}
    async with engine.begin() as connection:
        note = await issue(connection, example("credit-note"), subject="close:2026-10", files=CSV)
        assert note.document.number == "CN-2026-000001", "another kind of the same subject is another document"
        stored = await issue(connection, example("invoice"), subject="close:2026-11", files=CSV)
        assert stored.document.number == "INV-2026-000002"


async def test_what_is_stored_is_what_was_rendered(engine: AsyncEngine) -> None:
    wanted = [(Language.EN, Format.XML), (Language.RU, Format.PDF)]
    async with engine.begin() as connection:
        stored = await issue(connection, example("invoice"), subject="one", files=wanted)
    async with engine.connect() as connection:
        assert await find_by_number(connection, "bravo-mobile", "INV-2026-000001") == stored
        assert await list_documents(connection, issuer="bravo-mobile") == [stored]
        assert await list_documents(connection, issuer="alfa-mobile") == []
        for file in stored.files:
            octets = await read_file(connection, stored.id, file.language, file.format)
            assert octets == render(stored.document, file.language, file.format)
            assert (sha256(octets).digest(), len(octets)) == (file.digest, file.size)
        assert await read_file(connection, stored.id, Language.EN, Format.CSV) is None


async def test_a_document_that_cannot_be_rendered_takes_no_number(engine: AsyncEngine) -> None:
    with pytest.raises(DocumentError, match="has no XML form"):
        async with engine.begin() as connection:
            await issue(connection, example("act"), subject="act", files=[(Language.EN, Format.XML)])
    with pytest.raises(DocumentError, match="it is given here"):
        async with engine.begin() as connection:
            await issue(connection, example("act", number="7"), subject="act", files=CSV)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT coalesce(max(last), 0) FROM document_series")) == 0


async def test_a_gap_somebody_made_by_hand_is_found(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await issue(connection, example("invoice"), subject="one", files=[])
        await issue(connection, example("invoice"), subject="two", files=[])
        await connection.execute(text("DELETE FROM documents WHERE sequence = 1"))
        assert await find_gaps(connection) == ["bravo-mobile INV-2026-000001"]


async def test_an_operator_node_has_the_tables(database: str) -> None:
    upgrade(database, MIGRATIONS)
    engine = make_engine(database)
    async with engine.begin() as connection:
        stored = await issue(connection, example("invoice"), subject="one", files=CSV)
        assert stored.document.number == "INV-2026-000001"
    await engine.dispose()
