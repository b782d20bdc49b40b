"""Our AuC and card against osmo-auc-gen of Osmocom (Debian package libosmocore-utils)."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from simcard.uicc.authentication import Authenticated, ResyncNeeded, SequenceArray, answer_challenge
from simcard.uicc.comp128 import Comp128
from simcard.uicc.milenage import Milenage, derive_opc, gsm_answer
from simcard.uicc.xor_test import XorTest
from simulator.hlr import EmbeddedHlr

Osmo = Callable[..., dict[str, str]]


@pytest.fixture
def osmo(program: Callable[..., Path]) -> Osmo:
    """Run osmo-auc-gen, for Milenage in 3G unless told; gives its lines as a mapping of name to value."""
    path = program("osmo-auc-gen", package="libosmocore-utils")

    def run(algorithm: str = "milenage", generation: str = "3g", **options: str) -> dict[str, str]:
        arguments = [f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(
            [path, f"--{generation}", f"--algorithm={algorithm}", *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        pairs = (line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
        return {name.strip(): value.strip() for name, value in pairs}

    return run


@pytest.mark.parametrize("_", range(20))
def test_random_subscribers_give_the_same_vectors(_: int, osmo: Osmo) -> None:
    k, op, rand, amf = (secrets.token_bytes(n) for n in (16, 16, 16, 2))
    sqn = secrets.randbelow(1 << 48)
    theirs = osmo(key=k.hex(), op=op.hex(), amf=amf.hex(), sqn=str(sqn), rand=rand.hex())
    milenage = Milenage(k, derive_opc(k, op))
    answer = milenage.f2345(rand)
    sres, kc = gsm_answer(answer)
    assert theirs["RES"] == answer.res.hex()
    assert (theirs["CK"], theirs["IK"]) == (answer.ck.hex(), answer.ik.hex())
    assert (theirs["SRES"], theirs["Kc"]) == (sres.hex(), kc.hex())
    autn = bytes.fromhex(theirs["AUTN"])
    assert autn[6:8] == amf
    assert milenage.f1(rand, sqn.to_bytes(6, "big"), amf) == autn[8:]


def test_their_vectors_are_accepted_by_our_card_and_our_auts_by_them(osmo: Osmo) -> None:
    k, opc, rand = (secrets.token_bytes(16) for _ in range(3))
    array = SequenceArray()
    keys = {"key": k.hex(), "opc": opc.hex(), "amf": "8000", "rand": rand.hex()}
    fresh = osmo(**keys, sqn=str(1000 << 5))
    answer_challenge(Milenage(k, opc), array, rand, bytes.fromhex(fresh["AUTN"]))
    stale = osmo(**keys, sqn=str(7 << 5))
    answer = answer_challenge(Milenage(k, opc), array, rand, bytes.fromhex(stale["AUTN"]))
    assert isinstance(answer, ResyncNeeded)
    after = osmo(key=k.hex(), opc=opc.hex(), amf="8000", rand=rand.hex(), auts=answer.auts.hex())
    assert int(after["SQN.MS"]) == 1000 << 5


@pytest.mark.parametrize("version", [1, 2, 3])
def test_comp128_answers_as_theirs(version: int, osmo: Osmo) -> None:
    for _ in range(10):
        k, rand = secrets.token_bytes(16), secrets.token_bytes(16)
        theirs = osmo(f"comp128v{version}", "2g", key=k.hex(), rand=rand.hex())
        sres, kc = Comp128(version, k).a3a8(rand)
        assert (theirs["SRES"], theirs["Kc"]) == (sres.hex(), kc.hex())


def test_xor_answers_as_theirs_and_they_take_our_auts(osmo: Osmo) -> None:
    k, rand = secrets.token_bytes(16), secrets.token_bytes(16)
    keys = {"key": k.hex(), "amf": "8000", "rand": rand.hex()}
    theirs = osmo("xor", sqn=str(7 << 5), **keys)
    algorithm = XorTest(k)
    answer = algorithm.f2345(rand)
    assert (theirs["RES"], theirs["CK"], theirs["IK"]) == (answer.res.hex(), answer.ck.hex(), answer.ik.hex())
    assert (theirs["SRES"], theirs["Kc"]) == tuple(value.hex() for value in gsm_answer(answer))
    array = SequenceArray()
    assert isinstance(answer_challenge(algorithm, array, rand, bytes.fromhex(theirs["AUTN"])), Authenticated)
    again = answer_challenge(algorithm, array, rand, bytes.fromhex(theirs["AUTN"]))
    assert isinstance(again, ResyncNeeded)
    assert int(osmo("xor", auts=again.auts.hex(), **keys)["SQN.MS"]) == array.highest > 0


async def test_our_hlr_issues_the_vector_they_compute(osmo: Osmo) -> None:
    hlr = EmbeddedHlr()
    k, opc = secrets.token_bytes(16), secrets.token_bytes(16)
    await hlr.create_subscriber("262011234567890", k=k, opc=opc, algorithm="milenage", msisdn=None)
    vector = (await hlr.send_auth_info("262011234567890"))[0]
    theirs = osmo(key=k.hex(), opc=opc.hex(), amf="8000", rand=vector.rand.hex(), sqn=str(1 << 5 | 1))
    assert theirs["AUTN"] == vector.autn.hex()
    assert theirs["RES"] == vector.res.hex()
