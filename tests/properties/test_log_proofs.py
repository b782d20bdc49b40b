"""Whatever the tree: proofs verify, altered proofs fail, appending in any pieces gives the same tree and tiles."""

import contextlib
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.merkle import (
    Frontier,
    FrontierError,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from settlement.ledger.tiles import (
    ENTRIES,
    MAX_TILE_LEVEL,
    Tile,
    TileError,
    TileReader,
    consistency_tiles,
    decode_bundle,
    encode_bundle,
    inclusion_tiles,
    new_tiles,
    parse_tile_path,
)

MOST_LEAVES = 1_500
LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(MOST_LEAVES)]
sizes = st.integers(1, MOST_LEAVES)


def root_by_definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_by_definition(leaves[:split]), root_by_definition(leaves[split:]))


def tile_by_definition(tile: Tile) -> bytes:
    span = 256**tile.level
    first = tile.number * 256
    return b"".join(root_by_definition(LEAVES[at * span : (at + 1) * span]) for at in range(first, first + tile.width))


def reader_of(size: int) -> TileReader:
    return TileReader(tile_by_definition, size)


def alterations(proof: list[bytes], draw: Callable[[st.SearchStrategy[int]], int]) -> list[bytes]:
    """The proof with a bit flipped, a hash dropped, one added, or two neighbours exchanged."""
    choice = draw(st.integers(0, 3)) if proof else 2
    at = draw(st.integers(0, max(0, len(proof) - 1)))
    if choice == 0:
        bit = draw(st.integers(0, 255))
        flipped = int.from_bytes(proof[at], "big") ^ (1 << bit)
        return [*proof[:at], flipped.to_bytes(32, "big"), *proof[at + 1 :]]
    if choice == 1:
        return proof[:at] + proof[at + 1 :]
    if choice == 2:
        return [*proof[:at], LEAVES[draw(st.integers(0, MOST_LEAVES - 1))], *proof[at:]]
    return [*proof[:at], *reversed(proof[at : at + 2]), *proof[at + 2 :]]


@given(st.lists(st.integers(0, 700), max_size=6), st.integers(0, MOST_LEAVES))
def test_appending_in_any_pieces_gives_the_tree_and_the_tile_rows(pieces: list[int], size: int) -> None:
    frontier, rows, at = Frontier(), list[bytes](), 0
    for piece in [*pieces, size]:
        frontier, fresh = frontier.extend(LEAVES[at : min(at + piece, size)])
        at = min(at + piece, size)
        for row in fresh:
            assert (row.level, row.first_index) == (1, len(rows))
            rows += row.hashes
        assert (frontier.size, frontier.root()) == (at, root_by_definition(LEAVES[:at]))
        assert Frontier.from_bytes(frontier.to_bytes()) == frontier
    assert rows == [root_by_definition(LEAVES[256 * at : 256 * (at + 1)]) for at in range(size // 256)]


@given(st.data(), sizes)
def test_every_leaf_is_proved_and_an_altered_proof_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = root_by_definition(LEAVES[:size])
    proof = inclusion_proof(index, size, reader_of(size).node)
    verify_inclusion(LEAVES[index], index, size, proof, root)
    altered = alterations(proof, data.draw)
    if altered != proof:
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[index], index, size, altered, root)
    for elsewhere in {(index + 1) % size, data.draw(st.integers(0, size - 1))} - {index}:
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[index], elsewhere, size, proof, root)
        with pytest.raises(ProofError):
            verify_inclusion(LEAVES[elsewhere], index, size, proof, root)


@given(st.data(), sizes)
def test_every_growth_is_proved_and_an_altered_proof_is_refused(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(0, new))
    old_root, new_root = root_by_definition(LEAVES[:old]), root_by_definition(LEAVES[:new])
    proof = consistency_proof(old, new, reader_of(new).node)
    verify_consistency(old, new, proof, old_root, new_root)
    altered = alterations(proof, data.draw)
    if altered != proof:
        with pytest.raises(ProofError):
            verify_consistency(old, new, altered, old_root, new_root)
    stranger = root_by_definition(LEAVES[1 : new + 1])
    if stranger != old_root:
        with pytest.raises(ProofError):
            verify_consistency(old, new, proof, stranger, new_root)
    if old and stranger != new_root:
        with pytest.raises(ProofError):
            verify_consistency(old, new, proof, old_root, stranger)


@given(st.data(), sizes)
def test_the_tiles_named_beforehand_are_those_the_proofs_take(data: st.DataObject, size: int) -> None:
    indices = data.draw(st.lists(st.integers(0, size - 1), max_size=4))
    old = data.draw(st.integers(0, size))
    for named, prove in (
        (inclusion_tiles(indices, size), lambda node: [inclusion_proof(index, size, node) for index in indices]),
        (consistency_tiles(old, size), lambda node: consistency_proof(old, size, node)),
    ):
        fetched: list[Tile] = []

        def fetch(tile: Tile, fetched: list[Tile] = fetched) -> bytes:
            fetched.append(tile)
            return tile_by_definition(tile)

        prove(TileReader(fetch, size).node)
        assert sorted(fetched) == sorted(named)


@given(st.integers(0, 2**40), st.integers(0, 70_000))
def test_growing_publishes_exactly_the_tiles_that_changed(old: int, growth: int) -> None:
    def width(level: int, number: int, size: int) -> int:
        return max(0, min(256, (size >> 8 * level) - 256 * number))

    for tile in new_tiles(old, old + growth):
        assert width(tile.level, tile.number, old) < tile.width == width(tile.level, tile.number, old + growth)
    new_leaves = sum(tile.width - width(0, tile.number, old) for tile in new_tiles(old, old + growth) if not tile.level)
    assert new_leaves == growth


@given(st.integers(ENTRIES, MAX_TILE_LEVEL), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_tile_paths_give_their_tile_back(level: int, number: int, width: int) -> None:
    tile = Tile(level, number, width)
    assert parse_tile_path(tile.path) == tile


@given(st.text() | st.from_regex(r"tile/[0-9a-z]{1,7}/[x0-9/]{1,20}(\.p/[0-9]{0,4})?"))
def test_a_text_is_a_tile_path_only_if_it_is_how_that_tile_is_written(text: str) -> None:
    with contextlib.suppress(TileError):
        assert parse_tile_path(text).path == text


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_give_their_entries_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=400), st.integers(1, 256))
def test_any_octets_are_the_bundle_of_what_they_decode_to_or_refused(data: bytes, width: int) -> None:
    with contextlib.suppress(TileError):
        assert encode_bundle(decode_bundle(data, width)) == data


@given(st.binary(max_size=200))
def test_any_octets_are_the_frontier_they_decode_to_or_refused(data: bytes) -> None:
    with contextlib.suppress(FrontierError):
        assert Frontier.from_bytes(data).to_bytes() == data
