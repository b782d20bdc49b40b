"""C2SP tlog-tiles: how the log's hashes and entries are cut into static files, and proofs read from them.

A tile is up to 256 consecutive hashes of one tile level; tile level 0 is leaf hashes, and each hash of tile level l is
the root of 256 hashes of level l-1. Inner nodes are not stored: they follow from the tile. An entry bundle is the
leaves' data under one level-0 tile.

A publisher that grew from `old` to `new` leaves writes `new_tiles(old, new)`. Who proves something either hands a
`TileReader` a function that fetches tiles, or, where fetching is asynchronous or better done at once, first asks
`inclusion_tiles` or `consistency_tiles` which tiles it takes, gets those, and gives the reader their dictionary:

    wanted = {tile: await load(tile) for tile in inclusion_tiles([index], size)}
    proof = inclusion_proof(index, size, TileReader(wanted.__getitem__, size).node)

What a tile says is not trusted for having arrived: a proof made from it must verify against a signed root.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from settlement.ledger.merkle import (
    HASH_BYTES,
    MAX_SIZE,
    TILE_HEIGHT,
    Node,
    ProofError,
    consistency_proof,
    inclusion_proof,
    node_hash,
)

TILE_WIDTH = 1 << TILE_HEIGHT
ENTRIES = -1
"""The `level` that names entry bundles, which are numbered as the tiles of level 0 are."""
MAX_TILE_LEVEL = 63
"""Largest level tlog-tiles can write; no tree below 2^63 leaves has one above 7."""
MAX_ENTRY_BYTES = 65_535
"""An entry's length is a uint16 in a bundle."""
CACHED_TILES = 1_024
"""Tiles one reader keeps, with their inner nodes: about 80 KB each in CPython, so some 80 MB at most."""

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


class TileError(ValueError):
    """A tile path, a tile or an entry bundle that is not well-formed, or one that the tree does not have."""


class Tile(NamedTuple):
    """Names one tile: level (or `ENTRIES`), number within the level, and width, 256 unless it is partial."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The tile's path below the log's prefix, as in `tile/0/x001/x234/067.p/8`."""
        return tile_path(self.level, self.number, self.width)


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Write a tile's path (tlog-tiles, Merkle Tree and Log entries). Raises `TileError` on numbers no tile has."""
    if not (ENTRIES <= level <= MAX_TILE_LEVEL and 0 <= number <= MAX_SIZE and 1 <= width <= TILE_WIDTH):
        raise TileError(
            f"no tile has level {level}, number {number} and width {width}: "
            f"level is at most {MAX_TILE_LEVEL}, width 1 to {TILE_WIDTH}"
        )
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    grouped = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{'entries' if level == ENTRIES else level}/{grouped}{partial}"


def parse_tile_path(path: str) -> Tile:
    """Read a tile's path. There is one spelling of each tile; `TileError` on any other."""
    if match := _PATH.fullmatch(path[: len("tile/entries/") + 64]):
        level, grouped, partial = match.groups()
        tile = Tile(
            ENTRIES if level == "entries" else int(level),
            int(grouped.replace("/", "").replace("x", "")),
            int(partial or TILE_WIDTH),
        )
        if tile.level <= MAX_TILE_LEVEL and tile.number <= MAX_SIZE and tile.width <= TILE_WIDTH and tile.path == path:
            return tile
    raise TileError(
        f"{path[:80]!r} is not a tile's path: write it as tile/<level or entries>/x001/x234/067[.p/<1-255>]"
    )


def tile_at(level: int, number: int, size: int) -> Tile:
    """Tile `number` of `level` in the tree of `size` leaves, perhaps partial. `TileError` if it is empty."""
    hashes = size >> TILE_HEIGHT * max(level, 0)
    width = min(TILE_WIDTH, hashes - number * TILE_WIDTH)
    if number < 0 or width < 1:
        raise TileError(f"a tree of {size} leaves has no tile {number} at level {level}: take a later checkpoint")
    return Tile(level, number, width)


def tile_of_node(height: int, index: int, size: int) -> Tile:
    """The tile, as it is in the tree of `size` leaves, from which node (height, index) follows."""
    level, rise = divmod(height, TILE_HEIGHT)
    return tile_at(level, index << rise >> TILE_HEIGHT, size)


