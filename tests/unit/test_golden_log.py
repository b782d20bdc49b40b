"""A log of each version of the rules as it was written for ever: a change of those rules is noticed here.

That of version 2 is that of version 1, upgraded, going on.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from settlement.ledger.audit import audit
from settlement.ledger.messages import Genesis, StateDigest, UpgradeRules
from settlement.ledger.note import VerifierKey
from settlement.ledger.rejections import CODES, rejections_page
from settlement.ledger.rules import VERSIONS
from tests.market_story import tell_story
from tests.market_story_2 import tell_story_2

ROOT = Path(__file__).parents[2]


STORIES = {1: tell_story, 2: tell_story_2}
versions = pytest.mark.parametrize("version", STORIES)


def golden(version: int) -> Path:
    return ROOT / f"tests/data/golden-v{version}"


def read_expected(version: int) -> Any:
    return msgspec.json.decode((golden(version) / "expected.json").read_bytes())


@versions
def test_the_golden_log_means_what_it_meant(version: int) -> None:
    key = VerifierKey.parse((golden(version) / "origin.vkey").read_text().strip())
    report = msgspec.json.decode(msgspec.json.encode(audit(golden(version) / "log", key, workers=0)))
    del report["seconds"]
    assert report == read_expected(version)


@versions
def test_the_golden_log_has_every_message_of_its_version(version: int) -> None:
    upgrade = (UpgradeRules,) if version > 1 else ()
    tags = {kind.__struct_config__.tag for kind in (Genesis, StateDigest, *upgrade, *VERSIONS[version])}
    assert set(read_expected(version)["messages"]) == tags


@versions
def test_the_story_still_writes_the_golden_log(version: int) -> None:
    assert STORIES[version]().execution.chain.hex() == read_expected(version)["chain"]


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
