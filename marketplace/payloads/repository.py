"""Sealed payloads. Who may read one: its sender, and the home operator of a request whose accept names its digest."""

from typing import Final

import asyncpg

_PUT: Final = """
INSERT INTO payloads (digest, sender, stored, ciphertext)
VALUES ($1, $2, floor(extract(epoch FROM clock_timestamp()) * 1000), $3)
ON CONFLICT (digest) DO UPDATE SET digest = excluded.digest RETURNING ciphertext IS NOT NULL
"""
_MAY: Final = """
digest = $1 AND ciphertext IS NOT NULL
AND (sender = $2 OR EXISTS (
    SELECT FROM requests WHERE requests.home = $2 AND requests.visited = sender AND requests.payload = digest))
"""
_GET: Final = f"SELECT ciphertext FROM payloads WHERE {_MAY}"  # noqa: S608 - our own text
_ERASE: Final = f"UPDATE payloads SET ciphertext = NULL WHERE {_MAY} RETURNING true"  # noqa: S608


async def store_payload(pool: asyncpg.Pool, digest: str, sender: str, ciphertext: bytes) -> bool:
    """Keep a payload; nothing changes one that is stored. False where it was erased, which it then stays."""
    return bool(await pool.fetchval(_PUT, digest, sender, ciphertext))


async def read_payload(pool: asyncpg.Pool, digest: str, caller: str) -> bytes | None:
    """The ciphertext, None where there is none for `caller`."""
    ciphertext: bytes | None = await pool.fetchval(_GET, digest, caller)
    return ciphertext


async def erase_payload(pool: asyncpg.Pool, digest: str, caller: str) -> bool:
    """Erase the ciphertext; False where there is none for `caller`."""
    return bool(await pool.fetchval(_ERASE, digest, caller))
