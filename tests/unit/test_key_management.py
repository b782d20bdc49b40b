"""Key sets changed over the air, octet by octet and on a software card."""

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from ota.profile import MobileProfile
from ota.scp80 import KeyByte, KeySet, ParameterError, ResponseStatus, Spi, decode_response, encode_command
from ota.scp80.key_management import (
    ISD_TAR,
    KeyBlockError,
    check_value,
    delete_key,
    put_key,
    read_delete_key,
    read_put_key,
)
from ota.scp80.parameters import CipherAlgorithm
from ota.scp80.remote import CompactResponse
from ota.scp80.sms import build_delivers, build_envelope, unwrap_response
from simcard.uicc import Card, personalise

ALGORITHMS = [(2, 16), (2, 24), (2, 32), (5, 16), (9, 24)]
HOME = MobileProfile(
    imsi="262010000000001", k=b"h" * 16, opc=b"o" * 16, plmn="26201", spn="Home", acc=1, smsc="+491710000", coverage=()
)


def key_set(index: int, algorithm: int = 2, length: int = 16, fill: int = 0) -> KeySet:
    byte = KeyByte(index, algorithm)
    kic, kid = bytes(range(fill, fill + length)), bytes(range(fill + 64, fill + 64 + length))
    return KeySet(kic=byte, kid=byte, kic_key=kic, kid_key=kid)


@pytest.mark.parametrize("under", ALGORITHMS)
@pytest.mark.parametrize("new", ALGORITHMS)
def test_a_key_set_under_any_other_is_read_as_it_was_written(new: tuple[int, int], under: tuple[int, int]) -> None:
    old, fresh = key_set(1, *under, fill=7), key_set(2, *new, fill=90)
    command = put_key(fresh, under=old)
    assert command[:4] == bytes.fromhex("80d80081")
    assert fresh.kic_key not in command
    assert read_put_key(command[2], command[3], command[5:], under=old).keys == fresh


def test_the_check_value_of_aes_is_that_of_globalplatform() -> None:
    key = bytes(range(16))
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    assert check_value(CipherAlgorithm.AES_CBC, key) == encryptor.update(b"\x01" * 16)[:3]


def test_keys_under_another_key_set_do_not_fit_their_check_value() -> None:
    command = put_key(key_set(2, fill=90), under=key_set(1))
    with pytest.raises(KeyBlockError, match="check value"):
        read_put_key(0, 0x81, command[5:], under=key_set(1, fill=1))


@given(st.binary(max_size=80))
def test_whatever_octets_come_are_a_key_set_or_a_clear_error(data: bytes) -> None:
    for read in (lambda: read_put_key(0, 0x81, data, under=key_set(1)), lambda: read_delete_key(data)):
        with suppress(ParameterError):
            read()


class Platform:
    """Sends packets to one card under a key set, counting."""

    def __init__(self, card: Card) -> None:
        self.card, self.counter = card, 0

    def send(self, command: bytes, keys: KeySet, *, counter: int | None = None, spi: Spi | None = None) -> object:
        """The card's compact answer, or its status where it refuses."""
        self.counter += 1
        spi = spi or Spi()
        packet = encode_command(command, keys=keys, spi=spi, tar=ISD_TAR, counter=counter or self.counter)
        answer = b""
        for tpdu in build_delivers(packet, originator="12345", timestamp=bytes(7)):
            envelope = build_envelope(tpdu, smsc="+491710000")
            answer = self.card.transmit(bytes([0x80, 0xC2, 0, 0, len(envelope)]) + envelope)
            if answer[-2] == 0x61:
                answer = self.card.transmit(bytes([0, 0xC0, 0, 0, answer[-1]]))
        proof = decode_response(unwrap_response(answer[:-2]), keys=keys, spi=spi)
        if proof.status is not ResponseStatus.POR_OK:
            return proof.status
        return CompactResponse.decode(proof.data).sw


def test_a_card_takes_a_key_set_and_gives_up_the_former_one() -> None:
    old, new = key_set(1), key_set(15, fill=90)
    platform = Platform(personalise(iccid="8949000000000000001", home=HOME, ota=[old], adm="12345678"))
    assert platform.send(put_key(new, under=old), old) == 0x9000
    assert platform.send(put_key(new, under=old), old) == 0x9000, "again is harmless"
    assert platform.send(delete_key(15), new, counter=1) == 0x6985, "not the one in use; its counter began at 0"
    assert platform.send(put_key(key_set(15, fill=30), under=old), old) == 0x6985, "not another one in its place"
    assert platform.send(delete_key(1), new, counter=2) == 0x9000
    assert platform.send(delete_key(1), new, counter=3) == 0x6A88
    assert platform.send(delete_key(15), old) is ResponseStatus.UNDEFINED_SECURITY_ERROR


def test_a_packet_that_is_not_ciphered_moves_no_key() -> None:
    old = key_set(1)
    platform = Platform(personalise(iccid="8949000000000000001", home=HOME, ota=[old], adm="12345678"))
    weak = Spi(ciphering=False)
    answer = platform.send(put_key(key_set(2, fill=90), under=old), old, spi=weak)
    assert answer is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
