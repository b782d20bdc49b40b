"""Rows of the software card: commands, authentications and vectors a second in one process, and what a card takes.

A card's memory is the growth of a fresh process by some thousands of cards, divided by their number, each having been
asked for its files and having authenticated once, as a card in use has.
"""

import gc
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final

from ota.profile import MobileProfile
from ota.scp80.packet import KeySet
from ota.scp80.parameters import KeyByte
from simcard.uicc import Card, personalise
from simcard.uicc.authentication import IND_BITS
from simcard.uicc.milenage import Milenage, xor

CARDS: Final = 3000
"""Cards in one process for the memory row: the interpreter's own allocations are lost in them."""
K, OPC, RAND, AMF = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)), b"\x80\0"
SELECT_USIM: Final = bytes.fromhex("00A4040407A0000000871002")
READING: Final = tuple(
    bytes.fromhex(apdu) for apdu in ("00A40004026F07", "00C0000019", "00B0000009", "00A40004026F42", "00B2010434")
)
"""What a phone does most: SELECT, GET RESPONSE, READ BINARY, SELECT, READ RECORD."""
PAGE_BYTES: Final = 4096


def make_card(number: int) -> Card:
    """A card in memory, with one account and one OTA key set."""
    home = MobileProfile(
        imsi=f"26201{number:010d}",
        k=K,
        opc=OPC,
        plmn="26201",
        spn="Bench",
        acc=1,
        smsc="+491710000000",
        coverage=("262",),
        msisdn=f"+4917{number:09d}",
    )
    aes = KeyByte(1, 2)
    keys = KeySet(kic=aes, kid=aes, kic_key=K, kid_key=OPC)
    return personalise(iccid=f"8949{number:015d}", home=home, ota=[keys], adm="12345678")


def make_vector(milenage: Milenage, sqn: int) -> tuple[bytes, bytes]:
    """An authentication vector as an AuC makes it: its AUTN and XRES."""
    answer, number = milenage.f2345(RAND), sqn.to_bytes(6, "big")
    return xor(number, answer.ak) + AMF + milenage.f1(RAND, number, AMF), answer.res


def challenge(autn: bytes) -> bytes:
    """AUTHENTICATE in 3G context."""
    return bytes.fromhex("0088008122") + b"\x10" + RAND + b"\x10" + autn


def measure_card(seconds: float) -> dict[str, float]:
    """The rows, each measured for `seconds`."""
    card, milenage, numbers = make_card(1), Milenage(K, OPC), count(1)
    card.transmit(SELECT_USIM)

    def read() -> None:
        for apdu in READING:
            answer = card.transmit(apdu)
        assert answer[-2:] == b"\x90\0"

    def authenticate() -> None:
        autn, _ = make_vector(milenage, next(numbers) << IND_BITS)
        answer = card.transmit(challenge(autn))
        assert answer[0] == 0x61, answer.hex()

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        memory = process.submit(measure_memory, CARDS).result()
    return {
        "APDUs, a phone's reading": len(READING) * rate(read, seconds),
        "Milenage vectors made": rate(lambda: make_vector(milenage, next(numbers) << IND_BITS), seconds),
        "Milenage vectors made and answered by a card": rate(authenticate, seconds),
        "memory per card": memory,
    }


def measure_memory(cards: int) -> float:
    """Bytes a card adds to this process."""
    milenage = Milenage(K, OPC)
    autn, _ = make_vector(milenage, 1 << IND_BITS)
    kept = [make_card(0)]  # what all cards share is loaded with the first
    gc.collect()
    before = resident_bytes()
    for number in range(1, cards + 1):
        kept.append(card := make_card(number))
        for apdu in (SELECT_USIM, *READING, challenge(autn)):
            card.transmit(apdu)
    gc.collect()
    return (resident_bytes() - before) / cards


def resident_bytes() -> int:
    """Memory of this process that is in use and in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def rate(work: Callable[[], object], seconds: float) -> float:
    """How often a second `work` can be done, one after another."""
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        for _ in range(50):
            work()
        done += 50
    return done / took
