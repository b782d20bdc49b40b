"""RFC 6962 trees: the published eight-leaf family, and what the proof checks refuse."""

from hashlib import sha256

import pytest

from settlement.ledger.merkle import (
    EMPTY_ROOT,
    Frontier,
    FrontierError,
    ProofError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The eight inputs, and the root of each first n of them, that Certificate Transparency implementations share.
INPUTS = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
INPUTS.append(bytes(range(0x60, 0x70)))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(data) for data in INPUTS]


def node(height: int, index: int) -> bytes:
    """A complete subtree of the eight-leaf tree."""
    if height == 0:
        return LEAVES[index]
    return node_hash(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))


def test_the_empty_tree_has_the_hash_of_nothing_as_root() -> None:
    assert EMPTY_ROOT == root([]) == Frontier().root() == sha256(b"").digest()


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_shared_inputs_are_the_published_ones(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size]


def test_the_path_of_a_leaf_in_a_ragged_tree_is_as_rfc_6962_section_2_1_3_draws_it() -> None:
    # Its seven-leaf tree: PATH(0) = [b, h, l], PATH(3) = [c, g, l], PATH(4) = [f, j, k], PATH(6) = [i, k].
    assert inclusion_proof(0, 7, node) == [node(0, 1), node(1, 1), node_hash(node(1, 2), node(0, 6))]
    assert inclusion_proof(3, 7, node) == [node(0, 2), node(1, 0), node_hash(node(1, 2), node(0, 6))]
    assert inclusion_proof(4, 7, node) == [node(0, 5), node(0, 6), node(2, 0)]
    assert inclusion_proof(6, 7, node) == [node(1, 2), node(2, 0)]


def test_consistency_proofs_are_as_rfc_6962_section_2_1_3_draws_them() -> None:
    # PROOF(3, 7) = [c, d, g, l], PROOF(4, 7) = [l], PROOF(6, 7) = [i, j, k].
    right = node_hash(node(1, 2), node(0, 6))
    assert consistency_proof(3, 7, node) == [node(0, 2), node(0, 3), node(1, 0), right]
    assert consistency_proof(4, 7, node) == [right]
    assert consistency_proof(6, 7, node) == [node(1, 2), node(0, 6), node(2, 0)]


def test_a_frontier_survives_being_stored() -> None:
    frontier, _ = Frontier().extend(LEAVES[:7])
    assert Frontier.from_bytes(frontier.to_bytes()) == frontier
    assert len(frontier.to_bytes()) == 8 + 3 * 32


@pytest.mark.parametrize(
    "stored", [b"", bytes(7), bytes(7) + b"\x01", bytes(8) + b"\x00", b"\xff" * 8 + bytes(64 * 32)]
)
def test_a_stored_frontier_of_the_wrong_length_is_refused(stored: bytes) -> None:
    with pytest.raises(FrontierError, match="rebuild it"):
        Frontier.from_bytes(stored)


def test_extending_leaves_the_frontier_it_started_from_alone() -> None:
    before, _ = Frontier().extend(LEAVES[:3])
    before.extend(LEAVES[3:])
    assert before.root().hex() == ROOTS[3]


def test_tile_rows_are_handed_out_when_256_leaves_are_complete_and_once() -> None:
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(600)]
    first, none_yet = Frontier().extend(leaves[:255])
    second, rows = first.extend(leaves[255:])
    assert none_yet == []
    assert [(row.level, row.first_index, len(row.hashes)) for row in rows] == [(1, 0, 2)]
    assert rows[0].hashes == (root(leaves[:256]), root(leaves[256:512]))
    assert second.root() == root(leaves)


def test_a_leaf_outside_the_tree_cannot_be_proved() -> None:
    for index, size in ((8, 8), (-1, 8), (0, 0)):
        with pytest.raises(ProofError, match="not in a tree"):
            inclusion_proof(index, size, node)


def test_a_proof_for_another_position_is_refused() -> None:
    with pytest.raises(ProofError):
        verify_inclusion(LEAVES[2], 3, 8, inclusion_proof(2, 8, node), bytes.fromhex(ROOTS[8]))


def test_a_proof_too_short_or_too_long_is_refused_and_says_which() -> None:
    proof, whole = inclusion_proof(2, 8, node), bytes.fromhex(ROOTS[8])
    with pytest.raises(ProofError, match="too few"):
        verify_inclusion(LEAVES[2], 2, 8, proof[:-1], whole)
    with pytest.raises(ProofError, match="too many"):
        verify_inclusion(LEAVES[2], 2, 8, [*proof, LEAVES[0]], whole)
    with pytest.raises(ProofError, match="31 octets"):
        verify_inclusion(LEAVES[2], 2, 8, [*proof[:-1], proof[-1][:31]], whole)


def test_a_tree_cannot_shrink() -> None:
    with pytest.raises(ProofError, match="cannot continue"):
        verify_consistency(8, 7, [], bytes.fromhex(ROOTS[8]), bytes.fromhex(ROOTS[7]))


def test_two_roots_for_one_size_are_refused() -> None:
    with pytest.raises(ProofError, match="do not trust"):
        verify_consistency(8, 8, [], bytes.fromhex(ROOTS[7]), bytes.fromhex(ROOTS[8]))


def test_every_tree_continues_the_empty_one_without_proof() -> None:
    verify_consistency(0, 8, [], EMPTY_ROOT, bytes.fromhex(ROOTS[8]))
    with pytest.raises(ProofError):
        verify_consistency(0, 8, [], bytes.fromhex(ROOTS[1]), bytes.fromhex(ROOTS[8]))
    with pytest.raises(ProofError, match="empty"):
        verify_consistency(0, 8, [LEAVES[0]], EMPTY_ROOT, bytes.fromhex(ROOTS[8]))
