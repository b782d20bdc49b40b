"""The log, read through the SDK as far as a run needs it: bundles, hash tiles, and the tree's edge at some size."""

from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.client import LedgerClient
from settlement.ledger.merkle import HASH_BYTES, Frontier
from settlement.ledger.tiles import ENTRIES, TileReader, decode_bundle, tile_at, tile_of_node


async def fetch_leaves(client: LedgerClient, number: int, size: int) -> list[bytes]:
    """The data of the leaves of bundle `number`, as it is in the tree of `size`. For issuer and auditors."""
    tile = tile_at(ENTRIES, number, size)
    return decode_bundle(await client.bundle(tile), tile.width)


async def fetch_hashes(client: LedgerClient, number: int, size: int) -> list[bytes]:
    """The leaf hashes of tile `number`, as everybody may read them."""
    octets = await client.hash_tile(tile_at(0, number, size))
    return [octets[at : at + HASH_BYTES] for at in range(0, len(octets), HASH_BYTES)]


async def frontier_at(client: LedgerClient, size: int, head: Checkpoint) -> Frontier:
    """The edge of the tree when it had `size` leaves, from the tiles of `head`'s tree.

    It is proven by what follows from it: leaves added to it lead to a signed root, or something was wrong.
    """
    nodes, start = [], 0
    for height in reversed(range(size.bit_length())):
        if size >> height & 1:
            nodes.append((height, start >> height))
            start += 1 << height
    wanted = dict.fromkeys(tile_of_node(height, index, head.size) for height, index in nodes)
    tiles = {tile: await client.hash_tile(tile) for tile in wanted}
    reader = TileReader(tiles.__getitem__, head.size)
    return Frontier(size, tuple(reader.node(height, index) for height, index in nodes))
