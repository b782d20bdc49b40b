"""What the network is told of a batch: text in the form that each one takes."""

from __future__ import annotations

import json

import msgspec
import pytest

from landfall.errors import LandfallError
from simcard.personalisation import Personalisation
from simcard.provisioning_batch import parse_csv
from simcard.provisioning_network import NetworkFormat, tell_network

K, OPC = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
CARD = Personalisation(
    iccid="8999900000000000011",
    imsi="250990000000001",
    k=bytes.fromhex(K),
    opc=bytes.fromhex(OPC),
    msisdn="+79991234567",
)


def test_open5gs_gets_a_document_a_line() -> None:
    (line,) = tell_network([CARD], NetworkFormat.OPEN5GS).splitlines()
    document = json.loads(line)
    assert (document["imsi"], document["msisdn"]) == (CARD.imsi, ["79991234567"])
    assert document["security"] == {"k": K, "op": None, "opc": OPC, "amf": "8000"}
    assert document["slice"][0]["session"][0]["name"] == "internet"


def test_the_csv_is_a_batch_again() -> None:
    text = tell_network([CARD], NetworkFormat.CSV)
    assert text.splitlines()[0] == "iccid,imsi,msisdn,algorithm,k,opc"
    (again,) = parse_csv("again.csv", text.encode())
    assert again == CARD


def with_algorithm(algorithm: str, opc: bytes | None = None) -> Personalisation:
    return msgspec.structs.replace(CARD, algorithm=algorithm, opc=opc)


def test_cards_of_other_algorithms_come_back_from_the_csv_too() -> None:
    cards = [with_algorithm("tuak", bytes(32)), with_algorithm("comp128v3"), with_algorithm("xor")]
    for card in cards:
        (again,) = parse_csv("again.csv", tell_network([card], NetworkFormat.CSV).encode())
        assert again == card


def test_open5gs_is_not_told_of_an_algorithm_it_has_not() -> None:
    with pytest.raises(LandfallError, match="8999900000000000011 has tuak, and Open5GS knows Milenage only"):
        tell_network([with_algorithm("tuak", bytes(32))], NetworkFormat.OPEN5GS)


def test_a_card_without_keys_cannot_be_told() -> None:
    with pytest.raises(LandfallError, match="no IMSI, K or OPc"):
        tell_network([Personalisation(iccid=CARD.iccid)], NetworkFormat.CSV)
