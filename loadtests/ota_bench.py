"""Benchmarks of cards and of OTA delivery: the card alone (`card_rows`), packets made and read, and profiles downloaded
into software cards through SMPP.

    python -m loadtests.ota_bench --seconds 10 --cards 200

The sender keeps packets, counters and outcomes in PostgreSQL with fsync, as an operator's node does; the short message
centre, its phones and their cards are another process. A download is a profile with its slot list, two concatenated
short messages there and one proof of receipt back, and counts when the proof is verified and stored.
"""

import asyncio
import multiprocessing
import secrets
import tempfile
import time
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from landfall import keystore
from landfall.postgres import ensure_server, make_engine
from loadtests.card_rows import measure_card, rate
from loadtests.figures import measured, publish
from ota.delivery import Verdict, deliver, prepare
from ota.keysets import CardKeys
from ota.outbox import KeyCipher, PostgresOutbox, metadata
from ota.profile import MobileProfile, list_slots, store_slot
from ota.scp80.packet import KeySet, decode_command, decode_response, encode_command, encode_response, peek_command
from ota.scp80.parameters import KeyByte, ResponseStatus
from ota.scp80.remote import join_commands
from ota.scp80.sms import Reassembler, build_delivers, parse_deliver
from ota.smpp.carrier import SmppCarrier
from ota.smpp.esme import Centre
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simulator.field import Field, Network
from simulator.hlr import EmbeddedHlr
from simulator.smsc import Smsc

HOST: Final = "127.0.0.1"
WINDOW: Final = 50
"""Requests without an answer at once, what a centre grants a client of this rate."""
CONNECTIONS: Final = 4
"""The outbox gathers its writes, so that each of its four kinds has one transaction at a time."""
TARGETS: Final = {"profile downloads with proof of receipt": "500"}
UNITS: Final = {"memory per card": "bytes"}
"""Of rows that are neither a number a second nor, by their name, seconds."""
AES: Final = KeyByte(1, 2)
KEYS: Final = KeySet(kic=AES, kid=AES, kic_key=secrets.token_bytes(16), kid_key=secrets.token_bytes(16))


def make_profile(plmn: str, number: int) -> MobileProfile:
    """A profile as a visited operator delivers it."""
    return MobileProfile(
        imsi=f"{plmn}{number:010d}",
        k=bytes(16),
        opc=bytes(16),
        plmn=plmn,
        spn="Bench",
        acc=1,
        smsc="+491710000000",
        coverage=(plmn[:3],),
        msisdn=f"+4917{number:09d}",
    )


def iccid_of(number: int) -> str:
    """The ICCID of card `number`, which is its address too."""
    return f"8949{number:015d}"


def measure_packets(seconds: float) -> dict[str, float]:
    """Packets a second in this process: made and cut into TPDUs; taken apart and verified; proofs made; proofs read."""
    card = CardKeys(iccid=iccid_of(1), keys=KEYS)
    data = join_commands([*store_slot(1, make_profile("23201", 1)), list_slots()])
    packet = encode_command(data, keys=KEYS, spi=card.spi, tar=card.tar, counter=1)
    tpdus = build_delivers(packet, originator="12345", timestamp=bytes(7))
    header = peek_command(packet)
    proof = encode_response(ResponseStatus.POR_OK, bytes(20), header=header, counter=1, keys=KEYS)

    def pack() -> None:
        made = encode_command(data, keys=KEYS, spi=card.spi, tar=card.tar, counter=1)
        build_delivers(made, originator="12345", timestamp=bytes(7))

    def unpack() -> None:
        together = Reassembler()
        for tpdu in tpdus:
            completed = together.add(parse_deliver(tpdu).user_data)
        assert completed is not None
        decode_command(completed[1], KEYS, last_counter=0)

    return {
        "command packets packed into TPDUs": rate(pack, seconds),
        "command packets unpacked from TPDUs": rate(unpack, seconds),
        "proofs of receipt packed": rate(
            lambda: encode_response(ResponseStatus.POR_OK, bytes(20), header=header, counter=1, keys=KEYS), seconds
        ),
        "proofs of receipt unpacked": rate(lambda: decode_response(proof, keys=KEYS, spi=card.spi), seconds),
    }