def new_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Tiles of the tree of `new_size` leaves that differ from those of `old_size`: level by level, in order.

    Its tiles of level 0 are also the entry bundles to write (`tile._replace(level=ENTRIES)`).
    """
    level = 0
    while (new := new_size >> TILE_HEIGHT * level) > (old := old_size >> TILE_HEIGHT * level):
        for number in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
            yield tile_at(level, number, new_size)
        level += 1


def inclusion_tiles(indices: Iterable[int], size: int) -> list[Tile]:
    """Tiles needed to prove these leaves included in the tree of `size` leaves, each once."""
    # All leaves of one level-0 tile take the same tiles, so one of each speaks for the rest.
    last_of_tile = {index // TILE_WIDTH: index for index in sorted(indices)}

    def visit(node: Node) -> None:
        for index in last_of_tile.values():
            inclusion_proof(index, size, node)

    return _visited_tiles(size, visit)


def consistency_tiles(old: int, new: int) -> list[Tile]:
    """Tiles of the tree of `new` leaves needed to prove that it continues the one of `old`, each once."""
    return _visited_tiles(new, lambda node: consistency_proof(old, new, node))


class TileReader:
    """Nodes of the tree of `size` leaves, from its tiles; `reader.node` is what the proof functions take.

    `fetch(tile)` gives the tile's hashes, `32 * tile.width` octets, and is called once for each tile among the last
    `CACHED_TILES` used. What `fetch` raises passes through; a tile of another length is a `TileError`.
    """

    def __init__(self, fetch: Callable[[Tile], bytes], size: int) -> None:
        self.size = size
        self._fetch = fetch
        self._rows: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def node(self, height: int, index: int) -> bytes:
        """Hash of the complete subtree (height, index). Raises `ProofError` when the tree does not hold all of it."""
        if height < 0 or index < 0 or (index + 1) << height > self.size:
            raise ProofError(f"node {index} at height {height} is not complete in a tree of {self.size} leaves")
        level, rise = divmod(height, TILE_HEIGHT)
        place = level, index << rise >> TILE_HEIGHT
        if (rows := self._rows.get(place)) is None:
            rows = self._rows[place] = self._inner_rows(tile_at(*place, self.size))
            if len(self._rows) > CACHED_TILES:
                self._rows.popitem(last=False)
        else:
            self._rows.move_to_end(place)
        return rows[rise][index & (TILE_WIDTH >> rise) - 1]

    def _inner_rows(self, tile: Tile) -> list[list[bytes]]:
        """The tile's hashes, and above them row by row the complete nodes that follow from them."""
        hashes = self._fetch(tile)
        if len(hashes) != HASH_BYTES * tile.width:
            raise TileError(f"{tile.path} has {len(hashes)} octets, not {HASH_BYTES * tile.width}: fetch it again")
        rows = [[hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]]
        while len(rows) < TILE_HEIGHT and len(rows[-1]) > 1:
            pairs = iter(rows[-1])
            rows.append([node_hash(left, right) for left, right in zip(pairs, pairs, strict=False)])
        return rows


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write an entry bundle: for each entry uint16 big-endian length, entry (tlog-tiles, Log entries)."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise TileError(f"a bundle of {len(entries)} entries: it holds 1 to {TILE_WIDTH}")
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise TileError(f"an entry of {len(entry)} octets is more than {MAX_ENTRY_BYTES}: divide it")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Read an entry bundle that holds `width` entries. Raises `TileError` if it does not hold exactly those."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise TileError(f"entry {len(entries)} of the bundle is cut off at octet {len(data)}: fetch it again")
        entries.append(data[at + 2 : end])
        at = end
    if len(entries) != width or at != len(data):
        raise TileError(
            f"{len(data)} octets hold {len(entries)} entries and {len(data) - at} octets more, not {width} entries"
        )
    return entries


def _visited_tiles(size: int, visit: Callable[[Node], object]) -> list[Tile]:
    visited: dict[Tile, None] = {}

    def note(height: int, index: int) -> bytes:
        visited[tile_of_node(height, index, size)] = None
        return bytes(HASH_BYTES)

    visit(note)
    return list(visited)
