"""RFC 6962 Merkle trees: hashing, appending, and the two proofs.

A tree is never held in memory. Who appends holds a `Frontier`, the roots of the complete subtrees along the right edge:

    frontier, tile_rows = frontier.extend([leaf_hash(data) for data in batch])
    signed_root = frontier.root()

`extend` also hands out the hashes that tiles of level 1 and above are made of, as they come into being, so a store
appends them and never hashes again. Who proves needs only complete subtrees, through a `node(height, index)` function
(`tiles.TileReader` gives one): node (0, i) is leaf i, node (h, i) covers leaves i·2^h up to (i+1)·2^h.

Proofs are built by `inclusion_proof` and `consistency_proof` and checked by `verify_inclusion` and
`verify_consistency`, which return nothing and raise `ProofError`: a forgotten return value cannot pass for a proof.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple, Self

import msgspec

HASH_BYTES = 32
TILE_HEIGHT = 8
"""Levels of the tree in one tile: C2SP tlog-tiles fixes it, so a tile is 256 hashes wide."""
MAX_SIZE = 2**63 - 1
"""Leaves in a tree: what PostgreSQL's bigint and Go's int64 (sumdb/tlog) can count."""
EMPTY_ROOT = sha256().digest()
"""Root of the tree of no leaves (RFC 6962 §2.1)."""

Node = Callable[[int, int], bytes]
"""`node(height, index)`: the hash of a complete subtree."""


class ProofError(ValueError):
    """A proof that does not prove, or a request for one that cannot exist."""


class FrontierError(ValueError):
    """A stored frontier that is not one, or a tree past `MAX_SIZE`."""


class TileRow(NamedTuple):
    """Consecutive new hashes of one tile level: hash number `first_index + i` of `level` is `hashes[i]`.

    Level 1 holds roots of 256 leaves, level 2 roots of 65,536, and so on; level 0 is the leaf hashes themselves.
    """

    level: int
    first_index: int
    hashes: tuple[bytes, ...]


def leaf_hash(data: bytes) -> bytes:
    """Hash one leaf's data (RFC 6962 §2.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two sibling nodes into their parent (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root of the tree over these leaf hashes (RFC 6962 §2.1)."""
    frontier, _ = Frontier().extend(leaf_hashes)
    return frontier.root()