def run_field(cards: int, keys: KeySet, pipe: Connection) -> None:
    """The other process: a network, phones with cards and a centre; says its port, ends when told to."""

    async def run() -> None:
        field = Field()
        home = field.add_network(Network("26201", "Home", EmbeddedHlr()))
        for number in range(cards):
            profile = make_profile("26201", number)
            await home.hlr.create_subscriber(
                profile.imsi, k=profile.k, opc=profile.opc, algorithm=profile.algorithm, msisdn=None
            )
            card = personalise(iccid=iccid_of(number), home=profile, ota=[keys], adm="12345678")
            await field.add_phone(MemoryLink(card), place="26201")
        async with Smsc(field, {"bench": "secret"}).serve(HOST, 0) as port:
            pipe.send(port)
            await asyncio.to_thread(pipe.recv)

    with suppress(KeyboardInterrupt, EOFError):
        uvloop.run(run())


async def measure_downloads(dsn: str, port: int, *, cards: int, seconds: float) -> dict[str, float]:
    """Downloads a second with one job a card at a time, all cards at once; seconds from packet to stored proof."""
    engine = make_engine(dsn, pool_size=CONNECTIONS)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    key = secrets.token_bytes(32)
    store = PostgresOutbox(engine, KeyCipher(partial(keystore.seal, key), partial(keystore.unseal, key)))
    for number in range(cards):
        await store.add_card(CardKeys(iccid=iccid_of(number), keys=KEYS))

    async def find_number(iccid: str) -> str:
        return iccid

    centre = Centre(host=HOST, port=port, system_id="bench", password="secret", window=WINDOW)  # noqa: S106
    carrier = SmppCarrier(centre, find_number)
    running = asyncio.create_task(carrier.run())
    await carrier.esme.wait_bound()
    latencies: list[float] = []
    ends = time.perf_counter() + seconds

    async def serve_card(number: int) -> None:
        profile = make_profile("23201", number)
        commands = [*store_slot(1, profile), list_slots()]
        while (began := time.perf_counter()) < ends:
            packet = await prepare(store, iccid_of(number), commands)
            outcome = await deliver(store, packet.id, carrier)
            assert outcome.verdict is Verdict.DONE, outcome.words
            latencies.append(time.perf_counter() - began)

    started, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(serve_card(number) for number in range(cards)))
    took = time.perf_counter() - started
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await engine.dispose()
    latencies.sort()
    return {
        "profile downloads with proof of receipt": len(latencies) / took,
        "sender_cpu_s": (time.process_time() - cpu_s) / len(latencies),
        "p50_s": latencies[len(latencies) // 2],
        "p99_s": latencies[int(len(latencies) * 0.99)],
    }


def measure_ota(folder: Path, *, seconds: float, cards: int) -> dict[str, float]:
    """All rows; `folder` gets a PostgreSQL of its own."""
    rows = measure_card(min(seconds / 8, 1.0)) | measure_packets(min(seconds / 8, 1.0))
    server = ensure_server(folder / "data")
    ours, theirs = multiprocessing.Pipe()
    field = multiprocessing.get_context("spawn").Process(target=run_field, args=(cards, KEYS, theirs))
    field.start()
    try:
        server.create_database("ota")
        rows |= uvloop.run(measure_downloads(server.dsn("ota"), ours.recv(), cards=cards, seconds=seconds))
    finally:
        ours.send("end")
        field.join()
        server.stop()
    return rows


def main(
    seconds: Annotated[float, typer.Option(help="Length of the measurement.")] = 10,
    cards: Annotated[int, typer.Option(help="Cards that are served at once.")] = 200,
    output: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")] = Path("build/bench/ota.json"),
) -> None:
    """Measure OTA delivery on this machine."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix="bench-") as name:
        rows = measure_ota(Path(name).resolve(), seconds=seconds, cards=cards)
    figures = [
        measured(name, value, UNITS.get(name, "s" if name.endswith("_s") else "/s"), TARGETS.get(name, ""))
        for name, value in rows.items()
    ]
    publish(figures, output)


if __name__ == "__main__":
    typer.run(main)
