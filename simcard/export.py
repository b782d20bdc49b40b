"""The files of a card as data: every one that has a name, as far as it may be read; nothing is written.

`export_card(link)` gives a `CardExport`, which `landfall sim export` prints as JSON. Files that are denied are in it
without content, and so are session keys unless asked for. Files with K and OPc are never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from simcard.file_access import CardFile, FileError, open_file
from simcard.known_files import KNOWN_FILES, SESSION_KEYS
from simcard.provisioning_kinds import recognise_kind
from simcard.readers.contract import Link


class FileExport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One EF in hex: `content` of a transparent one, `records` of others; neither if denied or hidden."""

    path: str
    name: str
    kind: str
    size: int
    record_bytes: int = 0
    content: str | None = None
    records: list[str] | None = None
    hidden: bool = False


class CardExport(msgspec.Struct, frozen=True):
    """A card: its ATR, its kind, and its files in the order of their paths."""

    atr: str
    kind: str
    files: list[FileExport]


def export_card(link: Link, *, show_keys: bool = False) -> CardExport:
    """Read every known file of the card on a connected `link`, with the codes verified already; `LinkError`."""
    return CardExport(link.get_atr(), recognise_kind(link).name, list(_files(link, show_keys=show_keys)))


def _files(link: Link, *, show_keys: bool) -> Iterator[FileExport]:
    for path, name in KNOWN_FILES.items():
        try:
            file = open_file(link, *path.split("/"))
            if file is None:
                continue
            if name in SESSION_KEYS and not show_keys:
                yield FileExport(path, name, file.kind, file.size, file.record_bytes, hidden=True)
            else:
                yield _read(file, path, name)
        except FileError:
            continue  # a card may have something else under that identifier


def _read(file: CardFile, path: str, name: str) -> FileExport:
    if not file.record_bytes:
        content = file.read()
        return FileExport(path, name, file.kind, file.size, content=None if content is None else content.hex())
    records: list[str] | None = []
    for number in range(1, file.records + 1):
        record = file.read_record(number)
        if record is None:
            records = None
            break
        assert records is not None
        records.append(record.hex())
    return FileExport(path, name, file.kind, file.size, file.record_bytes, records=records)
