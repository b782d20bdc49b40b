"""Usage on its way from files to the operator node: batches it takes with `landfall operator usage send FILE`.

Files (TAP, CSV, …) are read here by IMSI. A batch is named after its file's content, so that one sent twice is taken
once. The node puts the request's id in the IMSI's place before anything goes near the ledger.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from settlement.ledger.messages import UsageRecord

MAX_RECORDS: Final = 100_000
"""Records of a batch: what the operator node takes at once."""


class NetworkUsage(Struct, frozen=True, omit_defaults=True):
    """One chargeable event by IMSI, in the form of the node's `POST /usage`.

    `start_ms`: milliseconds since the epoch. `units`: octets, seconds or messages. `duration`: seconds. `offset`:
    minutes of local time from UTC. `place`: PLMN or ISO country.
    """

    imsi: str
    service: Literal["data", "voice", "message"]
    start_ms: int
    units: int
    place: str
    duration: int = 0
    offset: int = 0
    continues: bool = False

    @classmethod
    def of(cls, imsi: str, start_ms: int, record: UsageRecord) -> "NetworkUsage":
        """A usage record with its IMSI and exact time."""
        return cls(
            imsi,
            record.service,
            start_ms,
            record.units,
            record.place,
            record.duration,
            record.offset,
            record.continues,
        )


def write_batches(folder: Path, name: str, records: Iterable[NetworkUsage]) -> Iterator[tuple[Path, int]]:
    """Write `name`-1.json, … into `folder`, each readable by its owner only; yields each file and its count.

    `name` must follow from the content of what was read: the node takes a batch's name once.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LandfallError(f"{folder} cannot be made: {error.strerror}; name another folder") from None
    rest = iter(records)
    for number, chunk in enumerate(iter(lambda: list(islice(rest, MAX_RECORDS)), []), 1):
        path = folder / f"{name}-{number}.json"
        octets = msgspec.json.encode({"batch": f"{name}-{number}", "records": chunk})
        part = path.with_suffix(".part")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(octets)
        part.replace(path)
        yield path, len(chunk)
