"""Our SMPP client and our short message centre with a phone behind it: binds, windows, throttling, cuts, TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ota.profile import MULTI_ACCOUNT_TAR, MobileProfile, list_slots
from ota.scp80 import KeyByte, KeySet, ResponseStatus, Spi, decode_response, encode_command
from ota.scp80.sms import IEI_RESPONSE, Reassembler, split_packet
from ota.smpp.esme import Centre, Esme, NotBound, SubmitRefused
from ota.smpp.pdu import FINAL_RECEIPT, UDHI, Bind, Command, Pdu, ShortMessage, Status, decode_pdu, encode_pdu
from ota.smpp.receipt import State, pack_validity, parse_receipt
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.field import Field, Network, Phone
from simulator.hlr import EmbeddedHlr
from simulator.smsc import Faults, Smsc

ICCID, NUMBER = "8970199000000000017", "79990000001"
KEYS = KeySet(kic=KeyByte(1, 2), kid=KeyByte(1, 2), kic_key=bytes(range(16)), kid_key=bytes(range(16, 32)))
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=1,
    smsc="+79990000000",
    coverage=("250",),
)


def message(counter: int = 1, **change: object) -> ShortMessage:
    packet = encode_command(list_slots(), keys=KEYS, spi=Spi(), tar=MULTI_ACCOUNT_TAR, counter=counter)
    (user_data,) = split_packet(packet)
    plain = ShortMessage(
        source="12345",
        destination=NUMBER,
        esm_class=UDHI,
        protocol_id=0x7F,
        data_coding=0xF6,
        registered_delivery=FINAL_RECEIPT,
        message=user_data,
    )
    return msgspec.structs.replace(plain, **change)


class Heard:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[ShortMessage] = asyncio.Queue()

    def __call__(self, message: ShortMessage) -> None:
        self.queue.put_nowait(message)

    async def next(self, *, receipt: bool) -> ShortMessage:
        async with asyncio.timeout(5):
            while (found := await self.queue.get()).is_receipt is not receipt:
                pass
        return found


async def make_field() -> tuple[Field, Phone]:
    field = Field()
    home = field.add_network(Network("25099", "Home", EmbeddedHlr()))
    await home.hlr.create_subscriber(HOME.imsi, k=HOME.k, opc=HOME.opc, algorithm="milenage", msisdn=None)
    card = personalise(iccid=ICCID, home=HOME, ota=[KEYS], adm="12345678")
    return field, await field.add_phone(MemoryLink(card), place="25099")


@asynccontextmanager
async def running(faults: Faults | None = None) -> AsyncIterator[tuple[Smsc, Esme, Heard, Phone]]:
    field, phone = await make_field()
    smsc, heard = Smsc(field, {"ota": "secret", "other": "secret"}, faults=faults or Faults(), seed=1), Heard()
    smsc.numbers[NUMBER] = ICCID
    async with smsc.serve("127.0.0.1", 0) as port:
        centre = Centre(host="127.0.0.1", port=port, system_id="ota", password="secret", response_timeout_s=2)
        async with Esme(centre, heard, patience_s=5.0) as esme:
            yield smsc, esme, heard, phone


async def test_a_packet_reaches_the_card_and_its_proof_and_receipt_come_back() -> None:
    async with running() as (_, esme, heard, _phone):
        message_id = await esme.submit(message())
        proof = await heard.next(receipt=False)
        assert (proof.source, proof.destination) == (NUMBER, "12345")
        completed = Reassembler().add(proof.content)
        assert completed is not None
        identifier, packet = completed
        assert identifier == IEI_RESPONSE
        assert decode_response(packet, keys=KEYS, spi=Spi()).status is ResponseStatus.POR_OK

        receipt = parse_receipt(await heard.next(receipt=True))
        assert (receipt.message_id, receipt.state) == (message_id, State.DELIVERED)


async def test_a_card_is_found_by_its_iccid_and_nobody_else_by_a_wrong_number() -> None:
    async with running() as (_, esme, heard, _phone):
        await esme.submit(message(destination=ICCID))
        assert (await heard.next(receipt=False)).source == ICCID
        for wrong, status in (
            (message(destination="79990000009"), Status.INVALID_DESTINATION),
            (message(protocol_id=0), Status.SUBMIT_FAILED),
        ):
            with pytest.raises(SubmitRefused) as refused:
                await esme.submit(wrong)
            assert refused.value.status == status


async def test_a_phone_that_is_off_gets_its_message_when_it_is_on_again_or_not_at_all() -> None:
    async with running() as (_, esme, heard, phone):
        await phone.switch_off()
        await esme.submit(message(validity=pack_validity(1)))
        assert parse_receipt(await heard.next(receipt=True)).state is State.EXPIRED
        await esme.submit(message(validity=pack_validity(60)))
        await phone.switch_on()
        assert parse_receipt(await heard.next(receipt=True)).state is State.DELIVERED


async def test_each_client_hears_what_its_own_messages_brought_even_if_it_was_away() -> None:
    async with running(Faults(delay_s=(0.3, 0.3))) as (_, esme, heard, _phone):
        other = Heard()
        centre = msgspec.structs.replace(esme._centre, system_id="other")
        async with Esme(centre, other) as second:
            await second.submit(message())
        await asyncio.sleep(0.8)
        assert heard.queue.empty()
        assert other.queue.empty()
        async with Esme(centre, other):
            assert (await other.next(receipt=False)).source == NUMBER
        assert heard.queue.empty()


async def test_a_throttled_client_slows_down_and_gets_everything_through() -> None:
    async with running(Faults(most_per_s=20)) as (_, esme, _heard, _phone):
        ids = await asyncio.gather(*(esme.submit(message(counter)) for counter in range(1, 31)))
        assert len(set(ids)) == 30


async def test_a_client_binds_again_after_its_connection_was_cut() -> None:
    async with running() as (smsc, esme, heard, _phone):
        await esme.submit(message(1))
        smsc.cut()
        await asyncio.sleep(0.05)
        await esme.submit(message(2))
        await heard.next(receipt=False)


async def test_a_wrong_password_is_said_in_words() -> None:
    async with running() as (_, esme, heard, _phone):
        centre = msgspec.structs.replace(esme._centre, password="guess")
        async with Esme(centre, heard, patience_s=0.5) as wrong:
            with pytest.raises(NotBound, match="the password is wrong"):
                await wrong.submit(message())


async def test_doubled_and_reordered_messages_are_all_heard() -> None:
    async with running(Faults(duplicate=1.0, reorder=0.5)) as (_, esme, heard, _phone):
        await esme.submit(message())
        statuses = []
        for _ in range(4):
            completed = Reassembler().add((await heard.next(receipt=False)).content)
            assert completed is not None
            statuses.append(decode_response(completed[1], keys=KEYS, spi=Spi()).status)
        assert sorted(statuses) == [ResponseStatus.POR_OK] * 2 + [ResponseStatus.CNTR_LOW] * 2


async def test_what_is_out_of_state_or_no_pdu_is_answered_by_its_status() -> None:
    async with running() as (_, esme, _heard, _phone):
        reader, writer = await asyncio.open_connection("127.0.0.1", esme._centre.port)

        async def ask(raw: bytes) -> Pdu:
            writer.write(raw)
            header = await reader.readexactly(4)
            return decode_pdu(header + await reader.readexactly(int.from_bytes(header, "big") - 4))

        assert (await ask(encode_pdu(Pdu(Command.SUBMIT_SM, 1, body=message())))).status == Status.WRONG_BIND_STATE
        assert (await ask(encode_pdu(Pdu(Command.ENQUIRE_LINK, 2)))) == Pdu(Command.ENQUIRE_LINK_RESP, 2)
        unknown = await ask(bytes.fromhex("00000010000001030000000000000003"))
        assert unknown == Pdu(Command.GENERIC_NACK, 3, Status.INVALID_COMMAND)
        bind = Bind(system_id="other", password="secret")
        for status in (Status.OK, Status.ALREADY_BOUND):
            assert (await ask(encode_pdu(Pdu(Command.BIND_TRANSMITTER, 4, body=bind)))).status == status
        assert (await ask(b"\xff\xff\xff\xff")).status == Status.INVALID_COMMAND_LENGTH
        assert await reader.read() == b""
        writer.close()


async def test_a_link_that_keeps_silent_is_asked_and_given_up() -> None:
    again = asyncio.Event()
    connections = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        header = await reader.readexactly(16)
        await reader.readexactly(int.from_bytes(header[:4], "big") - 16)
        writer.write(encode_pdu(Pdu(Command.BIND_TRANSCEIVER_RESP, int.from_bytes(header[12:], "big"))))
        assert decode_pdu(await reader.readexactly(16)).command is Command.ENQUIRE_LINK
        if connections == 2:
            again.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        centre = Centre(host="127.0.0.1", port=port, system_id="ota", response_timeout_s=0.2, enquire_s=0.2)
        async with Esme(centre, Heard()), asyncio.timeout(5):
            await again.wait()


async def test_smpp_goes_through_tls(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = tmp_path / "smsc.pem", tmp_path / "smsc.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem, key_pem)
    field, _ = await make_field()
    smsc, heard = Smsc(field, {"ota": "secret"}), Heard()
    async with smsc.serve("localhost", 0, tls=tls) as port:
        trusted = Centre(
            host="localhost",
            port=port,
            system_id="ota",
            password="secret",
            tls=ssl.create_default_context(cafile=str(pem)),
        )
        async with Esme(trusted, heard) as esme:
            await esme.submit(message(destination=ICCID))
            await heard.next(receipt=False)
        stranger = msgspec.structs.replace(trusted, tls=ssl.create_default_context())
        async with Esme(stranger, heard, patience_s=0.5) as esme:
            with pytest.raises(NotBound, match="certificate"):
                await esme.submit(message(destination=ICCID))
