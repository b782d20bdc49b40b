"""Checkpoints and proofs, made from the tiles in the database.

Nothing is kept between calls: what is proven is always a committed tree, and its root is signed only as such.
"""

from collections.abc import Iterable

from msgspec import structs

from settlement.ledger import checkpoint
from settlement.ledger.api import Proof, Receipt
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.merkle import Frontier, consistency_proof, inclusion_proof
from settlement.ledger.note import Signer, parse_note
from settlement.ledger.store import LedgerStore
from settlement.ledger.tiles import Tile, TileReader, consistency_tiles, inclusion_tiles, tile_of_node


class Prover:
    """Proves what is in the log. `signer`: the origin's, for checkpoints of earlier sizes."""

    def __init__(self, store: LedgerStore, signer: Signer) -> None:
        self._store = store
        self._signer = signer

    async def prove_receipt(self, receipt: Receipt, note: str) -> Receipt:
        """The receipt with its inclusion in the tree of the checkpoint `note`, which must be of a later size."""
        size = Checkpoint.parse(parse_note(note.encode()).text).size
        return structs.replace(receipt, checkpoint=note, proof=await self._include(receipt.index, size))

    async def prove_inclusion(self, index: int, size: int) -> Proof:
        """Entry `index` is in the tree of `size` entries. Raises ProofError or LookupError where it cannot be."""
        return Proof(await self.sign(size), await self._include(index, size))

    async def prove_consistency(self, old: int, new: int) -> Proof:
        """The tree of `new` entries continues that of `old`. Raises ProofError or LookupError where it cannot be."""
        reader = await self._read(consistency_tiles(old, new), new)
        return Proof(await self.sign(new), _in_hex(consistency_proof(old, new, reader.node)))

    async def sign(self, size: int) -> str:
        """The checkpoint of an earlier, committed size. Raises LookupError for one that is not."""
        edge = [(height, (size >> height) - 1) for height in reversed(range(size.bit_length())) if size >> height & 1]
        reader = await self._read(dict.fromkeys(tile_of_node(*node, size) for node in edge), size)
        root = Frontier(size, tuple(reader.node(*node) for node in edge)).root()
        return checkpoint.sign(Checkpoint(self._signer.verifier.name, size, root), self._signer).decode()

    async def _include(self, index: int, size: int) -> tuple[str, ...]:
        reader = await self._read(inclusion_tiles([index], size), size)
        return _in_hex(inclusion_proof(index, size, reader.node))

    async def _read(self, tiles: Iterable[Tile], size: int) -> TileReader:
        return TileReader((await self._store.node_tiles(tiles)).__getitem__, size)


def _in_hex(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(node.hex() for node in hashes)
