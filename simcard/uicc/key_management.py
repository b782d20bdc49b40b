"""Key sets of the card, and their change over the air: the issuer security domain, as far as it is here.

The commands and their coding are `ota.scp80.key_management`. They come in a packet whose own key set deciphers the keys
and is neither replaced nor deleted by it, so that a card is never left without the keys its platform has just proved.
A key set written again as it stands stays as it is, counter included: a command whose proof was lost may be repeated.
"""

from __future__ import annotations

import msgspec

from ota.scp80.key_management import (
    CLA_KEYS,
    INS_DELETE,
    INS_PUT_KEY,
    NEW_VERSION,
    check_value,
    read_delete_key,
    read_put_key,
)
from ota.scp80.packet import KeySet
from ota.scp80.parameters import CipherAlgorithm, ParameterError
from simcard.uicc.apdu import Command, Response, StatusError, Sw


class OtaKeys(msgspec.Struct):
    """A key set of the card and the last counter it accepted."""

    keys: KeySet
    counter: int = 0


class KeyManagement:
    """Runs the commands of one packet, protected by the key set `own`, on the card's key sets by index."""

    def __init__(self, keys: dict[int, OtaKeys], own: KeySet) -> None:
        self._keys, self._own = keys, own

    def execute(self, command: Command) -> Response:
        """PUT KEY or DELETE; raises `StatusError`."""
        if command.cla != CLA_KEYS:
            raise StatusError(Sw.CLASS_NOT_SUPPORTED)
        try:
            if command.ins == INS_PUT_KEY:
                return self._put(command)
            if command.ins == INS_DELETE:
                return self._delete(read_delete_key(command.data))
        except ParameterError:
            raise StatusError(Sw.WRONG_DATA) from None
        raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)

    def _put(self, command: Command) -> Response:
        """`6985` for a version that is there though a new one was announced, or that protects this packet."""
        given = read_put_key(command.p1, command.p2, command.data, under=self._own)
        version = given.keys.kic.key_index
        standing = self._keys.get(version)
        if standing is None or standing.keys != given.keys:
            if given.replaces not in (NEW_VERSION, version):
                raise StatusError(Sw.WRONG_P1_P2)
            if given.replaces == version and standing is None:
                raise StatusError(Sw.REFERENCE_NOT_FOUND)
            if version == self._own.kic.key_index or (given.replaces == NEW_VERSION and standing is not None):
                raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
            self._keys[version] = OtaKeys(given.keys)
        keys = given.keys
        pairs = ((keys.kic, keys.kic_key), (keys.kid, keys.kid_key))
        checks = [check_value(CipherAlgorithm(byte.algorithm), key) for byte, key in pairs]
        return Response(bytes([version]) + b"".join(checks))

    def _delete(self, version: int) -> Response:
        if version not in self._keys:
            raise StatusError(Sw.REFERENCE_NOT_FOUND)
        if version == self._own.kic.key_index:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        del self._keys[version]
        return Response()
