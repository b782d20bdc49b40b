"""Evidence, and reported groups, from JSON Lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from settlement.evidence.model import Evidence, EvidenceError, Reported

MOST_LINE: Final = 1 << 20
T = TypeVar("T")


def read_evidence(path: Path) -> Iterator[Evidence]:
    """Evidence from JSON Lines. Raises `EvidenceError`."""
    return _read(path, msgspec.json.Decoder(Evidence))


def read_reported(path: Path) -> Iterator[Reported]:
    """Reported groups from JSON Lines. Raises `EvidenceError`."""
    return _read(path, msgspec.json.Decoder(Reported))


def _read(path: Path, decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MOST_LINE):
                number += 1
                if line.strip():
                    try:
                        yield decoder.decode(line)
                    except msgspec.MsgspecError as error:
                        raise EvidenceError(f"{path}, line {number}: {error}") from None
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read ({error.strerror}): name an existing file") from None
