"""A batch that is killed with kill -9, again and again, ends with every card as the file says, and with no try lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CARDS = 40
COMMAND = [sys.executable, "-m", "landfall", "sim"]


def write(batch: Path, spn: str) -> None:
    rows = ["ICCID,IMSI,PLMN,K,OPC,ADM,SMSC,SPN"]
    rows += [
        f"8999900000000003{n:02d},2509900000001{n:02d},25099,{n:032x},{n + 1:032x},555555{n:02d},+79990000000,{spn}"
        for n in range(CARDS)
    ]
    batch.write_text("\n".join(rows))


def run(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    outcomes: list[dict[str, Any]] = json.loads(done.stdout)
    return outcomes


@pytest.mark.parametrize("spn", ["First", "Дом"])
def test_a_batch_killed_again_and_again_is_finished_by_running_it_again(tmp_path: Path, spn: str) -> None:
    batch, folder = tmp_path / "cards.csv", tmp_path / "lab"
    where = ["--batch", str(batch), "--card", str(folder)]
    if spn != "First":
        write(batch, "First")
        run("provision", *where)
    write(batch, spn)
    done = 0
    for stop_at in (5, 9, 2):
        with subprocess.Popen([*COMMAND, "provision", *where], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as p:
            assert p.stderr is not None
            for line in p.stderr:
                done += line.startswith(b"[")
                if line.startswith(f"[{stop_at}/".encode()):
                    p.send_signal(signal.SIGKILL)
                    break
    last = run("provision", *where)
    assert 0 < len(last) < CARDS
    assert done >= 16
    checked = run("verify", *where)
    assert len(checked) == CARDS
    assert {(o["result"], o["keys"], o["adm_tries"]) for o in checked} == {("agrees", "agree", 3)}
