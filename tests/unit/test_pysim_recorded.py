"""What pySim-read, pySim-prog and pySim-shell asked of our card, replayed; they were content with these answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from ota.profile import MobileProfile
from simcard.uicc import Card, personalise

RECORDING = Path(__file__).parents[1] / "data" / "foreign" / "pysim.txt"
HOME = MobileProfile(
    imsi="250990000000001",
    k=bytes(16),
    opc=bytes(16),
    plmn="25099",
    spn="Home",
    acc=2,
    smsc="+79990000000",
    coverage=("250",),
    msisdn="+79991234567",
)
# As pySim-prog was told, and then pySim-shell changed the IMSI; keys and challenge of TS 35.208 set 1.
PROGRAMMED = msgspec.structs.replace(
    HOME,
    imsi="250990000000099",
    k=bytes.fromhex("465b5ce8b199b49faa5f0a2ee238a6bc"),
    opc=bytes.fromhex("cd63cb71954a9f4e48a5994e37a02baf"),
    spn="Prog",
    acc=0x0010,
    smsc="+79990000055",
    msisdn="+79997654321",
)


def exchanges() -> Iterator[tuple[str, str]]:
    for line in RECORDING.read_text().splitlines():
        if line[0] not in "#=":
            command, _, answer = line.partition(" ")
            yield command, answer


def test_pysim_meets_the_same_card_again() -> None:
    card: Card = personalise(iccid="8970199000000000017", home=HOME, ota=[], adm="12345678")
    authenticated = 0
    for command, answer in exchanges():
        if command == "reset":
            card.reset()
            continue
        assert card.transmit(bytes.fromhex(command)).hex() == answer, command
        authenticated += answer.startswith("db08a54211d5e3ba50bf")
    assert card._state.accounts.slots[0].profile == PROGRAMMED
    assert authenticated == 1
