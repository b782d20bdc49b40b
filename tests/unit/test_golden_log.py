"""A log of rules version 1 as it was written for ever: a change of those rules is noticed here."""

from pathlib import Path

import msgspec
import pytest

from settlement.ledger.audit import audit
from settlement.ledger.messages import Genesis, StateDigest
from settlement.ledger.note import VerifierKey
from settlement.ledger.rejections import CODES, rejections_page
from settlement.ledger.rules import VERSIONS
from tests.market_story import tell_story

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/golden-v1"


def test_the_golden_log_means_what_it_meant() -> None:
    key = VerifierKey.parse((GOLDEN / "origin.vkey").read_text().strip())
    report = msgspec.json.decode(msgspec.json.encode(audit(GOLDEN / "log", key, workers=0)))
    del report["seconds"]
    assert report == msgspec.json.decode((GOLDEN / "expected.json").read_bytes())


def test_the_golden_log_has_every_message_of_its_version() -> None:
    expected = msgspec.json.decode((GOLDEN / "expected.json").read_bytes())
    tags = {kind.__struct_config__.tag for kind in (Genesis, StateDigest, *VERSIONS[1])}
    assert set(expected["messages"]) == tags


def test_the_story_still_writes_the_golden_log() -> None:
    expected = msgspec.json.decode((GOLDEN / "expected.json").read_bytes())
    assert tell_story().execution.chain.hex() == expected["chain"]


def test_the_page_of_rejections_is_current() -> None:
    assert (ROOT / "docs/rejections.md").read_text() == rejections_page(), (
        "write it anew: python -c 'from settlement.ledger.rejections import rejections_page as p; print(p(), end=\"\")'"
    )


@pytest.mark.parametrize("code", CODES)
def test_every_rejection_says_what_to_do(code: str) -> None:
    row = CODES[code]
    assert row.title
    assert row.remedy.endswith(".")
    assert row.status in (200, 400, 401, 402, 403, 404, 409, 413, 422, 500, 503)
