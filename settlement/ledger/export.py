"""The export: a whole log as files, for whoever audits it without us.

    checkpoint                    signed note (C2SP tlog-checkpoint) with the log's own signature, and only that
    tile/0/000, tile/0/001.p/7    leaf hashes, 256 to a tile; the last may be partial
    tile/1/…, tile/2/…            roots of 256 hashes of the level below (C2SP tlog-tiles)
    tile/entries/000, …           the entries under each tile of level 0: uint16 length, then
                                  uint64 milliseconds since the epoch ‖ compact JWS

Nothing else lies in the folder, in particular no key: an auditor has the log's verifier key from elsewhere, or has
audited nothing. The same log of the same size is the same files, octet for octet.

    await write_export(folder, note, store.bundle, key)         # beside the database
    await write_export(folder, note, client.bundle, key)        # over the HTTP API, as issuer or auditor

Only entry bundles are fetched: every hash is made from them, and the folder appears, whole and in one step, only when
they lead to the root that the checkpoint signs.
"""

import asyncio
import os
import shutil
import tempfile
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from landfall.errors import LandfallError
from settlement.ledger import checkpoint
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.merkle import Frontier, leaf_hash
from settlement.ledger.note import NoteError, VerifierKey, parse_note
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, TileError, decode_bundle, tile_at

CHECKPOINT: Final = "checkpoint"
"""The file's name."""
FETCHED_AT_ONCE: Final = 4
"""Bundles asked for ahead: hides the round trip; at 16 MB a bundle at most, memory stays small."""

FetchBundle = Callable[[Tile], Awaitable[bytes]]
Progress = Callable[[int, int], None]
"""Called with entries done and entries in all."""


class ExportError(LandfallError):
    """The export cannot be written, or what was fetched is not the log that the checkpoint signs."""


class TileCutter:
    """Cuts a growing tree into tiles: `add` leaf hashes in order, `finish` gives the partial tiles at the edge."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self._open: defaultdict[int, list[bytes]] = defaultdict(list)
        self._numbers: defaultdict[int, int] = defaultdict(int)

    def add(self, hashes: Sequence[bytes]) -> Iterator[tuple[Tile, bytes]]:
        """Append leaves by their hashes; the tiles that became full, with their octets."""
        self.frontier, rows = self.frontier.extend(hashes)
        for level, new in [(0, hashes), *((row.level, row.hashes) for row in rows)]:
            standing = self._open[level]
            standing.extend(new)
            while len(standing) >= TILE_WIDTH:
                yield self._cut(level, TILE_WIDTH)

    def finish(self) -> Iterator[tuple[Tile, bytes]]:
        """The partial tiles."""
        for level in sorted(self._open):
            if self._open[level]:
                yield self._cut(level, len(self._open[level]))

    def _cut(self, level: int, width: int) -> tuple[Tile, bytes]:
        tile = Tile(level, self._numbers[level], width)
        self._numbers[level] += 1
        octets = b"".join(self._open[level][:width])
        del self._open[level][:width]
        return tile, octets


def bundles_of(size: int) -> Iterator[Tile]:
    """The entry bundles of a log of `size` entries, in order."""
    return (tile_at(ENTRIES, number, size) for number in range(-(-size // TILE_WIDTH)))


async def write_export(
    folder: Path, note: bytes, fetch_bundle: FetchBundle, key: VerifierKey, *, progress: Progress | None = None
) -> Checkpoint:
    """Write the log up to the checkpoint `note` into `folder`, which must not be there yet; returns the checkpoint.

    Raises ExportError where the folder is there, or the entries do not lead to the signed root. What `fetch_bundle`
    raises passes through. Either way nothing is left behind.
    """
    try:
        head = checkpoint.verify(note, key)
        note = _own_signature_only(note, key)
    except NoteError as error:
        raise ExportError(f"the checkpoint cannot be exported: {error}") from None
    draft = _make_draft(folder)
    try:
        await _write_tiles(draft, head, fetch_bundle, progress or _tell_nobody)
        _write(draft / CHECKPOINT, note)
        os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return head


def _make_draft(folder: Path) -> Path:
    if folder.exists():
        raise ExportError(f"{folder} is there already: name a folder that is not, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    draft.chmod(0o755)
    return draft


async def _write_tiles(draft: Path, head: Checkpoint, fetch_bundle: FetchBundle, progress: Progress) -> None:
    cutter = TileCutter()
    async for tile, bundle in _fetch_all(head.size, fetch_bundle):
        try:
            leaves = decode_bundle(bundle, tile.width)
        except TileError as error:
            raise ExportError(f"{tile.path} as it was fetched is no entry bundle: {error}") from None
        _write(draft / tile.path, bundle)
        for hashes, octets in cutter.add([leaf_hash(leaf) for leaf in leaves]):
            _write(draft / hashes.path, octets)
        progress(cutter.frontier.size, head.size)
    for hashes, octets in cutter.finish():
        _write(draft / hashes.path, octets)
    if cutter.frontier.root() != head.root:
        raise ExportError(
            f"the {head.size} entries lead to root {cutter.frontier.root().hex()}, the checkpoint signs "
            f"{head.root.hex()}: keep the checkpoint, it is the evidence"
        )


async def _fetch_all(size: int, fetch_bundle: FetchBundle) -> AsyncIterator[tuple[Tile, bytes]]:
    """Every bundle in order, some asked for ahead."""
    ahead: deque[tuple[Tile, asyncio.Future[bytes]]] = deque()
    try:
        for tile in bundles_of(size):
            ahead.append((tile, asyncio.ensure_future(fetch_bundle(tile))))
            if len(ahead) >= FETCHED_AT_ONCE:
                first, future = ahead.popleft()
                yield first, await future
        while ahead:
            first, future = ahead.popleft()
            yield first, await future
    finally:
        for _, future in ahead:
            future.cancel()
        await asyncio.gather(*(future for _, future in ahead), return_exceptions=True)


def _own_signature_only(note: bytes, key: VerifierKey) -> bytes:
    """The note without the lines of others: nobody without their keys could tell whether those were altered."""
    text = parse_note(note).text
    own = f"— {key.name} "
    [line, *_] = [line for line in note.decode().removeprefix(text).splitlines(keepends=True) if line.startswith(own)]
    return f"{text}\n{line}".encode()


def _write(path: Path, octets: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)


def _tell_nobody(_done: int, _total: int) -> None:
    pass
