"""What foreign OTA programs and a foreign card said to ours, replayed; they and we were content with the answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from uuid import UUID

from ota.delivery import Attempt, Outcome, StoredPacket, Verdict, judge
from ota.keysets import CardKeys
from ota.profile import MobileProfile, list_slots
from ota.scp80 import KeyByte, KeySet
from ota.scp80.packet import decode_response, encode_command
from ota.scp80.parameters import CipherAlgorithm, ResponseStatus
from ota.scp80.remote import join_commands
from ota.scp80.sms import build_delivers, build_envelope, unwrap_response
from ota.smpp.carrier import SmppCarrier
from ota.smpp.esme import Centre
from simcard.readers import MemoryLink
from simcard.uicc import Card, personalise
from simulator.field import Field, Network
from simulator.hlr import EmbeddedHlr
from simulator.smsc import Smsc

RECORDINGS = Path(__file__).parents[1] / "data" / "foreign"
ICCID, NUMBER, HOST = "8999900000000000011", "79991234567", "127.0.0.1"
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=2,
    smsc="+79990000000",
    coverage=("250",),
    msisdn=f"+{NUMBER}",
)


def make_keys(index: int, algorithm: CipherAlgorithm) -> KeySet:
    byte = KeyByte(index, algorithm)
    kic, kid = bytes.fromhex("00112233445566778899aabbccddeeff"), bytes.fromhex("ffeeddccbbaa99887766554433221100")
    return KeySet(kic=byte, kid=byte, kic_key=kic, kid_key=kid)


AES, TRIPLE_DES = make_keys(1, CipherAlgorithm.AES_CBC), make_keys(2, CipherAlgorithm.TRIPLE_DES_CBC2)


def make_card() -> Card:
    return personalise(iccid=ICCID, home=HOME, ota=[AES, TRIPLE_DES], adm="12345678")


def read_lines(name: str) -> Iterator[tuple[str, str]]:
    for line in (RECORDINGS / name).read_text().splitlines():
        if line[0] != "#":
            first, _, second = line.partition(" ")
            yield first, second


async def read_pdu(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(20):
        length = await reader.readexactly(4)
        return (length + await reader.readexactly(int.from_bytes(length, "big") - 4)).hex()


async def test_smpp_ota_tool_gets_the_same_answers_from_our_centre_and_card() -> None:
    field = Field()
    home = field.add_network(Network("25099", "Home", EmbeddedHlr()))
    await home.hlr.create_subscriber(HOME.imsi, k=HOME.k, opc=HOME.opc, algorithm=HOME.algorithm, msisdn=HOME.msisdn)
    await field.add_phone(MemoryLink(make_card()), place="25099")
    smsc = Smsc(field, {"test": "test"})
    smsc.numbers[NUMBER] = ICCID
    proofs = 0
    async with smsc.serve(HOST, 0) as port:
        for head, lines in groupby(read_lines("smpp-ota-tool.txt"), key=lambda line: line[0] == "=="):
            if head:
                continue
            reader, writer = await asyncio.open_connection(HOST, port)
            for who, pdu in lines:
                if who == "C":
                    writer.write(bytes.fromhex(pdu))
                else:
                    assert await read_pdu(reader) == pdu
                    proofs += "027100" in pdu
            writer.close()
    # Seven of eight: without ciphering pySim leaves out the CPL, and no card can know where its packet ends.
    assert proofs == 7


@asynccontextmanager
async def smpp2sim() -> AsyncIterator[int]:
    """A server that says what pySim-smpp2sim said, as long as our client says what it said to it."""
    heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for who, pdu in read_lines("pysim-smpp2sim.txt"):
                if who == "C":
                    assert await read_pdu(reader) == pdu
                elif who == "S":
                    writer.write(bytes.fromhex(pdu))
            heard.set_result(None)
        except Exception as error:
            heard.set_exception(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            await heard


class Unstored:
    """A delivery that is noted nowhere: packets and counters are those of the recording."""

    async def note_delivered(self, packet_id: UUID) -> None:
        """Nothing to note."""


def commands() -> Iterator[tuple[list[bytes], str | None]]:
    update = bytes.fromhex("00D600003C")
    yield [bytes.fromhex("00A40004022FE2"), bytes.fromhex("00B000000A")], "B00000"
    selectors = [bytes.fromhex(entry) * 12 for entry in ("52F099C080", "32F210C080")]
    yield (
        [
            bytes.fromhex("00A40004026F62"),
            update + selectors[0],
            bytes.fromhex("00A40004026F61"),
            update + selectors[1],
            bytes.fromhex("00B000003C"),
        ],
        "B00010",
    )
    yield [list_slots()], None


async def test_our_client_delivers_through_smpp2sim_and_reads_its_proofs() -> None:
    async def find_number(_: str) -> str:
        return f"+{NUMBER}"

    card = CardKeys(iccid=ICCID, keys=AES)
    outcomes: list[Outcome] = []
    async with smpp2sim() as port:
        centre = Centre(host=HOST, port=port, system_id="test", password="test", data_coding=4)
        carrier = SmppCarrier(centre, find_number)
        running = asyncio.create_task(carrier.run())
        for counter, (sent, tar) in enumerate(commands(), 20):
            raw = encode_command(
                join_commands(sent),
                keys=AES,
                spi=card.spi,
                tar=bytes.fromhex(tar) if tar else card.tar,
                counter=counter,
            )
            packet = StoredPacket(
                id=UUID(int=counter),
                iccid=ICCID,
                key_index=1,
                counter=counter,
                commands=len(sent),
                packet=raw,
                prepared_at=datetime(2026, 11, 20, tzinfo=UTC),
            )
            tpdus = build_delivers(raw, originator="12345", timestamp=bytes(7), reference=counter)
            attempt = Attempt(Unstored(), packet, card)  # type: ignore[arg-type]
            outcomes.append(judge(packet, card, await carrier.send(ICCID, tpdus, attempt), may_double=True))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 3
    assert outcomes[0].data.hex() == "989909000000000010f1"


def test_smpp2sim_meets_the_same_card_again() -> None:
    card = make_card()
    for command, answer in read_lines("pysim-smpp2sim-card.txt"):
        if command == "reset":
            card.reset()
        else:
            assert card.transmit(bytes.fromhex(command)).hex() == answer, command


def test_onomondos_card_proves_what_we_send_it() -> None:
    exchanges = read_lines("onomondo-uicc.txt")
    kic, kid = bytes.fromhex("00112233445566778899aabbccddeeff"), bytes.fromhex("0123456789abcdef0123456701234567")
    counter = 0
    for algorithm in (CipherAlgorithm.AES_CBC, CipherAlgorithm.TRIPLE_DES_CBC2):
        byte = KeyByte(3, algorithm)
        card = CardKeys(iccid=ICCID, keys=KeySet(kic=byte, kid=byte, kic_key=kic, kid_key=kid))
        # Of these it has EF.IMSI in the application of the TAR.
        for file, length, answered in (("2fe2", 10, "016a82"), ("6f07", 9, "029000"), ("6f61", 9, "016a82")):
            counter += 1
            script = join_commands([bytes.fromhex(f"00a4000402{file}"), bytes.fromhex(f"00b00000{length:02x}")])
            raw = encode_command(script, keys=card.keys, spi=card.spi, tar=bytes.fromhex("B00011"), counter=counter)
            (tpdu,) = build_delivers(raw, originator="12345", timestamp=bytes(7), reference=counter)
            envelope = build_envelope(tpdu, smsc="+79990000000")
            assert any(command == f"80c20000{len(envelope):02x}{envelope.hex()}" for command, _ in exchanges)
            _, response = next(exchanges)
            proof = decode_response(unwrap_response(bytes.fromhex(response)[:-2]), keys=card.keys, spi=card.spi)
            assert (proof.status, proof.counter) == (ResponseStatus.POR_OK, counter)
            assert proof.data.hex().startswith(answered)
