"""The log as it is read: checkpoint, tiles and proofs for everybody, entries and events for their parties."""

from typing import Annotated, Any, Final

from litestar import Controller, Request, Response, get
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream
from msgspec import Meta

from marketplace.access.caller import BearerAuthentication, Caller, require_overseer
from marketplace.ledger_node import Node
from marketplace.listing import Limit
from marketplace.log.events import stream_events
from marketplace.log.repository import is_party, list_entries
from marketplace.openapi import BEARER
from marketplace.problems import ProblemError
from settlement.ledger.api import MAX_HISTORY, PAGE, Entry, History, Page, Path, Proof
from settlement.ledger.merkle import MAX_SIZE, ProofError
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, TileError, parse_tile_path

IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""A full tile never changes (tlog-tiles, Tiles)."""
FLEETING: Final = "public, max-age=60"
"""A partial tile does not change either, but is soon asked for by nobody."""
OCTETS: Final = "application/octet-stream"

Size = Annotated[int, QueryParameter(ge=1, le=MAX_SIZE)]
Sizes = Annotated[list[Annotated[int, Meta(ge=1, le=MAX_SIZE)]], QueryParameter(min_items=2, max_items=MAX_HISTORY)]
After = Annotated[int, QueryParameter(ge=-1, le=MAX_SIZE, description="Index of the last entry seen; -1 for none.")]


class PublicLogController(Controller):
    """What everybody may read (C2SP tlog-tiles)."""

    tags = ("log",)

    @get(Path.CHECKPOINT, summary="The newest checkpoint", media_type="text/plain")
    async def checkpoint(self, node: Node) -> Response[str]:
        """The signed note of the log's committed end (C2SP tlog-checkpoint).

        Example: `curl …/checkpoint`
        """
        return Response(await node.sequencer.checkpoint(), headers={"cache-control": "no-cache"})

    @get(Path.TILE + "/{place:path}", summary="A hash tile", media_type=OCTETS)
    async def tile(self, node: Node, place: FromPath[str]) -> Response[bytes]:
        """Up to 256 hashes of one level (C2SP tlog-tiles), full or `.p/<width>`.

        Example: `curl …/tile/0/x001/x234/067`, `curl …/tile/0/000.p/17`
        """
        tile = _parse_tile(place)
        if tile.level == ENTRIES:
            raise ProblemError("not-found", f"the bundle {tile.path} is for auditors, at this address with a token")
        try:
            hashes = (await node.store.node_tiles([tile]))[tile]
        except LookupError as error:
            raise ProblemError("not-found", str(error)) from None
        return Response(hashes, headers={"cache-control": IMMUTABLE if tile.width == TILE_WIDTH else FLEETING})

    @get(Path.CONSISTENCY, summary="Prove that the log only grew")
    async def consistency(self, node: Node, old: Size, new: Size) -> Proof:
        """That the tree of `new` entries continues that of `old` (RFC 9162 §2.1.4), with the checkpoint of `new`.

        Example: `curl '…/v1/proofs/consistency?old=1000&new=2500'`
        """
        try:
            return await node.prover.prove_consistency(old, new)
        except (ProofError, LookupError, TileError) as error:
            raise ProblemError("not-found", str(error)) from None

    @get(Path.HISTORY, summary="Prove that several checkpoints are one history")
    async def history(self, node: Node, sizes: Sizes) -> History:
        """What `/v1/proofs/consistency` gives for each two neighbours of `sizes` (ascending, 2 to 64), in one answer.

        Example: `curl '…/v1/proofs/history?sizes=1000&sizes=2500&sizes=2600'`
        """
        try:
            return await node.prover.prove_history(sizes)
        except (ProofError, LookupError, TileError) as error:
            raise ProblemError("not-found", str(error)) from None


class EntryController(Controller):
    """What parties and auditors read."""

    tags = ("log",)
    middleware = (BearerAuthentication,)
    security = BEARER

    @get(Path.TILE + "/entries/{place:path}", summary="An entry bundle", media_type=OCTETS, guards=[require_overseer])
    async def bundle(self, node: Node, place: FromPath[str]) -> Response[bytes]:
        """Up to 256 entries as they are hashed (C2SP tlog-tiles, Log entries); for auditors and the issuer.

        Example: `curl -H "authorization: Bearer $TOKEN" …/tile/entries/000.p/17`
        """
        tile = _parse_tile(f"entries/{place.lstrip('/')}")
        try:
            bundle = await node.store.bundle(tile)
        except LookupError as error:
            raise ProblemError("not-found", str(error)) from None
        return Response(bundle, headers={"cache-control": "private, no-store"})

    @get(Path.INCLUSION, summary="Prove an entry of your own")
    async def inclusion(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        index: Annotated[int, QueryParameter(ge=0, le=MAX_SIZE)],
        size: Annotated[int | None, QueryParameter(ge=1, le=MAX_SIZE)] = None,
    ) -> Proof:
        """That entry `index`, which the caller sent or which names it, is in the tree of `size` entries (by default
        the newest), with that size's checkpoint (RFC 9162 §2.1.3). Everybody can prove the same from the hash tiles.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/proofs/inclusion?index=17&size=2500'`
        """
        caller = request.user
        if not caller.reads_everything and not await is_party(node.store.pool, index, caller.operator):
            raise ProblemError("not-found", f"there is no entry {index} of {caller.operator}")
        try:
            return await node.prover.prove_inclusion(index, size or (await node.store.head()).size)
        except (ProofError, LookupError, TileError) as error:
            raise ProblemError("not-found", str(error)) from None

    @get(Path.ENTRIES, summary="Your entries")
    async def entries(
        self, request: Request[Caller, Any, Any], node: Node, after: After = -1, limit: Limit = PAGE
    ) -> Page[Entry]:
        """Entries that the caller sent or that name it, in the log's order; all of them for auditors.
        A page may hold fewer than `limit`, where they are large: go on while there is a `next`.

        Example: `curl -H "authorization: Bearer $TOKEN" '…/v1/entries?after=1041&limit=100'`
        """
        caller = request.user
        rows, more = await list_entries(
            node.store.pool, caller.operator, after=after, limit=limit, everything=caller.reads_everything
        )
        return Page(tuple(rows), str(rows[-1].index) if more else None)

    @get(Path.EVENTS, summary="Follow your entries", media_type="text/event-stream")
    async def events(
        self,
        request: Request[Caller, Any, Any],
        node: Node,
        last_event_id: Annotated[int | None, HeaderParameter(name="Last-Event-ID")] = None,
        after: After = -1,
    ) -> Stream:
        """The same entries as server-sent events, as they become durable: `id` the index, `data` the entry as JSON;
        a comment every ten seconds. `Last-Event-ID` goes before `after`, so a browser resumes by itself.

        Example: `curl -N -H "authorization: Bearer $TOKEN" '…/v1/events?after=1041'`
        """
        start = after if last_event_id is None else last_event_id
        return Stream(stream_events(node, request.user, start), headers={"cache-control": "no-cache"})


def _parse_tile(place: FromPath[str]) -> Tile:
    try:
        return parse_tile_path(f"tile/{place.lstrip('/')}")
    except TileError as error:
        raise ProblemError("not-found", str(error)) from None
