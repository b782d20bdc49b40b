"""What is asked of the database about keys and client assertions."""

from typing import Final

import asyncpg
import msgspec
from msgspec import Struct

from settlement.ledger.messages import Role

_SIGNER: Final = """
SELECT operators.id AS operator, operators.role, keys.public
FROM keys JOIN operators ON operators.id = keys.operator
WHERE kid = $1 AND purpose = 'sign'
  AND (until IS NULL OR until > extract(epoch FROM clock_timestamp()) * 1000)
"""
_USE: Final = "INSERT INTO assertions (jti, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"
_FORGET: Final = "DELETE FROM assertions WHERE expires < $1"


class SigningKey(Struct, frozen=True):
    """A signing key that is valid now, and whose it is."""

    operator: str
    role: Role
    public: bytes


async def find_signing_key(pool: asyncpg.Pool, kid: str) -> SigningKey | None:
    """The key, None where it is unknown, of another purpose, or no longer valid."""
    row = await pool.fetchrow(_SIGNER, kid)
    return None if row is None else msgspec.convert(dict(row), SigningKey, builtin_types=(bytes,))


async def use_assertion(pool: asyncpg.Pool, jti: str, *, expires: int, now: int) -> bool:
    """Note that an assertion was used, and forget those that have expired; False where it was used before."""
    await pool.execute(_FORGET, now)
    return bool(await pool.fetchval(_USE, jti, expires))
