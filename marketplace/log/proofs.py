"""Checkpoints and proofs, made from the tiles in the database.

What is proven is always a committed tree, and its root is signed only as such. Only complete subtrees are asked for;
these never change, so those that were asked for are kept: of two proofs in a row, most is the same.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from msgspec import structs

from settlement.ledger import checkpoint
from settlement.ledger.api import History, Proof, Receipt
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.merkle import HASH_BYTES, Frontier, Node, consistency_proof, inclusion_proof
from settlement.ledger.note import Signer, parse_note
from settlement.ledger.store import LedgerStore
from settlement.ledger.tiles import TileReader, tile_of_node

CACHED_NODES: Final = 16_384
"""Some 4 MB; a proof takes a few dozen."""

T = TypeVar("T")
Place = tuple[int, int]
"""Height and index of a complete subtree."""


class Prover:
    """Proves what is in the log. `signer`: the origin's, for checkpoints of earlier sizes."""

    def __init__(self, store: LedgerStore, signer: Signer) -> None:
        self._store = store
        self._signer = signer
        self._nodes: OrderedDict[Place, bytes] = OrderedDict()

    async def prove_receipt(self, receipt: Receipt, note: str) -> Receipt:
        """The receipt with its inclusion in the tree of the checkpoint `note`, which must be of a later size."""
        size = Checkpoint.parse(parse_note(note.encode()).text).size

        def prove(node: Node) -> list[bytes]:
            return inclusion_proof(receipt.index, size, node)

        proof = prove(await self._load(_asked_for(prove), size))
        return structs.replace(receipt, checkpoint=note, proof=_in_hex(proof))

    async def prove_inclusion(self, index: int, size: int) -> Proof:
        """Entry `index` is in the tree of `size` entries. Raises ProofError or LookupError where it cannot be."""
        return await self._prove(lambda node: inclusion_proof(index, size, node), size)

    async def prove_consistency(self, old: int, new: int) -> Proof:
        """The tree of `new` entries continues that of `old`. Raises ProofError or LookupError where it cannot be."""
        return await self._prove(lambda node: consistency_proof(old, new, node), new)

    async def prove_history(self, sizes: Sequence[int]) -> History:
        """The trees of these ascending sizes continue each other. Raises ProofError or LookupError where not."""

        def prove(node: Node) -> list[list[bytes]]:
            return [consistency_proof(old, new, node) for old, new in itertools.pairwise(sizes)]

        note, proofs = await self._prove_to(prove, sizes[-1])
        return History(note, tuple(map(_in_hex, proofs)))

    async def _prove(self, prove: Callable[[Node], list[bytes]], size: int) -> Proof:
        note, proof = await self._prove_to(prove, size)
        return Proof(note, _in_hex(proof))

    async def _prove_to(self, prove: Callable[[Node], T], size: int) -> tuple[str, T]:
        """The signed checkpoint of `size` entries, and what `prove` makes of that tree's nodes."""
        edge = _right_edge(size)
        node = await self._load([*_asked_for(prove), *edge], size)
        root = Frontier(size, tuple(node(*place) for place in edge)).root()
        note = checkpoint.sign(Checkpoint(self._signer.verifier.name, size, root), self._signer)
        return note.decode(), prove(node)

    async def _load(self, places: Iterable[Place], size: int) -> Node:
        """The nodes at these places of the tree of `size` entries. Raises LookupError where it is not committed."""
        nodes = {place: self._nodes.get(place) for place in places}
        missing = [place for place, node in nodes.items() if node is None]
        tiles = dict.fromkeys(tile_of_node(*place, size) for place in missing)
        reader = TileReader((await self._store.node_tiles(tiles)).__getitem__, size)
        found = {place: reader.node(*place) if node is None else node for place, node in nodes.items()}
        self._nodes.update(found)
        for place in found:
            self._nodes.move_to_end(place)
        while len(self._nodes) > CACHED_NODES:
            self._nodes.popitem(last=False)
        return lambda height, index: found[height, index]


def _asked_for(prove: Callable[[Node], object]) -> list[Place]:
    places: list[Place] = []

    def note(height: int, index: int) -> bytes:
        places.append((height, index))
        return bytes(HASH_BYTES)

    prove(note)
    return places


def _right_edge(size: int) -> list[Place]:
    """The complete subtrees that make up a tree of `size` leaves, the largest first: what a Frontier holds."""
    return [(height, (size >> height) - 1) for height in reversed(range(size.bit_length())) if size >> height & 1]


def _in_hex(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(node.hex() for node in hashes)
