"""What is counted of the way in: envelopes by answer, how many come at once, how long until durable, how many wait."""

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from settlement.ledger.api import Receipt
from settlement.ledger.rejections import Rejection

ANSWERS: Final = Counter(
    "landfall_ledger_envelopes", "Envelopes answered, by `accepted` or the code of their rejection", ["answer"]
)
PIECES: Final = Histogram(
    "landfall_ledger_piece_envelopes",
    "Envelopes given to the sequencer at once",
    buckets=(1, 10, 50, 100, 200, 300, 400, 500),
)
DURABLE: Final = Histogram(
    "landfall_ledger_durable_seconds",
    "From submission until durable and answered",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10),
)
WAITING: Final = Gauge(
    "landfall_ledger_waiting_envelopes", "Envelopes submitted and not yet answered", multiprocess_mode="livesum"
)


@contextmanager
def track(envelopes: int) -> Iterator[None]:
    """Measure one submission of so many envelopes."""
    PIECES.observe(envelopes)
    WAITING.inc(envelopes)
    began = perf_counter()
    try:
        yield
        DURABLE.observe(perf_counter() - began)
    finally:
        WAITING.dec(envelopes)


def count_answers(answers: Sequence[Receipt | Rejection]) -> None:
    """Count receipts as `accepted`, rejections by their code."""
    tally = Tally("accepted" if isinstance(answer, Receipt) else answer.code for answer in answers)
    for name, count in tally.items():
        ANSWERS.labels(name).inc(count)
