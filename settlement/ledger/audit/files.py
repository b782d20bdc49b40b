"""An export as it lies in a folder: its checkpoint, no file too many, and every hash made anew from the entries.

    log = ExportedLog(folder, key, note)      # raises AuditError, as all else here
    for leaves in log.read_bundles(): …       # the entries, once their hashes are those in the tiles
    log.check_edge()                          # and their root is the one that the checkpoint signs

What the files are is told in `settlement.ledger.export`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from settlement.ledger.audit.error import AuditError
from settlement.ledger.checkpoint import Checkpoint, verify
from settlement.ledger.export import CHECKPOINT, TileCutter, bundles_of
from settlement.ledger.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash
from settlement.ledger.note import NoteError, VerifierKey, parse_note
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, TileError, decode_bundle, parse_tile_path, tile_at

MAX_FILE: Final = 256 * (2 + 65_535)
"""Octets of the largest bundle there can be: no larger file is read."""


class ExportedLog:
    """A log as files. `head`: its checkpoint; `other`: one had from elsewhere, which this log must continue."""

    def __init__(self, folder: Path, key: VerifierKey, other: bytes | None) -> None:
        self.folder = folder
        self.head = _read_head(folder, key)
        self.other = None if other is None else _read_other(other, key, self.head)
        _refuse_strays(folder, self.head.size)
        self._cutter = TileCutter()

    def read_bundles(self) -> Iterator[list[bytes]]:
        """The entries in order, a bundle at a time, once their hashes are those in the tiles."""
        for bundle in bundles_of(self.head.size):
            first = self._cutter.frontier.size
            try:
                leaves = self._decode(bundle)
            except TileError as error:
                raise AuditError(f"{bundle.path}: {error}", index=first) from None
            hashes = [leaf_hash(leaf) for leaf in leaves]
            if self.other is not None and first <= self.other.size <= first + len(hashes):
                before, _ = self._cutter.frontier.extend(hashes[: self.other.size - first])
                _check_root(before.root(), self.other, "the other checkpoint")
            self._compare(self._cutter.add(hashes))
            yield leaves

    def read_entry(self, index: int) -> bytes:
        """One entry again, of a bundle that was read before."""
        return self._decode(tile_at(ENTRIES, index // TILE_WIDTH, self.head.size))[index % TILE_WIDTH]

    def check_edge(self) -> None:
        """After all entries: the partial tiles, and the root."""
        self._compare(self._cutter.finish())
        _check_root(self._cutter.frontier.root(), self.head, CHECKPOINT)
        if self.other is not None and self.other.size == 0:
            _check_root(EMPTY_ROOT, self.other, "the other checkpoint")

    def _decode(self, bundle: Tile) -> list[bytes]:
        return decode_bundle(_read_file(self.folder / bundle.path, bundle.path), bundle.width)

    def _compare(self, tiles: Iterator[tuple[Tile, bytes]]) -> None:
        for tile, octets in tiles:
            found = _read_file(self.folder / tile.path, tile.path)
            if found == octets:
                continue
            at = next((at for at in range(tile.width) if _hash_at(found, at) != _hash_at(octets, at)), tile.width)
            if tile.level == 0 and at < tile.width:
                index = (tile.number << 8) + at
                raise AuditError(f"its octets in the entry bundle do not have the hash in {tile.path}", index=index)
            raise AuditError(f"{tile.path} does not follow from the entries (hash {at} is the first that differs)")


def _read_head(folder: Path, key: VerifierKey) -> Checkpoint:
    note = _read_file(folder / CHECKPOINT, CHECKPOINT)
    try:
        head = verify(note, key)
        signatures = parse_note(note).signatures
    except NoteError as error:
        raise AuditError(f"{CHECKPOINT}: {error}") from None
    if len(signatures) != 1:
        raise AuditError(f"{CHECKPOINT} has {len(signatures)} signatures: an export has the log's own and no others")
    return head


def _read_other(note: bytes, key: VerifierKey, head: Checkpoint) -> Checkpoint:
    try:
        other = verify(note, key)
    except NoteError as error:
        raise AuditError(f"the other checkpoint: {error}") from None
    if other.size > head.size:
        raise AuditError(
            f"the log is cut short: it ends at {head.size} entries, the other checkpoint signs {other.size}"
        )
    return other


def _refuse_strays(folder: Path, size: int) -> None:
    """Refuse all that a log of `size` entries does not consist of. What is missing shows when it is read."""

    def visit(directory: Path, prefix: str) -> None:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        if not entries and prefix:
            raise AuditError(f"{prefix} is an empty folder: it belongs to no log")
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                visit(directory / entry.name, f"{path}/")
            elif not entry.is_file(follow_symlinks=False):
                raise AuditError(f"{path} is no plain file")
            elif path != CHECKPOINT and not _belongs(path, size):
                raise AuditError(f"{path} does not belong to a log of {size} entries")

    visit(folder, "")


def _belongs(path: str, size: int) -> bool:
    try:
        tile = parse_tile_path(path)
        return tile_at(tile.level, tile.number, size) == tile
    except TileError:
        return False


def _read_file(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise AuditError(f"{name} cannot be read ({error.strerror}): the export is not complete") from None
    if len(octets) > MAX_FILE:
        raise AuditError(f"{name} is larger than any file of a log")
    return octets


def _check_root(root: bytes, signed: Checkpoint, name: str) -> None:
    if root != signed.root:
        raise AuditError(
            f"{name} signs {signed.size} entries under root {signed.root.hex()}, these entries have {root.hex()}: "
            "one of the two histories is forged; keep both"
        )


def _hash_at(octets: bytes, at: int) -> bytes:
    return octets[at * HASH_BYTES : (at + 1) * HASH_BYTES]
