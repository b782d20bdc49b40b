"""Our AuC and card against osmo-auc-gen of Osmocom (Debian package libosmocore-utils)."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from simcard.uicc.authentication import SLOTS, Authenticated, ResyncNeeded, SequenceArray, answer_challenge
from simcard.uicc.comp128 import Comp128
from simcard.uicc.milenage import Milenage, derive_opc, gsm_answer
from simcard.uicc.tuak import Tuak
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


@pytest.fixture
def osmo_help(program: Callable[..., Path]) -> str:
    path = program("osmo-auc-gen", package="libosmocore-utils")
    done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


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


def test_they_offer_no_algorithm_that_is_not_tried_here(osmo_help: str) -> None:
    offered = osmo_help.split("Available algorithms", 1)[1].split(":", 1)[1].split()
    ours = {"COMP128v1", "COMP128v2", "COMP128v3", "XOR", "MILENAGE", "XOR-2G", "XOR-3G"}
    assert set(offered) - ours <= {"TUAK"}, "write a test for the new one"


def test_tuak_answers_as_theirs(osmo_help: str, osmo: Osmo) -> None:
    if "TUAK" not in osmo_help:
        return  # libosmocore before 1.10, Debian 12's among them
    k, topc, rand, amf = (secrets.token_bytes(n) for n in (16, 32, 16, 2))
    theirs = osmo("tuak", key=k.hex(), opc=topc.hex(), amf=amf.hex(), sqn=str(7 << 5), rand=rand.hex())
    tuak = Tuak(k, topc)
    answer = tuak.f2345(rand)
    assert (theirs["RES"], theirs["CK"], theirs["IK"]) == (answer.res.hex(), answer.ck.hex(), answer.ik.hex())
    assert theirs["AUTN"][16:] == tuak.f1(rand, (7 << 5).to_bytes(6, "big"), amf).hex()


def test_our_auts_in_milenage_names_the_index_they_go_on_with(osmo: Osmo) -> None:
    k, opc, rand = (secrets.token_bytes(16) for _ in range(3))
    array = SequenceArray([500] * SLOTS)
    stale = osmo(key=k.hex(), opc=opc.hex(), amf="8000", rand=rand.hex(), sqn="0")
    answer = answer_challenge(Milenage(k, opc), array, rand, bytes.fromhex(stale["AUTN"]))
    assert isinstance(answer, ResyncNeeded)
    auts = {"rand": rand.hex(), "auts": answer.auts.hex()}
    fresh = osmo(key=k.hex(), opc=opc.hex(), amf="8000", ind="9", **auts)
    assert int(fresh["SQN.MS"]) == array.highest
    accepted = answer_challenge(Milenage(k, opc), array, bytes.fromhex(fresh["RAND"]), bytes.fromhex(fresh["AUTN"]))
    assert isinstance(accepted, Authenticated)
    assert accepted.res.hex() == fresh["RES"]
    assert array.seq[9] > 500


async def test_our_hlr_issues_the_vector_they_compute(osmo: Osmo) -> None:
    hlr = EmbeddedHlr()
    k, opc = secrets.token_bytes(16), secrets.token_bytes(16)
    await hlr.create_subscriber("262011234567890", k=k, opc=opc, algorithm="milenage", msisdn=None)
    vector = (await hlr.send_auth_info("262011234567890"))[0]
    theirs = osmo(key=k.hex(), opc=opc.hex(), amf="8000", rand=vector.rand.hex(), sqn=str(1 << 5 | 1))
    assert theirs["AUTN"] == vector.autn.hex()
    assert theirs["RES"] == vector.res.hex()
