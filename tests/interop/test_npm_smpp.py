"""The npm package `smpp` as a foreign short message centre and as a foreign client, against ours, with a real card."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ota.delivery import Verdict, deliver, prepare
from ota.outbox import PostgresOutbox
from ota.profile import MULTI_ACCOUNT_TAR, list_slots, parse_slot_list, store_slot
from ota.scp80 import ResponseStatus, Spi, decode_response, encode_command
from ota.scp80.sms import Reassembler, SmsDeliver, encode_deliver, split_packet
from ota.smpp.esme import Centre, Esme, NotBound
from tests.integration.test_ota_over_smpp import ABROAD, ICCID, KEYS, NUMBER, bound, centre, outbox

__all__ = ["outbox"]  # the fixture

HERE = Path(__file__).parent / "node"
VERSION = "0.5.1"
INSTALL_S = 120


@pytest.fixture
def node_modules(tmp_path: Path, program: Callable[..., Path]) -> Path:
    """The package installed in a folder of its own."""
    program("node", package="nodejs")
    npm, folder = program("npm", package="npm"), tmp_path / "npm"
    folder.mkdir()
    options = ["--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    done = subprocess.run(
        [npm, "install", *options, f"smpp@{VERSION}"], capture_output=True, text=True, timeout=INSTALL_S
    )
    if done.returncode:
        pytest.skip(f"npm cannot install smpp@{VERSION}: {done.stderr.strip()[-300:]}")
    return folder / "node_modules"


class Foreign:
    """A script under node that speaks JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []

    async def hear(self, field: str) -> dict[str, Any]:
        """The next line that has this field; lines without it are kept for later."""
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            while True:
                for said in self.said:
                    if field in said:
                        self.said.remove(said)
                        return said
                if not (line := await self._process.stdout.readline()):
                    break
                self.said.append(json.loads(line))
        raise AssertionError(f"the script ended without saying {field}: {self.said}")

    def tell(self, **message: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def running(modules: Path, script: str, *arguments: str) -> AsyncIterator[Foreign]:
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / script),
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(modules)},
    )
    try:
        yield Foreign(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_our_client_writes_a_profile_through_a_foreign_centre(outbox: PostgresOutbox, node_modules: Path) -> None:
    async with centre() as (_, _where, phone), running(node_modules, "smsc.js") as foreign:
        port = (await foreign.hear("port"))["port"]
        where = Centre(host="127.0.0.1", port=port, system_id="ota", password="secret", enquire_s=0.2)

        async def be_the_network(parts: int) -> None:
            for _ in range(parts):
                sent = await foreign.hear("data")
                assert (sent["from"], sent["to"]) == ("12345", NUMBER.removeprefix("+"))
                assert (sent["esm_class"], sent["protocol_id"], sent["data_coding"]) == (0x40, 0x7F, 0xF6)
                assert sent["registered_delivery"] == 1
                message = SmsDeliver(originator="12345", timestamp=bytes(7), user_data=bytes.fromhex(sent["data"]))
                answer = await phone.receive_sms([encode_deliver(message)])
                for data in answer.responses:
                    if data:
                        foreign.tell(number=NUMBER.removeprefix("+"), data=data.hex())

        async with bound(where) as carrier:
            await foreign.hear("bound")
            packet = await prepare(outbox, ICCID, [*store_slot(1, ABROAD), list_slots()])
            network = asyncio.create_task(be_the_network(2))
            outcome = await deliver(outbox, packet.id, carrier)
            await network
            assert outcome.verdict is Verdict.DONE, outcome.words
            assert parse_slot_list(outcome.data)[1].plmn == ABROAD.plmn
            assert (await foreign.hear("deliver_status"))["deliver_status"] == 0
            await asyncio.sleep(0.5)  # some enquire_link
        await foreign.hear("unbound")


async def test_a_foreign_centre_that_refuses_the_password_is_quoted(node_modules: Path) -> None:
    async with running(node_modules, "smsc.js") as foreign:
        port = (await foreign.hear("port"))["port"]
        where = Centre(host="127.0.0.1", port=port, system_id="ota", password="wrong")
        async with Esme(where, lambda message: None, patience_s=1) as esme:
            with pytest.raises(NotBound, match="the password is wrong"):
                await esme.wait_bound()


async def test_a_foreign_client_reaches_a_card_through_our_centre(node_modules: Path) -> None:
    packet = encode_command(list_slots(), keys=KEYS, spi=Spi(), tar=MULTI_ACCOUNT_TAR, counter=1)
    (user_data,) = split_packet(packet)
    number = NUMBER.removeprefix("+")
    async with AsyncExitStack() as stack:
        _, where, _phone = await stack.enter_async_context(centre())
        arguments = (str(where.port), number, user_data.hex())
        foreign = await stack.enter_async_context(running(node_modules, "esme.js", *arguments))
        assert (await foreign.hear("bind"))["bind"] == 0x0E
        assert await foreign.hear("bind") == {"bind": 0, "system_id": "landfall"}
        assert (await foreign.hear("enquire_link"))["enquire_link"] == 0
        assert await foreign.hear("query") == {"query": "generic_nack", "status": 3}
        submit = await foreign.hear("submit")
        assert submit["submit"] == 0
        assert (await foreign.hear("unknown"))["unknown"] == 0x0B
        messages = [await foreign.hear("esm_class") for _ in range(2)]
        proof = next(one for one in messages if one["data"])
        receipt = next(one for one in messages if one["text"])
        assert (receipt["receipted"], receipt["state"], receipt["esm_class"]) == (submit["id"], 2, 4)
        assert receipt["text"].startswith(f"id:{submit['id']} ")
        assert (proof["from"], proof["esm_class"]) == (number, 0x40)
        completed = Reassembler().add(bytes.fromhex(proof["data"]))
        assert completed is not None
        assert decode_response(completed[1], keys=KEYS, spi=Spi()).status is ResponseStatus.POR_OK
