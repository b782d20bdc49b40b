"""The parameters of a secured packet: SPI, KIc, KID, counters, statuses (ETSI TS 102 225 clause 5.1).

Fields and values carry the words of the interoperability vectors (`tests/data/scp80.json`): `Spi.from_words` and
`Spi.to_words` translate, so JSON shown to a person and bytes on the air say the same.
"""

from enum import IntEnum
from typing import Any

import msgspec

from landfall.errors import LandfallError

# TS 102 225 5.1.4: CNTR is five bytes; at the last value the counter is blocked.
COUNTER_BYTES = 5
COUNTER_MAX = (1 << 8 * COUNTER_BYTES) - 1
TAR_BYTES = 3


class ScpError(LandfallError):
    """Anything wrong with a secured packet, its carriage or its parameters."""


class ParameterError(ScpError):
    """Parameters that cannot be combined, or bytes that code none; the message names field and value."""


class _Word(IntEnum):
    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def from_word(cls, word: str) -> Any:
        try:
            return cls[word.upper()]
        except KeyError:
            known = ", ".join(member.word for member in cls)
            raise ParameterError(f"{word!r} is not one of {known}") from None


class CounterMode(_Word):
    """SPI1 b5 b4. `COUNTER_MUST_BE_LOWER` is the vectors' word for "process only if one higher than the stored"."""

    NO_COUNTER = 0
    COUNTER_NO_REPLAY_OR_SEQ = 1
    COUNTER_MUST_BE_HIGHER = 2
    COUNTER_MUST_BE_LOWER = 3


class Integrity(_Word):
    """SPI1 b2 b1 and SPI2 b4 b3: redundancy check, cryptographic checksum, digital signature."""

    NO_RC_CC_DS = 0
    RC = 1
    CC = 2
    DS = 3


class Por(_Word):
    """SPI2 b2 b1: when the card proves receipt."""

    NO_POR = 0
    POR_REQUIRED = 1
    POR_ONLY_WHEN_ERROR = 2


class CipherAlgorithm(_Word):
    """KIc b4..b1, and KID b4..b1 where the integrity is a cryptographic checksum."""

    SINGLE_DES = 0b0001
    AES_CBC = 0b0010
    TRIPLE_DES_CBC2 = 0b0101
    TRIPLE_DES_CBC3 = 0b1001


class RedundancyCheck(_Word):
    """KID b4..b1 where the integrity is a redundancy check."""

    CRC16 = 0b0001
    CRC32 = 0b0101


class ResponseStatus(_Word):
    """Response status code of a proof of receipt (TS 102 225 table 5, TS 31.115 for 0B and 0C)."""

    POR_OK = 0x00
    RC_CC_DS_FAILED = 0x01
    CNTR_LOW = 0x02
    CNTR_HIGH = 0x03
    CNTR_BLOCKED = 0x04
    CIPHERING_ERROR = 0x05
    UNDEFINED_SECURITY_ERROR = 0x06
    INSUFFICIENT_MEMORY = 0x07
    MORE_TIME = 0x08
    TAR_UNKNOWN = 0x09
    INSUFFICIENT_SECURITY_LEVEL = 0x0A
    ACTUAL_RESPONSE_SMS_SUBMIT = 0x0B
    ACTUAL_RESPONSE_USSD = 0x0C


class Spi(msgspec.Struct, frozen=True, kw_only=True):
    """Security parameter indicator (TS 102 225 5.1.1): two bytes, what protects the packet and its proof of receipt."""

    counter: CounterMode = CounterMode.COUNTER_MUST_BE_HIGHER
    ciphering: bool = True
    rc_cc_ds: Integrity = Integrity.CC
    por: Por = Por.POR_REQUIRED
    por_rc_cc_ds: Integrity = Integrity.CC
    por_shall_be_ciphered: bool = True
    por_in_submit: bool = False

    def to_bytes(self) -> bytes:
        """SPI1 and SPI2."""
        first = self.counter << 3 | self.ciphering << 2 | self.rc_cc_ds
        second = self.por_in_submit << 5 | self.por_shall_be_ciphered << 4 | self.por_rc_cc_ds << 2 | self.por
        return bytes([first, second])

    @classmethod
    def from_bytes(cls, data: bytes) -> "Spi":
        """Inverse of `to_bytes`; a reserved bit or value is a `ParameterError`."""
        if len(data) != 2 or data[0] & 0xE0 or data[1] & 0xC0 or data[1] & 3 == 3:
            raise ParameterError(f"SPI {data.hex()} uses reserved bits or is not two bytes")
        return cls(
            counter=CounterMode(data[0] >> 3 & 3),
            ciphering=bool(data[0] & 4),
            rc_cc_ds=Integrity(data[0] & 3),
            por=Por(data[1] & 3),
            por_rc_cc_ds=Integrity(data[1] >> 2 & 3),
            por_shall_be_ciphered=bool(data[1] & 0x10),
            por_in_submit=bool(data[1] & 0x20),
        )

    @classmethod
    def from_words(cls, words: dict[str, Any]) -> "Spi":
        """From the JSON form of the vectors; raises `ParameterError` on a missing field or an unknown word."""
        try:
            return cls(
                counter=CounterMode.from_word(words["counter"]),
                ciphering=bool(words["ciphering"]),
                rc_cc_ds=Integrity.from_word(words["rc_cc_ds"]),
                por=Por.from_word(words["por"]),
                por_rc_cc_ds=Integrity.from_word(words["por_rc_cc_ds"]),
                por_shall_be_ciphered=bool(words["por_shall_be_ciphered"]),
                por_in_submit=bool(words["por_in_submit"]),
            )
        except KeyError as error:
            raise ParameterError(f"spi: field {error} is missing") from None

    def to_words(self) -> dict[str, Any]:
        """The JSON form of the vectors."""
        return {
            name: value.word if isinstance(value, _Word) else value
            for name, value in ((name, getattr(self, name)) for name in self.__struct_fields__)
        }


class KeyByte(msgspec.Struct, frozen=True):
    """KIc or KID (TS 102 225 5.1.2, 5.1.3): high half byte the key set (0-15), low half byte the algorithm.

    What the low half of KID means depends on the SPI: `RedundancyCheck` under RC, `CipherAlgorithm` under CC.
    """

    key_index: int
    algorithm: int

    def __post_init__(self) -> None:
        if not (0 <= self.key_index <= 15 and 0 <= self.algorithm <= 15):
            raise ParameterError(f"key index {self.key_index} and algorithm {self.algorithm} must each be 0 to 15")

    def to_byte(self) -> int:
        """The byte of the command header."""
        return self.key_index << 4 | self.algorithm

    @classmethod
    def from_byte(cls, byte: int) -> "KeyByte":
        """Inverse of `to_byte`."""
        return cls(byte >> 4 & 15, byte & 15)
