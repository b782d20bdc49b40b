"""The IMSI concealed from all but the home network: TS 33.501 annex C.4, and GET IDENTITY of TS 31.102 §7.5."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given
from hypothesis import strategies as st

from ota.profile import MobileProfile
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simcard.uicc.suci import Ephemeral, Scheme, agree_a, agree_b, conceal, read_calculation_info

MSIN = bytes.fromhex("00012080f6")
HOME_A = bytes.fromhex("5a8d38864820197c3394b92613b20b91633cbd897119273bf8e4a6f4eec0a650")
HOME_B = bytes.fromhex("0272da71976234ce833a6907425867b82e074d44ef907dfb4b3e21c1c2256ebcd1")
PRIVATE_A = bytes.fromhex("c53c22208b61860b06c62e5406a7b330c2b577aa5558981510d128247d38bd1d")
# Profiles A, B and null in this order; key 27 is A's, key 30 B's.
SCHEMES, KEY_A, KEY_B = (bytes.fromhex(head) for head in ("a006010102020000a14b", "80011b8120", "80011e8121"))
INFO = SCHEMES + KEY_A + HOME_A + KEY_B + HOME_B
USIM = "00a4040407a0000000871002"


def test_profile_a_gives_the_output_of_the_standards_test_data() -> None:
    own = x25519.X25519PrivateKey.from_private_bytes(
        bytes.fromhex("c80949f13ebe61af4ebdbd293ea4f942696b9e815d7e8f0096bbf6ed7de62256")
    )
    output = conceal(Scheme.PROFILE_A, MSIN, agree_a(HOME_A, own))
    assert output.hex() == (
        "b2e92f836055a255837debf850b528997ce0201cb82adfe4be1f587d07d8457dcb02352410cddd9e730ef3fa87"
    )


def test_profile_b_gives_the_output_of_the_standards_test_data() -> None:
    own = ec.derive_private_key(0x99798858A1DC6A2C68637149A4B1DBFD1FDFF5ADDD62A2142F06699ED7602529, ec.SECP256R1())
    output = conceal(Scheme.PROFILE_B, MSIN, agree_b(HOME_B, own))
    assert output.hex() == (
        "039aab8376597021e855679a9778ea0b67396e68c66df32c0f41e9acca2da9b9d146a33fc2716ac7dae96aa30a4d"
    )


@pytest.fixture
def link() -> MemoryLink:
    home = MobileProfile(
        imsi="274012001002086", k=bytes(16), opc=bytes(16), plmn="274012", spn="", acc=1, smsc="+10000000", coverage=()
    )
    link = MemoryLink(personalise(iccid="8970199000000000017", home=home, ota=[], adm="12345678"))
    link.connect()
    link.send_apdu(USIM)
    return link


def provision(link: MemoryLink, info: bytes) -> None:
    """What a tool does: services 124 and 125, the home network's keys, the routing indicator 17."""
    link.send_apdu_checksw("0020000a083132333435363738")
    link.send_apdu("00a40004026f38")
    link.send_apdu_checksw("00d6000f011e")
    link.send_apdu("00a40804067fff5fd04f01")
    link.send_apdu_checksw(f"00d60000{len(info):02x}{info.hex()}")
    link.send_apdu("00a40804067fff5fc04f0a")
    link.send_apdu_checksw("00d600000271ff")
    link.send_apdu(USIM)


def test_get_identity_is_refused_until_a_tool_has_set_it_up(link: MemoryLink) -> None:
    assert link.send_apdu("8078000100")[1] == "6985"
    provision(link, INFO)
    assert link.send_apdu("8078000200")[1] == "6a86"
    assert link.send_apdu("8078000100")[1] == "9000"


def test_get_identity_conceals_the_imsi_anew_each_time_and_the_home_network_opens_it(link: MemoryLink) -> None:
    provision(link, INFO)
    answers = [bytes.fromhex(link.send_apdu("8078000100")[0]) for _ in range(2)]
    assert answers[0] != answers[1]
    for answer in answers:
        # TLV, IMSI, 274-012, routing indicator 17, profile A under key 27.
        assert answer[:10].hex() == "a135" + "01" + "722410" + "71ff" + "01" + "1b"
        output = answer[10:]
        home = x25519.X25519PrivateKey.from_private_bytes(PRIVATE_A)
        shared = home.exchange(x25519.X25519PublicKey.from_public_bytes(output[:32]))
        # Counter mode undoes itself: the same agreement over the ciphertext gives the MSIN.
        opened = conceal(Scheme.PROFILE_A, output[32:-8], Ephemeral(output[:32], shared))
        assert opened[32:-8] == MSIN
        assert conceal(Scheme.PROFILE_A, MSIN, Ephemeral(output[:32], shared)) == output


def test_without_a_key_that_fits_it_is_the_null_scheme(link: MemoryLink) -> None:
    provision(link, bytes.fromhex("a0020201a105800101" + "8100"))
    assert link.send_apdu("8078000100")[0] == "a10d" + "01" + "722410" + "71ff" + "0000" + MSIN.hex()


@given(st.binary(max_size=120))
def test_any_calculation_info_is_read(content: bytes) -> None:
    for home in read_calculation_info(content):
        assert home.scheme in Scheme
