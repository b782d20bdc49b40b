"""The pool of profiles, and of SP codes, over HTTP."""

from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.datastructures import State
from msgspec import Struct

from marketplace.operator_node import Node
from marketplace.operator_problems import Refusal
from marketplace.profiles.service import Imported, ProfileRow

MAX_FILE = 32 * 1024 * 1024
"""Octets of an imported file: 100,000 rows have some 15 MB."""


class ProfileController(Controller):
    """Mobile profiles of own networks."""

    path = "/profiles"
    tags = ("pool",)

    @post("/", request_max_body_size=MAX_FILE)
    async def import_profiles(self, node: Node, request: Request[None, None, State]) -> Imported:
        """Import profiles as text/csv: imsi,k,opc,msisdn[,iccid,acc]. All rows or none."""
        text = _read(await request.body())
        async with node.database.begin() as connection:
            return await node.pool.import_csv(connection, text)

    @get("/")
    async def list_profiles(self, node: Node, in_state: str | None = None) -> list[ProfileRow]:
        """List the pool, keys never."""
        async with node.database.read() as connection:
            return await node.pool.list(connection, in_state)


class Code(Struct, frozen=True, forbid_unknown_fields=True):
    """An SP code as it was given to a subscriber."""

    code: str

    def __repr__(self) -> str:
        return "Code(…)"


class ImportedCodes(Struct, frozen=True):
    """How many codes were new."""

    imported: int


class Redeemed(Struct, frozen=True):
    """The request whose code was redeemed."""

    request: UUID


class CodeController(Controller):
    """Service provider codes."""

    path = "/codes"
    tags = ("pool",)

    @post("/", request_max_body_size=MAX_FILE)
    async def import_codes(self, node: Node, request: Request[None, None, State], offer: UUID) -> ImportedCodes:
        """Import codes for an offer as text, one a line. Without a stock, codes are made when needed."""
        text = _read(await request.body())
        async with node.database.begin() as connection:
            return ImportedCodes(await node.codes.import_lines(connection, offer, text))

    @post("/redeem", status_code=200)
    async def redeem(self, node: Node, data: Code) -> Redeemed:
        """Redeem a code: its request becomes active, and its price is earned."""
        return Redeemed(await node.wholesale.redeem(data.code))


def _read(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refusal("invalid", "the file is not UTF-8: save it so") from None
