"""The whole demonstration with osmo-hlr behind the visited networks (Debian package osmo-hlr)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.osmo_hlr import OsmoHlrError, find_program
from tests.integration.demo_run import COMMAND, TIMEOUT_S

pytestmark = pytest.mark.slow


def test_every_act_is_played_and_checked_with_osmo_hlr(server_folder: Path, program: Callable[..., Path]) -> None:
    program("osmo-hlr", package="osmo-hlr")
    command = [*COMMAND, "demo", "--hlr", "osmo", "--folder", str(server_folder / "demo"), "--json"]
    played = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert played.returncode == 0, played.stderr
    said = [json.loads(line) for line in played.stdout.splitlines()]
    assert any(line.get("source") == "osmo-hlr" for line in said)
    assert max(line["step"] for line in said if line["event"] == "step-taken") == 12


def test_a_missing_osmo_hlr_is_named_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(OsmoHlrError, match="osmo-hlr is missing: apt-get install osmo-hlr"):
        find_program(str(tmp_path))
