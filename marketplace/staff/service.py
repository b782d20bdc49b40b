"""Members of staff and their tokens.

The node's own token (`staff.token` of the data folder) is everybody's: it does all daily work, and adds and removes
members. What a named person must answer for (a case proposed, another's proposal confirmed) needs a member's token. Of
a token the node keeps the SHA-256 alone, so it is shown once. A member that is removed stays in the history under its
name, which nobody else gets.
"""

import hashlib
import hmac
import secrets
from typing import Annotated, Final

from msgspec import Meta, Struct

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, fetch, scalar
from marketplace.operator_problems import Refusal

TOKEN_OCTETS: Final = 32
OWNER: Final = "node"
"""Who acts with the node's own token; no member can have this name."""

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9.@-]{1,63}$", description="Such as anna or anna.smith")]


class NewMember(Struct, frozen=True, forbid_unknown_fields=True):
    """A person."""

    name: Name


class Member(Struct, frozen=True):
    """A person, and since when; `removed_ms` until when."""

    name: str
    added_ms: int
    removed_ms: int | None = None


class Credentials(Struct, frozen=True):
    """A new member's token, shown this once."""

    name: str
    token: str

    def __repr__(self) -> str:
        return f"Credentials({self.name!r})"


class Staff:
    """The register of members."""

    def __init__(self, database: Database, token: str) -> None:
        self._database = database
        self._token = token.encode()

    async def identify(self, token: str) -> str | None:
        """Whose token it is: OWNER, a member's name, or None."""
        if hmac.compare_digest(token.encode(), self._token):
            return OWNER
        async with self._database.read() as connection:
            found = await scalar(
                connection, "SELECT name FROM staff WHERE mark = :mark AND removed_ms IS NULL", mark=_mark(token)
            )
        return None if found is None else str(found)

    async def add(self, new: NewMember) -> Credentials:
        """Add a member. Raises Refusal `already-exists`, also for the name of one that was removed."""
        if new.name == OWNER:
            raise Refusal("already-exists", f"{OWNER!r} is the name of whoever uses the node's own token")
        token = secrets.token_urlsafe(TOKEN_OCTETS)
        async with self._database.begin() as connection:
            stored = await execute(
                connection,
                "INSERT INTO staff (name, mark, added_ms) VALUES (:name, :mark, :now) ON CONFLICT (name) DO NOTHING",
                name=new.name,
                mark=_mark(token),
                now=now_ms(),
            )
        if not stored:
            raise Refusal("already-exists", f"the name {new.name!r} is or was somebody's")
        return Credentials(new.name, token)

    async def remove(self, name: str) -> None:
        """Let a member's token end. Raises Refusal `not-found`."""
        async with self._database.begin() as connection:
            sql = "UPDATE staff SET removed_ms = :now WHERE name = :name AND removed_ms IS NULL"
            if not await execute(connection, sql, now=now_ms(), name=name):
                raise Refusal("not-found", f"there is no member {name!r}")

    async def list(self) -> list[Member]:
        """All members, those removed too."""
        async with self._database.read() as connection:
            return await fetch(connection, Member, "SELECT name, added_ms, removed_ms FROM staff ORDER BY name")


def _mark(token: str) -> bytes:
    return hashlib.sha256(b"landfall staff\n" + token.encode()).digest()


def require_member(by: str) -> str:
    """The member's name. Raises Refusal `not-permitted` for the node's own token."""
    if by == OWNER:
        raise Refusal(
            "not-permitted",
            "the node's own token is nobody's: add yourself by `landfall operator staff add NAME` and use that token",
        )
    return by


def require_owner(by: str) -> None:
    """Raises Refusal `not-permitted` for a member."""
    if by != OWNER:
        raise Refusal("not-permitted", f"members are added and removed with the node's own token, not by {by}")
