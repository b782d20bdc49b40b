"""One demonstration for all tests that look at what it left, whichever xdist worker they run in."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from simulator.demo.cast import Secret
from simulator.demo.world import DUMP_FILE, TRUTH_FILE, VKEY_FILE

SEED, SUBSCRIBERS = 5, 4
TIMEOUT_S = 240
COMMAND = [sys.executable, "-c", "from landfall.cli import main; main()"]


class DemoRun(Struct, frozen=True):
    """A demonstration that was played: its folder, its account as JSON lines, its exit status."""

    folder: Path
    status: int
    output: str
    errors: str

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.output.splitlines()]

    @property
    def report(self) -> dict[str, object]:
        loaded: dict[str, object] = json.loads((self.folder / "report.json").read_text())
        return loaded

    @property
    def export(self) -> Path:
        return self.folder / "ledger"

    @property
    def vkey(self) -> Path:
        return self.folder / VKEY_FILE

    @property
    def dump(self) -> Path:
        return self.folder / DUMP_FILE

    @property
    def logs(self) -> list[Path]:
        return sorted((self.folder / "logs").iterdir())

    @property
    def truth(self) -> list[Secret]:
        return msgspec.json.decode((self.folder / "private" / TRUTH_FILE).read_bytes(), type=list[Secret])


def share_demo(tmp_path_factory: pytest.TempPathFactory, worker: str) -> DemoRun:
    """Play it, or wait for the worker that plays it, and hand over what it left."""
    place = tmp_path_factory.getbasetemp()
    place = place if worker == "master" else place.parent
    folder, kept = place / "demo", place / "demo-run.json"
    with (place / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(msgspec.json.encode(msgspec.to_builtins(_play(folder), enc_hook=str)))
        run: DemoRun = msgspec.json.decode(kept.read_bytes(), type=DemoRun, dec_hook=lambda kind, value: kind(value))
    assert run.status == 0, f"{run.errors}\n{run.output[-3000:]}"
    return run


def _play(folder: Path) -> DemoRun:
    options = ["--seed", str(SEED), "--subscribers", str(SUBSCRIBERS), "--folder", str(folder)]
    result = subprocess.run(
        [*COMMAND, "demo", *options, "--json", "--dump-ledger"], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return DemoRun(folder, result.returncode, result.stdout, result.stderr)
