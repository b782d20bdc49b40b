"""SP codes: imported for an offer, or made when a request comes; given out once, redeemed once, void when it ends.

A code is stored encrypted, and found again by its keyed mark. Made codes have 16 characters of an alphabet without
lookalikes: 80 bits, more than anyone tries at a counter.
"""

import secrets
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import execute, fetch_one
from marketplace.operator_problems import Refusal

ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
LENGTH: Final = 16
MAX_CODE: Final = 100
"""Characters of an imported code; a URL to a policy is the longest seen."""


class CodeRow(Struct, frozen=True):
    """A code's row, the code itself encrypted."""

    id: int
    code: bytes
    offer: UUID | None
    state: str
    request: UUID | None


class CodePool:
    """The codes of this service provider."""

    def __init__(self, keys: OperatorKeys) -> None:
        self._keys = keys

    async def import_lines(self, connection: AsyncConnection, offer: UUID, text: str) -> int:
        """Take codes for an offer, one a line; how many were new. Raises Refusal `invalid`."""
        codes = [line.strip() for line in text.splitlines() if line.strip()]
        if any(len(code) > MAX_CODE for code in codes):
            raise Refusal("invalid", f"a code is longer than {MAX_CODE} characters")
        return sum([await self._insert(connection, code, offer) for code in codes])

    async def assign(self, connection: AsyncConnection, request: UUID, offer: UUID) -> str:
        """The code of a request: the one it has, a free one of the offer, or a new one."""
        sql = "SELECT * FROM codes WHERE request = :request"
        row = await fetch_one(connection, CodeRow, sql, request=request)
        if row is None:
            row = await self._take(connection, request, offer)
        if row is None:
            drawn = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
            await self._insert(connection, drawn, offer)
            row = await self._take(connection, request, offer)
        assert row is not None, "one was just put there"
        return self._keys.decrypt(row.code, b"sp code").decode()

    async def redeem(self, connection: AsyncConnection, code: str) -> UUID:
        """Redeem a code; the request it was for. Raises Refusal `not-found` or `wrong-state`, without the code."""
        sql = "SELECT * FROM codes WHERE mark = :mark FOR UPDATE"
        row = await fetch_one(connection, CodeRow, sql, mark=self._keys.mark(code.strip().encode()))
        if row is None or row.request is None:
            raise Refusal("not-found", "this code was not given out: check its characters")
        if row.state != "assigned":
            raise Refusal("wrong-state", f"this code is {row.state}")
        await execute(
            connection, "UPDATE codes SET state = 'redeemed', since_ms = :now WHERE id = :id", id=row.id, now=now_ms()
        )
        return row.request

    async def void(self, connection: AsyncConnection, request: UUID) -> None:
        """The request has ended: its code, if nobody redeemed it, is worth nothing any more."""
        sql = "UPDATE codes SET state = 'void', since_ms = :now WHERE request = :request AND state = 'assigned'"
        await execute(connection, sql, request=request, now=now_ms())

    async def _insert(self, connection: AsyncConnection, code: str, offer: UUID) -> int:
        return await execute(
            connection,
            "INSERT INTO codes (mark, code, offer, since_ms)"
            " VALUES (:mark, :code, :offer, :now) ON CONFLICT DO NOTHING",
            mark=self._keys.mark(code.encode()),
            code=self._keys.encrypt(code.encode(), b"sp code"),
            offer=offer,
            now=now_ms(),
        )

    async def _take(self, connection: AsyncConnection, request: UUID, offer: UUID) -> CodeRow | None:
        return await fetch_one(
            connection,
            CodeRow,
            "UPDATE codes SET state = 'assigned', request = :request, since_ms = :now WHERE id = (SELECT id FROM codes"
            " WHERE state = 'free' AND offer = :offer ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *",
            request=request,
            offer=offer,
            now=now_ms(),
        )
