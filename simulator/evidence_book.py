"""What home operators learn of journeys: card switch reports, signed meters, limits of offers. Evidence, no truth.

Written as journeys end, from what cards and phones saw, and from nothing that a visited operator said. Meters count a
little less than networks do; card reports go by short message, and some are lost.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from settlement.evidence import Limits, Metered, Ordered, Switched
from settlement.ledger.signatures import PrivateKey
from simulator.frauds import PHANTOM
from simulator.journeys import Stage
from simulator.population import generator

if TYPE_CHECKING:
    from simulator.engine import Engine

METER_MISSES: Final = 0.015
"""At most so much of the octets a network counts is not seen by a meter above it."""
OCTETS_PER_S: Final = 60_000_000
MESSAGES_PER_H: Final = 600
"""What is plausible of a phone: half a gigabit a second, and ten messages a minute."""


class EvidenceBook:
    """Writes a step's evidence."""

    def __init__(self, engine: "Engine", device_secret: bytes) -> None:
        self._engine, self._secret = engine, device_secret

    def write(self, step: int, path: Path, minute: int) -> None:
        """The evidence on journeys that ended in this step, having been served or billed."""
        engine, encoder = self._engine, msgspec.json.Encoder()
        lines: list[bytes] = []
        if step == 0:
            for offer in engine.book.offer_ids:
                limits = Limits(offer=offer, octets_per_s=OCTETS_PER_S, messages_per_h=MESSAGES_PER_H)
                lines.append(encoder.encode(limits))
        ended = np.flatnonzero((engine.journeys.stage == Stage.CLOSED) & (engine.trips.end_step == step))
        draw = generator(engine.world, "meters", step)
        lots, misses = draw.random(len(ended)), draw.random(len(ended)) * METER_MISSES
        for trip, lot, miss in zip(ended.tolist(), lots.tolist(), misses.tolist(), strict=True):
            lines += [encoder.encode(piece) for piece in self._tell(trip, minute, lot, miss)]
        path.write_bytes(b"\n".join([*lines, b""]) if lines else b"")

    def _tell(self, trip: int, minute: int, lot: float, miss: float) -> list[Ordered | Switched | Metered]:
        engine, journeys = self._engine, self._engine.journeys
        request, subscriber = engine.book.request_id(trip), int(engine.trips.subscriber[trip])
        metered = bool(engine.people.metered[subscriber])
        seed = hashlib.blake2b(f"device/{subscriber}".encode(), key=self._secret, digest_size=32).digest()
        key = PrivateKey(seed)
        told: list[Ordered | Switched | Metered] = [
            Ordered(
                request=request,
                visited=engine.world.operators[int(engine.visited[trip])].id,
                offer=engine.book.offer_ids[int(engine.trips.offer[trip])],
                reports=True,
                device=key.public if metered else None,
            )
        ]
        came = engine.frauds.kind[trip] != PHANTOM
        if came and lot >= engine.world.scenario.smsc.loss:
            told.append(Switched(request=request, on=int(journeys.on[trip]), off=minute))
        if metered:
            reading = Metered(
                request=request,
                minute=minute,
                octets=int(journeys.used_octets[trip] * (1 - miss)),
                seconds=int(journeys.used_seconds[trip]),
                messages=int(journeys.used_messages[trip]),
                signature=b"",
            )
            told.append(msgspec.structs.replace(reading, signature=key.sign(reading.signed_octets)))
        return told
