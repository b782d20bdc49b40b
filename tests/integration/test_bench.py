"""`make bench`, small: the benchmark of the ledger runs on real nodes and writes its figures."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest


@pytest.mark.slow
def test_the_ledgers_benchmark_writes_a_figure_of_each_kind(server_folder: Path) -> None:
    output = server_folder / "ledger.json"
    sizes = ["--seconds", "1", "--operators", "8", "--open-requests", "500"]
    command = [sys.executable, "-m", "loadtests.bench", *sizes, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    written = msgspec.json.decode(output.read_bytes())
    figures = {figure["name"]: figure for figure in written["figures"]}
    assert figures.keys() >= {
        "transactions, signed one by one",
        "transactions, signed beforehand",
        "transactions, 500 open",
        "usage records, 500 open",
        "auditor's replay",
    }
    assert all(figure["value"] > 0 for figure in figures.values())
    assert all(" rejected" not in figure["note"] or "0 rejected" in figure["note"] for figure in figures.values())
    assert "API" in figures["transactions, 500 open"]["note"]
    assert written["stages"]["verify the signature"] > 0
