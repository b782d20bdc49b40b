"""What a traveller with a real card uses in a step, and how the visited network tells it: records, or a TAP file."""

import random
from pathlib import Path
from typing import Any

from settlement.ledger.messages import UsageRecord
from simulator.card_book import Traveller
from simulator.tap_path import Used, through_tap
from simulator.world import Operator


def draw_card_use(seed: int, traveller: Traveller, step: int) -> dict[str, int]:
    """Octets, seconds and messages by service: the same for a world, a card and a step."""
    draw = random.Random(f"card use {seed} {traveller.number} {step}")
    talked = draw.randrange(20, 400)
    return {"data": draw.randrange(1_000_000, 200_000_000), "voice": talked, "message": draw.randrange(1, 4)}


def make_records(operator: Operator, use: dict[str, int], minute: int) -> list[UsageRecord]:
    """A record for each service, as the network measured it."""
    return [
        UsageRecord(service, minute, operator.country.offset, use["voice"], units, operator.plmn)  # type: ignore[arg-type]
        for service, units in use.items()
    ]


def tell_by_tap(
    path: Path, operator: Operator, traveller: Traveller, records: list[UsageRecord], step: int
) -> list[UsageRecord]:
    """What the operator's node will be given stands in a file first, and is read from there."""
    path.parent.mkdir(exist_ok=True)
    used = [Used(traveller.visited_imsi, record) for record in records]
    sequence = step * 100 + traveller.number
    found = through_tap(path, used, tadig=operator.tadig, plmn=operator.plmn, sequence=sequence)
    return [one.record for one in found]


def to_network_record(imsi: str, record: UsageRecord) -> dict[str, Any]:
    """As the node takes it."""
    return {
        "imsi": imsi,
        "service": record.service,
        "start_ms": record.start * 60_000,
        "offset": record.offset,
        "duration": record.duration,
        "units": record.units,
        "place": record.place,
    }
