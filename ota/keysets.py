"""The OTA key set the home operator shares with one of its cards."""

import re
from typing import ClassVar

from ota.profile import MULTI_ACCOUNT_TAR
from ota.scp80.concealed import Concealed
from ota.scp80.packet import KeySet, encode_command
from ota.scp80.parameters import CounterMode, Integrity, ParameterError, Spi

_ICCID = re.compile(r"[0-9]{18,20}")


class CardKeys(Concealed, frozen=True, kw_only=True):
    """Key set of a card, how packets under it are protected, and the application they are for unless told otherwise.

    The key index is that of KIc and KID, which must be the same. Raises `ParameterError` if the keys do not fit the
    SPI, or if the SPI would let a packet be replayed or forged: delivery counts on a checked counter under a
    cryptographic checksum, and on a proof of receipt.
    """

    SECRET: ClassVar[frozenset[str]] = frozenset()  # `keys` conceals its own

    iccid: str
    keys: KeySet
    spi: Spi = Spi()
    tar: bytes = MULTI_ACCOUNT_TAR

    def __post_init__(self) -> None:
        if not _ICCID.fullmatch(self.iccid):
            raise ParameterError(f"ICCID {self.iccid!r} is not 18 to 20 digits")
        if self.keys.kic.key_index != self.keys.kid.key_index:
            raise ParameterError(f"card {self.iccid}: KIc and KID name different key sets")
        if self.spi.counter in (CounterMode.NO_COUNTER, CounterMode.COUNTER_NO_REPLAY_OR_SEQ):
            raise ParameterError(f"card {self.iccid}: SPI counter {self.spi.counter.word} lets packets be replayed")
        if self.spi.rc_cc_ds is not Integrity.CC:
            raise ParameterError(f"card {self.iccid}: SPI {self.spi.rc_cc_ds.word} lets packets be forged, use cc")
        encode_command(b"", keys=self.keys, spi=self.spi, tar=self.tar, counter=0)

    @property
    def key_index(self) -> int:
        """Which of the card's key sets this is; each has a counter of its own."""
        return self.keys.kic.key_index
