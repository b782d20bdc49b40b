"""Our card in a reader of the real PC/SC service: Debian's pcscd and vsmartcard-vpcd, scriptor, pyscard and us.

One pcscd serves a machine: a running one is used and left alone, else one is started here and ended afterwards.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from simcard.cli import app
from simcard.readers import LinkError, LinkOptions, PcscLink, list_readers, open_link
from simcard.readers.vpcd import VPCD_PORT

DRIVER = Path("/etc/reader.conf.d/vpcd")
READER = "Virtual PCD 00 00"
IMSI, ICCID, ADM = "250990000000001", "8999900000000000011", "12345678"
ATR = "3b9f96801f878031e073fe211b674a4c753034054ba9"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def wait_for(what: Callable[[], bool], told: str) -> None:
    for _ in range(100):
        if what():
            return
        time.sleep(0.1)
    pytest.fail(f"after 10 s still not: {told}")


def vpcd_listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", VPCD_PORT)) == 0


@pytest.fixture(scope="module")
def pcscd() -> Iterator[None]:
    """The PC/SC service with vpcd's reader."""
    pytest.importorskip("smartcard", reason="pyscard is missing: pip install 'landfall[pcsc]'")
    program = Path("/usr/sbin/pcscd")
    if not program.exists():
        pytest.skip("pcscd is missing: apt-get install pcscd")
    if not DRIVER.exists():
        pytest.skip("vpcd is missing: apt-get install vsmartcard-vpcd")
    if vpcd_listens():
        yield
        return
    service = subprocess.Popen([program, "--foreground"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(vpcd_listens, "vpcd listens")
        yield
    finally:
        service.terminate()
        service.wait(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    home = ["--imsi", IMSI, "--plmn", "25099", "--smsc", "+79990000000", "--adm", ADM, "--iccid", ICCID]
    run("new", str(folder), *home)
    return folder


def reader_is_empty() -> bool:
    try:
        PcscLink(regex=READER).wait_for_card(0)
    except LinkError:
        return True
    return False


@contextmanager
def serving(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`landfall sim serve` as a process of its own, its card seen by PC/SC."""
    # PC/SC notices late that the last card is gone, and would be asked for that one.
    wait_for(reader_is_empty, "the reader is empty; is another `landfall sim serve` running?")
    process = subprocess.Popen([sys.executable, "-m", "landfall", "sim", "serve", str(folder)])
    try:
        PcscLink(regex=READER).wait_for_card(30)
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def served(pcscd: None, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The card in `folder`, in the reader."""
    with serving(folder) as process:
        yield process


def test_scriptor_sees_the_card_and_its_files(
    served: subprocess.Popen[bytes], program: Callable[..., Path], tmp_path: Path
) -> None:
    scriptor = program("scriptor", package="pcsc-tools")
    script = tmp_path / "apdus"
    script.write_text("reset\n00 A4 00 0C 02 2F E2\n00 B0 00 00 0A\n00 A4 00 04 02 6F FF\n")
    done = subprocess.run(
        [scriptor, "-r", READER, "-p", "T=0", script], capture_output=True, text=True, timeout=30, check=True
    )
    told = done.stdout.upper()
    assert " ".join(ATR[i : i + 2] for i in range(0, len(ATR), 2)).upper() in told
    assert "98 99 09 00 00 00 00 00 10 F1 90 00" in told
    assert "6A 82" in told


def test_our_commands_reach_the_card_by_number_and_by_name(served: subprocess.Popen[bytes]) -> None:
    assert {"number": 0, "name": READER} in json.loads(run("readers", "--json"))
    card = json.loads(run("read", "-p", "0", "--adm", ADM, "--json"))
    assert (card["atr"], card["iccid"], card["imsi"], len(card["slots"])) == (ATR, ICCID, IMSI, 1)
    assert json.loads(run("read", "--pcsc-regex", "Virtual.*00 00", "--json"))["imsi"] == IMSI


def test_a_reset_forgets_the_adm_and_keeps_the_card_held(served: subprocess.Popen[bytes]) -> None:
    with open_link(LinkOptions(pcsc_regex=READER)) as link:
        assert link.get_atr() == ATR
        link.send_apdu_checksw("0020000a08" + ADM.encode().hex())
        link.send_apdu_checksw("00a4000c022fe2")
        assert link.reset_card() == ATR
        link.send_apdu_checksw("00a4000c022fe2")
        assert link.send_apdu("00d6000001ff")[1] == "6982"
        with pytest.raises(LinkError, match="another program may hold the card"):
            PcscLink(regex=READER).connect()
    with (
        open_link(LinkOptions(pcsc_regex=READER, pcsc_shared=True)),
        open_link(LinkOptions(pcsc_regex=READER, pcsc_shared=True)) as second,
    ):
        assert second.send_apdu("00a4000c022fe2")[1] == "9000"


def test_many_exchanges_are_not_slowed_by_the_way_there(served: subprocess.Popen[bytes]) -> None:
    with open_link(LinkOptions(pcsc_regex=READER)) as link:
        began = time.monotonic()
        for _ in range(100):
            link.send_apdu("00a4000c022fe2")
        assert time.monotonic() - began < 2  # 4 s and more when an acknowledgement waits


def test_a_batch_is_written_through_the_reader_as_its_cards_are_put_in(
    pcscd: None, folder: Path, tmp_path: Path
) -> None:
    other = ICCID[:-2] + "29"
    batch = tmp_path / "cards.csv"
    rows = [f"{ICCID},250990000000008,25099,{'1' * 32},{'2' * 32},{ADM}", f"{other},250990000000009,25099,,,"]
    batch.write_text("\n".join(["ICCID,IMSI,PLMN,K,OPC,ADM", *rows]))
    arguments = ["provision", "--batch", str(batch), "--pcsc-regex", READER, "--wait", "1"]
    with serving(folder):
        result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
        (checked,) = json.loads(run("verify", "--batch", str(batch), "--pcsc-regex", READER, "--json"))
    assert result.exit_code == 1
    assert "1 cards are still to do" in result.stderr
    (outcome,) = json.loads(result.stdout)
    assert (outcome["iccid"], outcome["result"], outcome["keys"]) == (ICCID, "provisioned", "agree")
    assert checked["result"] == "agrees"


def test_cards_put_in_one_after_another_are_each_known(pcscd: None, tmp_path: Path) -> None:
    iccids = [f"899990000000000002{n}" for n in range(3)]
    for n, iccid in enumerate(iccids):
        home = ["--imsi", f"25099000000000{n}", "--plmn", "25099", "--smsc", "+79990000000", "--adm", f"1111111{n}"]
        run("new", str(tmp_path / iccid), "--iccid", iccid, *home)
    batch = tmp_path / "cards.csv"
    batch.write_text("ICCID,ADM,SPN\n" + "".join(f"{iccid},1111111{n},Lab\n" for n, iccid in enumerate(iccids[:2])))
    command = ["provision", "--batch", str(batch), "--pcsc-regex", READER, "--wait", "20", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "landfall", "sim", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as provisioning:
        assert provisioning.stderr is not None
        assert provisioning.stdout is not None
        for iccid, told in zip(reversed(iccids), ("not one of those waiting", "[1/2]", "[2/2]"), strict=True):
            with serving(tmp_path / iccid):
                for line in provisioning.stderr:
                    if told in line:
                        break
        outcomes = json.loads(provisioning.stdout.read())
    assert [(o["iccid"], o["result"]) for o in outcomes] == [(i, "provisioned") for i in reversed(iccids[:2])]
    assert provisioning.returncode == 0


def test_a_card_taken_out_is_told_and_put_back_it_answers(folder: Path, served: subprocess.Popen[bytes]) -> None:
    link = PcscLink(regex=READER)
    link.connect()
    served.send_signal(signal.SIGTERM)
    assert served.wait(10) == 0
    with pytest.raises(LinkError, match="pulled out"):
        wait_for(lambda: not link.send_apdu("00a4000c022fe2"), "the card is gone")
    link.disconnect()
    with pytest.raises(LinkError, match="no card was put into"):
        link.wait_for_card(0.3)
    with serving(folder):
        link.wait_for_card(15)
        link.connect()
        assert link.send_apdu("00a4000c022fe2")[1] == "9000"
        link.disconnect()


def test_a_reader_that_is_not_there_is_told_with_those_that_are(pcscd: None) -> None:
    assert READER in list_readers()
    with pytest.raises(LinkError, match="there is no reader 9; there are 0: Virtual PCD 00 00"):
        PcscLink(9)
    with pytest.raises(LinkError, match="no reader's name matches 'Omnikey'"):
        PcscLink(regex="Omnikey")
    with pytest.raises(LandfallError, match="none was named"):
        LinkOptions()