class Frontier(msgspec.Struct, frozen=True):
    """The right edge of a tree of `size` leaves: roots of its complete subtrees, the largest (leftmost) first.

    There is one hash for each set bit of `size`, so at most 63. A value: `extend` gives a new one and leaves this one,
    which is what a rolled back batch needs.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def extend(self, leaf_hashes: Sequence[bytes]) -> tuple["Frontier", list[TileRow]]:
        """Append leaves, given by their hashes of 32 octets; also the tile rows (level 1 and up) this completes.

        Costs one SHA-256 a leaf, amortised. Raises `FrontierError` past `MAX_SIZE`.
        """
        size = self.size + len(leaf_hashes)
        if size > MAX_SIZE:
            raise FrontierError(f"a tree of {size} leaves is more than {MAX_SIZE}: start a new log")
        hash_of = sha256
        standing = list(self.hashes)
        edge: list[bytes] = []
        tile_rows: list[TileRow] = []
        row, first, height = list(leaf_hashes), self.size, 0
        while row:
            if first & 1:  # the new row's left neighbour has been waiting for its sibling
                row.insert(0, standing.pop())
            if len(row) & 1:
                edge.append(row.pop())
            pairs = iter(row)
            row = [hash_of(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            first, height = first >> 1, height + 1
            if row and height % TILE_HEIGHT == 0:
                tile_rows.append(TileRow(height // TILE_HEIGHT, first, tuple(row)))
        return Frontier(size, (*standing, *reversed(edge))), tile_rows

    def root(self) -> bytes:
        """Root hash of the tree; at most 62 hashes are computed."""
        if not self.hashes:
            return EMPTY_ROOT
        folded = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            folded = node_hash(left, folded)
        return folded

    def to_bytes(self) -> bytes:
        """Size as 8 octets big-endian, then the hashes: what a store keeps beside the head."""
        return self.size.to_bytes(8, "big") + b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read `to_bytes` back. Raises `FrontierError` when the length does not fit the size it states."""
        size, body = int.from_bytes(data[:8], "big"), data[8:]
        if len(data) < 8 or size > MAX_SIZE or len(body) != HASH_BYTES * size.bit_count():
            raise FrontierError(f"{len(data)} octets are no frontier (size read: {size}): rebuild it from the leaves")
        return cls(size, tuple(body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)))


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves (RFC 9162 §2.1.3.1), from the leaf upwards.

    `node(height, index)` is asked for complete subtrees of that tree only. Raises `ProofError` for a leaf outside it.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves: ask for an index below the size")
    return _path(0, index, size, node)


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Proof that the tree of `old` leaves is a prefix of that of `new` (RFC 9162 §2.1.4.1).

    Empty when `old` is 0 or equals `new`: the roots show it. Raises `ProofError` if `old > new`.
    """
    _check_sizes(old, new)
    if old in (0, new):
        return []
    height = _trailing_zeros(old)
    index = (old - 1) >> height
    path = _path(height, index, new, node)
    return path if old.bit_count() == 1 else [node(height, index), *path]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that leaf hash `leaf` is number `index` under `root` (RFC 9162 §2.1.3.2), or raise `ProofError`."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves: the proof is for another tree")
    _check_hashes((leaf, *proof, root))
    at, last, folded = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError(f"{len(proof)} hashes are too many for leaf {index} of {size}: take the proof again")
        if at & 1 or at == last:
            folded = node_hash(sibling, folded)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            folded = node_hash(folded, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError(f"{len(proof)} hashes are too few for leaf {index} of {size}: take the proof again")
    if folded != root:
        raise ProofError(
            f"leaf {index} of {size} leads to root {folded.hex()}, not {root.hex()}: do not trust this answer"
        )


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of `new` leaves continues that of `old` (RFC 9162 §2.1.4.2), or raise `ProofError`."""
    _check_sizes(old, new)
    _check_hashes((*proof, old_root, new_root))
    if old in (0, new):
        if proof:
            raise ProofError(f"from {old} to {new} leaves the proof is empty, not {len(proof)} hashes: take it again")
        if old_root != (EMPTY_ROOT if old == 0 else new_root):
            raise ProofError(f"root {old_root.hex()} is not that of the tree of {old} leaves: do not trust this log")
        return
    path = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    if not path:
        raise ProofError(f"from {old} to {new} leaves the proof cannot be empty: take it again")
    at, last = old - 1, new - 1
    shift = _trailing_zeros(old)
    at, last = at >> shift, last >> shift
    old_fold = new_fold = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError(f"{len(proof)} hashes are too many from {old} to {new} leaves: take the proof again")
        if at & 1 or at == last:
            old_fold, new_fold = node_hash(sibling, old_fold), node_hash(sibling, new_fold)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new_fold = node_hash(new_fold, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError(f"{len(proof)} hashes are too few from {old} to {new} leaves: take the proof again")
    if old_fold != old_root or new_fold != new_root:
        raise ProofError(
            f"the tree of {new} leaves under {new_root.hex()} does not continue that of {old} under {old_root.hex()}: "
            "keep both checkpoints, they are the evidence"
        )


def _path(height: int, index: int, size: int, node: Node) -> list[bytes]:
    """Siblings on the way from the complete node (height, index) to the root of the tree of `size` leaves."""
    path: list[bytes] = []
    last = (size - 1) >> height
    while last:
        if index & 1:
            path.append(node(height, index - 1))
        elif index < last:
            complete = (index + 2) << height <= size
            path.append(node(height, index + 1) if complete else _edge_root(height, index + 1, size, node))
        index, last, height = index >> 1, last >> 1, height + 1
    return path


def _edge_root(height: int, index: int, size: int, node: Node) -> bytes:
    """Root of the incomplete subtree (height, index) at the right edge, folded from its complete parts."""
    start, parts = index << height, list[bytes]()
    for part_height in reversed(range(height)):
        if (size - start) >> part_height & 1:
            parts.append(node(part_height, start >> part_height))
            start += 1 << part_height
    folded = parts.pop()
    while parts:
        folded = node_hash(parts.pop(), folded)
    return folded


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def _check_sizes(old: int, new: int) -> None:
    if not 0 <= old <= new <= MAX_SIZE:
        raise ProofError(f"a tree of {new} leaves cannot continue one of {old}: give the smaller size first")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise ProofError(f"a hash of {len(value)} octets, not {HASH_BYTES}: take the proof again")
