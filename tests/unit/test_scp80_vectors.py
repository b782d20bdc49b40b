"""Every vector of tests/data/scp80.json, both ways: packet, TPDU, envelope, proof of receipt."""

import json
from pathlib import Path
from typing import Any

import pytest

from ota.scp80 import crypto, packet, remote, sms
from ota.scp80.packet import CommandHeader, KeySet
from ota.scp80.parameters import CipherAlgorithm, KeyByte, RedundancyCheck, ResponseStatus, Spi

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "scp80.json").read_text())
ALGORITHMS = {
    "single_des": CipherAlgorithm.SINGLE_DES,
    "3des2": CipherAlgorithm.TRIPLE_DES_CBC2,
    "aes128": CipherAlgorithm.AES_CBC,
    "aes256": CipherAlgorithm.AES_CBC,
}


def named(vectors: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


# The 50th command is pySim's refusal to concatenate, without parameters; we concatenate (tests/properties).
ENCODED = [vector for vector in VECTORS["commands"] if "error" not in vector]
commands = pytest.mark.parametrize("vector", named(ENCODED))
proofs = pytest.mark.parametrize("vector", named(VECTORS["por"]))


def keys_of(vector: dict[str, Any]) -> KeySet:
    return KeySet(
        kic=KeyByte.from_byte(int(vector["kic_byte"], 16)),
        kid=KeyByte.from_byte(int(vector["kid_byte"], 16)),
        kic_key=bytes.fromhex(vector["kic_key"] or ""),
        kid_key=bytes.fromhex(vector["kid_key"] or ""),
    )


def por_keys_of(vector: dict[str, Any]) -> KeySet:
    byte = KeyByte(2, ALGORITHMS[vector["algo"]])
    return KeySet(
        kic=byte, kid=byte, kic_key=bytes.fromhex(vector["kic_key"]), kid_key=bytes.fromhex(vector["kid_key"])
    )


def test_the_vectors_file_is_whole() -> None:
    assert (len(VECTORS["commands"]), len(ENCODED), len(VECTORS["por"])) == (50, 49, 13)


@commands
def test_the_spi_of_a_vector_reads_and_writes_the_same(vector: dict[str, Any]) -> None:
    spi = Spi.from_words(vector["spi"])
    assert spi.to_bytes().hex() == vector["spi_bytes"]
    assert Spi.from_bytes(bytes.fromhex(vector["spi_bytes"])) == spi
    assert spi.to_words() == vector["spi"]


@commands
def test_a_command_encodes_to_its_vector(vector: dict[str, Any]) -> None:
    encoded = packet.encode_command(
        bytes.fromhex(vector["apdu"]),
        keys=keys_of(vector),
        spi=Spi.from_words(vector["spi"]),
        tar=bytes.fromhex(vector["tar"]),
        counter=vector["counter"],
    )
    assert encoded.hex() == vector["secured_packet_with_cpl"]


@commands
def test_a_card_decodes_a_vector(vector: dict[str, Any]) -> None:
    decoded = packet.decode_command(
        bytes.fromhex(vector["secured_packet_with_cpl"]), keys_of(vector), last_counter=max(0, vector["counter"] - 1)
    )
    assert decoded.data.hex() == vector["apdu"]
    assert decoded.counter == vector["counter"]
    assert decoded.header.tar.hex() == vector["tar"]
    assert decoded.header.spi.to_words() == vector["spi"]


@commands
def test_a_command_travels_in_the_tpdu_and_envelope_of_its_vector(vector: dict[str, Any]) -> None:
    secured = bytes.fromhex(vector["secured_packet_with_cpl"])
    (tpdu,) = sms.build_delivers(secured, originator="12345678", timestamp=bytes.fromhex("22705200000000"))
    assert tpdu.hex() == vector["sms_deliver_tpdu"]
    envelope = sms.build_envelope(tpdu, smsc="+123456")
    assert envelope.hex() == vector["envelope_sms_pp"]

    arrived, smsc = sms.parse_envelope(envelope)
    assert (arrived, smsc) == (tpdu, "+123456")
    message = sms.parse_deliver(arrived)
    assert (message.originator, message.pid, message.dcs, message.udhi) == ("12345678", 0x7F, 0xF6, True)
    assert sms.Reassembler().add(message.user_data, message.originator) == (sms.IEI_COMMAND, secured)


@proofs
def test_a_proof_of_receipt_decodes_to_its_vector(vector: dict[str, Any]) -> None:
    response = sms.unwrap_response(bytes.fromhex(vector["packet"]))
    proof = packet.decode_response(response, keys=por_keys_of(vector), spi=Spi.from_words(vector["spi"]))
    expected = vector["decoded"]
    assert int.from_bytes(response[:2], "big") == expected["rpl"]
    assert response[2] == expected["rhl"]
    assert proof.tar.hex() == expected["tar"]
    assert f"{proof.counter:010x}" == expected["cntr"]
    assert proof.padding == expected["pcntr"]
    assert proof.status.word == expected["response_status"]
    assert proof.check.hex() == expected["cc"]
    assert proof.data.hex() == expected["secured_data"]
    if expected["compact"]:
        answer = remote.CompactResponse.decode(proof.data)
        assert answer.executed == expected["compact"]["n"]
        assert f"{answer.sw:04x}" == expected["compact"]["sw"]
        assert answer.data.hex() == expected["compact"]["data"]
        assert answer.encode() == proof.data


@proofs
def test_a_card_encodes_the_proof_of_receipt_of_its_vector(vector: dict[str, Any]) -> None:
    keys, expected = por_keys_of(vector), vector["decoded"]
    response = packet.encode_response(
        ResponseStatus.from_word(expected["response_status"]),
        bytes.fromhex(expected["secured_data"]),
        header=CommandHeader(Spi.from_words(vector["spi"]), keys.kic, keys.kid, bytes.fromhex(expected["tar"])),
        counter=int(expected["cntr"], 16),
        keys=keys,
    )
    assert sms.wrap_response(response).hex() == vector["packet"]


def test_redundancy_checks_give_the_values_of_the_standard() -> None:
    data = bytes.fromhex(VECTORS["crc_anchor"]["input"])
    assert crypto.redundancy(RedundancyCheck.CRC32, data).hex() == VECTORS["crc_anchor"]["crc32"]
    assert crypto.redundancy(RedundancyCheck.CRC16, data).hex() == "22ec"
