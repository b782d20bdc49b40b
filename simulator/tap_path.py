"""Usage by way of a TAP file, as networks with a classic billing system tell it: written, read back, and then reported.

What comes out is what the file says, no more: a message is a record of its own there, and identities end at the reader.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from settlement.ledger.messages import UsageRecord
from settlement.usage.tap3.stream import open_tap
from settlement.usage.tap3.usage import Batch, Settled, TapUsage, to_usage, write_settled

MOST_SEQUENCE: Final = 99_999


class Used(Struct, frozen=True):
    """Whose use, and the record of it."""

    imsi: str
    record: UsageRecord

    def __repr__(self) -> str:
        return f"Used({self.record})"


def through_tap(path: Path, used: Sequence[Used], *, tadig: str, plmn: str, sequence: int) -> list[Used]:
    """Write `used` to a TAP file and read it again. Raises `TapError`, or `ValueError` for a record that is lost."""
    now = int(time.time())
    batch = Batch(
        sender=tadig,
        recipient=tadig,
        sequence=1 + sequence % MOST_SEQUENCE,
        created_s=now,
        cut_off_s=now,
        test=True,
    )
    single = [one for record in used for one in _split(record)]
    write_settled(path, batch, (Settled(one.imsi, tadig, one.record, 0) for one in single))
    found: list[Used] = []
    with open_tap(path) as tap:
        for read in to_usage(tap, {tadig: plmn}):
            if not isinstance(read, TapUsage):
                raise ValueError(f"{path}, record {read.number}: {read.cause}")
            found.append(Used(read.imsi, read.usage))
    if len(found) != len(single):
        raise ValueError(f"{path}: {len(single)} records were written, {len(found)} are read")
    return found


def _split(used: Used) -> list[Used]:
    """A TAP record is of one message."""
    if used.record.service != "message":
        return [used]
    return [Used(used.imsi, structs.replace(used.record, units=1))] * used.record.units
