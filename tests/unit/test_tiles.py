"""Tiles: names, widths, what a growing tree publishes, proofs read from tiles, entry bundles."""

from collections.abc import Callable

import pytest

from settlement.ledger.merkle import Frontier, ProofError, inclusion_proof, leaf_hash, root, verify_inclusion
from settlement.ledger.tiles import (
    ENTRIES,
    Tile,
    TileError,
    TileReader,
    consistency_tiles,
    decode_bundle,
    encode_bundle,
    inclusion_tiles,
    new_tiles,
    parse_tile_path,
    tile_at,
    tile_path,
)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(1, 999), "tile/1/999"),
        (Tile(2, 1_000, 17), "tile/2/x001/000.p/17"),
        (Tile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
        (Tile(63, 0, 1), "tile/63/000.p/1"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/data/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/../../etc",
        "tile/0/" + "x999/" * 40 + "999",
    ],
)
def test_another_spelling_of_a_path_is_refused(path: str) -> None:
    with pytest.raises(TileError, match="write it as"):
        parse_tile_path(path)


def test_a_tile_no_tree_has_is_not_named() -> None:
    for level, number, width in ((64, 0, 256), (0, -1, 256), (0, 0, 257), (0, 0, 0), (-2, 0, 1)):
        with pytest.raises(TileError):
            tile_path(level, number, width)


def test_a_tree_of_70000_leaves_has_the_tiles_of_the_specifications_example() -> None:
    tiles = list(new_tiles(0, 70_000))
    assert len([tile for tile in tiles if tile.level == 0 and tile.width == 256]) == 273
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert Tile(1, 0) in tiles
    assert list(new_tiles(0, 256)) == [Tile(0, 0), Tile(1, 0, 1)]


def test_only_what_changed_is_published_again() -> None:
    assert list(new_tiles(70_000, 70_001)) == [Tile(0, 273, 113)]
    assert list(new_tiles(65_535, 65_536)) == [Tile(0, 255), Tile(1, 0), Tile(2, 0, 1)]
    assert list(new_tiles(512, 512)) == []
    assert list(new_tiles(0, 0)) == []


def test_a_tile_beyond_the_tree_is_refused() -> None:
    for level, number, size in ((0, 1, 256), (1, 0, 255), (0, -1, 256), (ENTRIES, 0, 0)):
        with pytest.raises(TileError, match="later checkpoint"):
            tile_at(level, number, size)


SIZE = 70_000
LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(SIZE)]


@pytest.fixture(scope="module")
def fetch() -> Callable[[Tile], bytes]:
    """A log of 70,000 leaves, kept as a store keeps it: leaf hashes, and the rows of the tile levels above."""
    levels: list[list[bytes]] = [LEAVES, [], []]
    frontier = Frontier()
    for start in range(0, SIZE, 777):
        frontier, rows = frontier.extend(LEAVES[start : start + 777])
        for row in rows:
            assert len(levels[row.level]) == row.first_index
            levels[row.level] += row.hashes
    return lambda tile: b"".join(levels[tile.level][tile.number * 256 :][: tile.width])


@pytest.mark.parametrize(("index", "levels"), [(12_345, {0, 1}), (69_000, {0, 1, 2})])
def test_a_proof_takes_few_tiles_and_verifies(index: int, levels: set[int], fetch: Callable[[Tile], bytes]) -> None:
    wanted = inclusion_tiles([index], SIZE)
    assert {tile.level for tile in wanted} == levels
    tiles = {tile: fetch(tile) for tile in wanted}
    proof = inclusion_proof(index, SIZE, TileReader(tiles.__getitem__, SIZE).node)
    verify_inclusion(LEAVES[index], index, SIZE, proof, root(LEAVES))


def test_each_tile_is_fetched_once(fetch: Callable[[Tile], bytes]) -> None:
    fetched: list[Tile] = []

    def fetch_and_note(tile: Tile) -> bytes:
        fetched.append(tile)
        return fetch(tile)

    reader = TileReader(fetch_and_note, SIZE)
    for index in range(69_000, 70_000):
        inclusion_proof(index, SIZE, reader.node)
    assert len(fetched) == len(set(fetched)) == len(inclusion_tiles(range(69_000, 70_000), SIZE))


def test_equal_sizes_need_no_tile() -> None:
    assert consistency_tiles(SIZE, SIZE) == []


def test_a_node_the_tree_does_not_hold_is_refused() -> None:
    reader = TileReader(lambda tile: bytes(32 * tile.width), 300)
    for height, index in ((0, 300), (8, 1), (9, 0), (-1, 0), (0, -1)):
        with pytest.raises(ProofError, match="not complete"):
            reader.node(height, index)


def test_a_tile_of_the_wrong_length_is_refused_by_name() -> None:
    with pytest.raises(TileError, match=r"tile/0/001\.p/44 has 32 octets, not 1408"):
        TileReader(lambda tile: bytes(32), 300).node(0, 299)


def test_a_bundle_gives_its_entries_back() -> None:
    entries = [b"", b"a", b"b" * 65_535]
    assert decode_bundle(encode_bundle(entries), 3) == entries


def test_an_entry_of_65536_octets_does_not_fit_a_bundle() -> None:
    with pytest.raises(TileError, match="65536 octets is more than 65535"):
        encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("count", [0, 257])
def test_a_bundle_holds_1_to_256_entries(count: int) -> None:
    with pytest.raises(TileError):
        encode_bundle([b"x"] * count)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x02a", b"\x00\x01a", b"\x00\x01a\x00\x01b\x00", b"\x00\x01a\x00\x01b\x00\x01c"]
)
def test_a_bundle_cut_short_or_with_more_behind_it_is_refused(data: bytes) -> None:
    with pytest.raises(TileError):
        decode_bundle(data, 2)
