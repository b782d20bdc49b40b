"""The algorithms a profile may name: TUAK by the test sets of TS 35.232 and 35.233, and what a card makes of each."""

from __future__ import annotations

import pytest

from ota.profile import MobileProfile, ProfileError
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simcard.uicc.algorithms import ALGORITHMS, choose_algorithm
from simcard.uicc.tuak import Tuak, derive_topc
from simulator.field import Field, Network
from simulator.hlr import EmbeddedHlr

K = bytes(range(16))
KEYS = {"milenage": bytes(16), "tuak": bytes(32)}
HEX = bytes.fromhex


def make_profile(algorithm: str) -> MobileProfile:
    return MobileProfile(
        imsi="262011234567890",
        k=K,
        opc=KEYS.get(algorithm, b""),
        algorithm=algorithm,
        plmn="26201",
        spn="Net",
        acc=1,
        smsc="+491700000000",
        coverage=("262",),
    )


def test_tuak_gives_the_mac_of_test_set_1() -> None:
    k, top, rand = b"\xab" * 16, b"\x55" * 32, b"\x42" * 16
    topc = derive_topc(k, top)
    assert topc == HEX("bd04d9530e87513c5d837ac2ad954623a8e2330c115305a73eb45d1f40cccbff")
    assert Tuak(k, topc).f1(rand, b"\x11" * 6, b"\xff\xff") == HEX("f9a54e6aeaa8618d")
    assert Tuak(k, topc).f1star(rand, b"\x11" * 6, b"\xff\xff") == HEX("e94b4dc6c7297df3")
    assert Tuak(k, topc).f5star(rand) == HEX("e7af6b3d0e38")


def test_tuak_gives_the_answer_of_test_set_2() -> None:
    k = HEX("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0")
    topc = derive_topc(k, bytes(range(0x80, 0xA0)))
    assert topc == HEX("305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524")
    tuak, rand = Tuak(k, topc), HEX("0123456789abcdef") * 2
    assert tuak.f2345(rand) == (
        HEX("e9d749dc4eea0035"),
        HEX("a4cb6f6529ab17f8337f27baa8234d47"),
        HEX("2274155ccf4199d5e2abcbf621907f90"),
        HEX("480a9345cc1e"),
    )
    assert tuak.f5star(rand) == HEX("f84eb338848c")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_card_and_network_agree_in_every_algorithm(algorithm: str) -> None:
    profile = make_profile(algorithm)
    assert MobileProfile.from_slot_tlv(profile.to_slot_tlv()) == profile
    field = Field()
    network = field.add_network(Network("26201", "Net", EmbeddedHlr()))
    await network.hlr.create_subscriber(profile.imsi, k=K, opc=profile.opc, algorithm=algorithm, msisdn=None)
    card = personalise(iccid="8970199000000000017", home=profile, ota=[], adm="12345678")
    phone = await field.add_phone(MemoryLink(card), place="262")
    assert phone.serving is network


def test_a_comp128_card_has_no_3g_context() -> None:
    link = MemoryLink(personalise(iccid="8970199000000000017", home=make_profile("comp128v1"), ota=[], adm="12345678"))
    link.connect()
    link.send_apdu_checksw("00a4040407a0000000871002", "9???")
    assert link.send_apdu(f"0088008122{'10' + bytes(16).hex()}{'10' + bytes(16).hex()}") == ("", "9864")


@pytest.mark.parametrize(("algorithm", "opc"), [("comp128v1", bytes(16)), ("xor", bytes(16)), ("tuak", bytes(16))])
def test_an_opc_an_algorithm_does_not_take_is_refused(algorithm: str, opc: bytes) -> None:
    with pytest.raises(ValueError):
        choose_algorithm(algorithm, K, opc)
    with pytest.raises(ProfileError, match="OPc"):
        MobileProfile(
            imsi="262011234567890",
            k=K,
            opc=opc,
            algorithm=algorithm,
            plmn="26201",
            spn="Net",
            acc=1,
            smsc="+491700000000",
            coverage=(),
        )
