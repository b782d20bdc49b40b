"""Key sets of many cards into the outbox's tables, with a word on each card before anything is written.

    findings = await KeyImport(store).take(cards, counter=None, replace=False, dry_run=True)

What is there already is not written again; a counter is never lowered; another key set than the one that stands is
refused unless its replacement is asked for, since the card in the field would no longer be understood.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ota.keysets import CardKeys
from ota.outbox import PostgresOutbox, cards, other_keys, packets
from ota.scp80.parameters import COUNTER_MAX

BATCH: Final = 1000
"""Cards of one transaction."""


class Result(StrEnum):
    """What becomes of a card's key set."""

    ADDED = "added"
    KNOWN = "known"  # the same keys stand already
    RAISED = "raised"  # the same keys; the counter goes up
    REPLACED = "replaced"
    REFUSED = "refused"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A card's result; `counter` is the one that stands afterwards, `words` why it was refused."""

    iccid: str
    key_index: int
    result: Result
    counter: int
    words: str | None = None


class Standing(msgspec.Struct, frozen=True):
    """What the platform has of a card: keys, counter, highest counter by key set, and whether its keys are changing."""

    card: CardKeys
    counter: int
    highest: dict[int, int]
    rotating: bool


class KeyImport:
    """Takes key sets into the tables of `ota.outbox`."""

    def __init__(self, store: PostgresOutbox) -> None:
        self._engine, self._cipher = store.engine, store.cipher

    async def take(
        self, given: Sequence[CardKeys], *, counter: int | None = None, replace: bool = False, dry_run: bool = False
    ) -> list[Finding]:
        """One finding a card, in order. `counter` is the last one that all of these cards have seen, if known."""
        findings: list[Finding] = []
        for at in range(0, len(given), BATCH):
            batch = given[at : at + BATCH]
            async with self._engine.begin() as connection:
                standing = await self._read(connection, [card.iccid for card in batch])
                found = [decide(card, standing.get(card.iccid), counter, replace=replace) for card in batch]
                if not dry_run:
                    await self._write(connection, batch, found)
            findings += found
        return findings

    async def _read(self, connection: AsyncConnection, iccids: list[str]) -> dict[str, Standing]:
        rows = (await connection.execute(select(cards).where(cards.c.iccid.in_(iccids)).with_for_update())).all()
        known = [row.iccid for row in rows]
        rotating = set(
            await connection.scalars(
                select(other_keys.c.iccid).where(other_keys.c.iccid.in_(known), other_keys.c.state == "new")
            )
        )
        highest: dict[str, dict[int, int]] = {iccid: {} for iccid in known}
        taken = (
            select(packets.c.iccid, packets.c.key_index, func.max(packets.c.counter))
            .where(packets.c.iccid.in_(known))
            .group_by(packets.c.iccid, packets.c.key_index)
        )
        for iccid, index, counter in await connection.execute(taken):
            highest[iccid][index] = counter
        return {
            row.iccid: Standing(
                self._cipher.open_card(row.iccid, row.sealed_keys),
                row.counter,
                highest[row.iccid],
                row.iccid in rotating,
            )
            for row in rows
        }

    async def _write(self, connection: AsyncConnection, batch: Sequence[CardKeys], found: Sequence[Finding]) -> None:
        new, raised = [], []
        for card, finding in zip(batch, found, strict=True):
            row = {"iccid": card.iccid, "key_index": card.key_index, "counter": finding.counter}
            if finding.result in (Result.ADDED, Result.REPLACED):
                new.append({**row, "sealed_keys": self._cipher.seal_card(card)})
            elif finding.result is Result.RAISED:
                raised.append({"which": card.iccid, "raised": finding.counter})
        if new:
            statement = insert(cards)
            columns = {name: statement.excluded[name] for name in ("key_index", "counter", "sealed_keys")}
            await connection.execute(statement.on_conflict_do_update(index_elements=[cards.c.iccid], set_=columns), new)
        for one in raised:
            await connection.execute(update(cards).where(cards.c.iccid == one["which"]).values(counter=one["raised"]))


def decide(card: CardKeys, standing: Standing | None, counter: int | None, *, replace: bool) -> Finding:
    """What becomes of one card's key set, given what stands."""

    def finding(result: Result, after: int, words: str | None = None) -> Finding:
        return Finding(iccid=card.iccid, key_index=card.key_index, result=result, counter=after, words=words)

    if counter is not None and not 0 <= counter < COUNTER_MAX:
        return finding(Result.REFUSED, 0, f"counter {counter} is not 0 to {COUNTER_MAX - 1}")
    if standing is None:
        return finding(Result.ADDED, counter or 0)
    if standing.card.keys == card.keys:
        if counter is not None and counter < standing.counter:
            words = f"the counter stands at {standing.counter} and is never lowered, to {counter}"
            return finding(Result.REFUSED, standing.counter, words)
        if counter is not None and counter > standing.counter:
            return finding(Result.RAISED, counter)
        return finding(Result.KNOWN, standing.counter)
    if standing.rotating:
        return finding(Result.REFUSED, standing.counter, "the card's keys are being rotated: wait for the end of it")
    if not replace:
        words = f"another key set stands, index {standing.card.key_index}; name the replacement if the card has changed"
        return finding(Result.REFUSED, standing.counter, words)
    same_index = standing.counter if standing.card.key_index == card.key_index else 0
    return finding(Result.REPLACED, max(counter or 0, same_index, standing.highest.get(card.key_index, 0)))
