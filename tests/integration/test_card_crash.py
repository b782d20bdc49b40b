"""A stored card killed at any moment: what it answered for is kept, and its counters never go back."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from ota.profile import MobileProfile
from simcard.uicc import CardFolder, open_card, personalise

ROUNDS = 8
# Puts challenge after challenge to the card and says each number once the card has answered it.
WRITER = """
import sys
from pathlib import Path
from simcard.uicc import CardFolder, open_card
from simcard.uicc.milenage import Milenage, xor

card = open_card(CardFolder(Path(sys.argv[1])))
card.transmit(bytes.fromhex("00a4040c07a0000000871002"))
milenage, rand, amf = Milenage(bytes(16), bytes(16)), bytes(16), b"\\x80\\0"
for seq in range(int(sys.argv[2]), 1 << 20):
    sqn = (seq << 5).to_bytes(6, "big")
    autn = xor(sqn, milenage.f2345(rand).ak) + amf + milenage.f1(rand, sqn, amf)
    assert card.transmit(bytes.fromhex("0088008122") + b"\\x10" + rand + b"\\x10" + autn)[:1] == b"\\x61"
    print(seq, flush=True)
"""


def test_a_card_killed_while_it_writes_keeps_every_number_it_answered(tmp_path: Path) -> None:
    home = MobileProfile(
        imsi="250990000000001",
        k=bytes(16),
        opc=bytes(16),
        plmn="25099",
        spn="Home",
        acc=1,
        smsc="+79990000000",
        coverage=("250",),
    )
    with CardFolder(tmp_path) as store:
        personalise(iccid="8970199000000000017", home=home, ota=[], adm="12345678", store=store)
    reached = 0
    moments = random.Random(7)
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(reached + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            answered = int(writer.stdout.readline())
            time.sleep(moments.uniform(0, 0.05))
            writer.kill()
            answered = max([answered, *map(int, writer.stdout.read().split("\n")[:-1])])
        with CardFolder(tmp_path) as store:
            kept = open_card(store)._state.accounts.slots[0].sequence.highest >> 5
        assert answered <= kept <= answered + 1
        reached = kept
