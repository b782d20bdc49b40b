"""Milenage against the test sets of 3GPP TS 35.208."""

import pytest

from simcard.uicc.milenage import Milenage, derive_opc, gsm_answer

# name: K, RAND, SQN, AMF, OP, OPc, f1, f1*, f2, f3, f4, f5, f5*
SETS = {
    "1": "465b5ce8b199b49faa5f0a2ee238a6bc 23553cbe9637a89d218ae64dae47bf35 ff9bb4d0b607 b9b9"
    " cdc202d5123e20f62b6d676ac72cb318 cd63cb71954a9f4e48a5994e37a02baf 4a9ffac354dfafb3 01cfaf9ec4e871e9"
    " a54211d5e3ba50bf b40ba9a3c58b2a05bbf0d987b21bf8cb f769bcd751044604127672711c6d3441 aa689c648370 451e8beca43b",
    "3": "fec86ba6eb707ed08905757b1bb44b8f 9f7c8d021accf4db213ccff0c7f71a6a 9d0277595ffc 725c"
    " dbc59adcb6f9a0ef735477b7fadf8374 1006020f0a478bf6b699f15c062e42b3 9cabc3e99baf7281 95814ba2b3044324"
    " 8011c48c0c214ed2 5dbdbb2954e8f3cde665b046179a5098 59a92d3b476a0443487055cf88b2307b 33484dc2136b deacdd848cc6",
    "4": "9e5944aea94b81165c82fbf9f32db751 ce83dbc54ac0274a157c17f80d017bd6 0b604a81eca8 9e09"
    " 223014c5806694c007ca1eeef57f004f a64a507ae1a2a98bb88eb4210135dc87 74a58220cba84c49 ac2cc74a96871837"
    " f365cd683cd92e96 e203edb3971574f5a94b0d61b816345d 0c4524adeac041c4dd830d20854fc46b f0b9c08ad02e 6085a86c6f63",
}


@pytest.mark.parametrize("name", SETS)
def test_a_published_set_is_reproduced(name: str) -> None:
    k, rand, sqn, amf, op, opc, f1, f1s, f2, f3, f4, f5, f5s = map(bytes.fromhex, SETS[name].split())
    assert derive_opc(k, op) == opc
    m = Milenage(k, opc)
    assert m.f1(rand, sqn, amf) == f1
    assert m.f1star(rand, sqn, amf) == f1s
    assert m.f2345(rand) == (f2, f3, f4, f5)
    assert m.f5star(rand) == f5s


def test_the_2g_answer_of_set_1_is_what_ts_35_208_gives() -> None:
    k, rand, _, _, _, opc, *_ = map(bytes.fromhex, SETS["1"].split())
    assert gsm_answer(Milenage(k, opc).f2345(rand)) == (bytes.fromhex("46f8416a"), bytes.fromhex("eae4be823af9a08b"))


def test_a_key_of_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match="K must be 16 octets, not 15"):
        Milenage(bytes(15), bytes(16))
