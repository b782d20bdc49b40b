"""The ledger's time: `max(database clock, last entry's time)`, and a halt when the clock cannot be right.

A wrong clock would expire requests or let old envelopes in, so a jump stops the sequencer until a person has looked.
"""

import time
from collections.abc import Callable
from typing import Final

MAX_JUMP_MS: Final = 10_000
"""More than a clock drifts between two batches, less than anything that expires."""


class ClockJumpError(RuntimeError):
    """The database's clock went back behind the log, or ran apart from this machine's steady clock."""


class ClockGuard:
    """Compares the database's clock with the log's last time, and with this process's monotonic clock."""

    def __init__(self, steady_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._steady_ms = steady_ms
        self._offset: int | None = None

    def check(self, clock: int, last: int) -> int:
        """The time of the next entry, milliseconds since the epoch. Raises ClockJumpError."""
        if last - clock > MAX_JUMP_MS:
            raise ClockJumpError(
                f"the database's clock ({clock}) is {last - clock} ms behind the last entry ({last}): "
                "set the clock right and restart the ledger"
            )
        offset = clock - self._steady_ms()
        if self._offset is not None and abs(offset - self._offset) > MAX_JUMP_MS:
            raise ClockJumpError(
                f"the database's clock jumped by {offset - self._offset} ms against this machine's steady clock: "
                "find out which of them is wrong, then restart the ledger"
            )
        self._offset = offset
        return max(clock, last)
