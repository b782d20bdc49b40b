"""Where every journey stands: arrays with a place for each, which a step moves on and the journal keeps."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Stage(IntEnum):
    """A journey's request, in the order of its life; from CLOSED on it has ended."""

    PLANNED = 0
    REQUESTED = 1
    ACCEPTED = 2
    DELIVERED = 3
    ACTIVE = 4
    CLOSED = 5
    CANCELLED = 6
    DECLINED = 7
    REFUSED = 8
    """The ledger refused its request."""
    UNSERVED = 9
    """It has no offer."""


@dataclass
class Journeys:
    """`sequence`: usage groups so far. `barred`: its allowance or escrow is used up. `on`: minute of activation.

    `used_*`: what the phone's meter has counted. `late_*` with `late_minute`: use that the network has yet to report.
    `settled` µSDRt by home (row) and visited operator (column).
    """

    stage: Array
    sequence: Array
    barred: Array
    on: Array
    used_octets: Array
    used_seconds: Array
    used_messages: Array
    late_octets: Array
    late_seconds: Array
    late_messages: Array
    late_minute: Array
    settled: Array

    @classmethod
    def plan(cls, offer: Array, operators: int) -> "Journeys":
        """Before the first step."""
        count = len(offer)

        def zeros(kind: Any = np.int64) -> Array:
            return np.zeros(count, dtype=kind)

        return cls(
            stage=np.where(offer >= 0, Stage.PLANNED, Stage.UNSERVED).astype(np.uint8),
            sequence=zeros(np.int32),
            barred=zeros(bool),
            on=zeros(),
            used_octets=zeros(),
            used_seconds=zeros(),
            used_messages=zeros(),
            late_octets=zeros(),
            late_seconds=zeros(),
            late_messages=zeros(),
            late_minute=zeros(),
            settled=np.zeros((operators, operators), dtype=np.int64),
        )

    def arrays(self) -> dict[str, Array]:
        """All of it, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def restore(cls, arrays: dict[str, Array]) -> "Journeys":
        """From what `arrays` gave."""
        return cls(**arrays)

    def having(self, *stages: Stage) -> Array:
        """Which journeys are at one of these stages."""
        return np.isin(self.stage, stages)
