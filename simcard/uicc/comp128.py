"""COMP128, the 2G algorithms A3 and A8 of many SIMs, versions 1 to 3. They were never published; every implementation
agrees with what `osmo-auc-gen` computes, and the tests here ask it.

Version 1 is broken (its K can be found out by asking) and versions 1 and 2 give only 54 bits of key: they are here
because cards of the field have them. None of them authenticates the network: there is no 3G context.
"""

from __future__ import annotations

from simcard.uicc.comp128_tables import COMPRESSION, MIXING, SUBSTITUTION
from simcard.uicc.milenage import require_length, xor

VERSIONS = (1, 2, 3)
_ROUNDS = 8


class Comp128:
    """A3 and A8 of one subscriber. `version` is 1, 2 or 3, `k` 16 octets; `ValueError` otherwise."""

    __slots__ = ("_k", "_version")

    def __init__(self, version: int, k: bytes) -> None:
        if version not in VERSIONS:
            raise ValueError(f"COMP128 has versions 1 to 3, not {version}")
        self._version, self._k = version, require_length("K", k, 16)

    def a3a8(self, rand: bytes) -> tuple[bytes, bytes]:
        """SRES (4 octets) and Kc (8) of one 16-octet RAND."""
        require_length("RAND", rand, 16)
        if self._version == 1:
            return _first(self._k, rand)
        output = _second(self._k, rand)
        sres, kc = output[:4], output[8:]
        # Version 2 leaves ten bits of Kc zero, as version 1 does.
        return sres, kc if self._version == 3 else kc[:6] + bytes((kc[6] & 0xFC, 0))


def _first(k: bytes, rand: bytes) -> tuple[bytes, bytes]:
    """Eight rounds of a butterfly over K ‖ RAND that ends in 32 nibbles; between rounds their bits are permuted."""
    state = bytearray(16) + rand
    for turn in range(_ROUNDS):
        state[:16] = k
        for level, table in enumerate(COMPRESSION):
            half = 16 >> level
            for start in range(0, 32, 2 * half):
                for m in range(start, start + half):
                    x, y = state[m], state[m + half]
                    state[m] = table[(x + 2 * y) % len(table)]
                    state[m + half] = table[(2 * x + y) % len(table)]
        if turn < _ROUNDS - 1:
            bits = [nibble >> 3 - place & 1 for nibble in state for place in range(4)]
            state[16:] = bytes(
                sum(bits[(8 * octet + place) * 17 % 128] << 7 - place for place in range(8)) for octet in range(16)
            )
    nibbles = int("".join(f"{nibble:x}" for nibble in state), 16).to_bytes(16, "big")
    # Kc is the last 54 bits of 128, then ten zeros.
    key = (int.from_bytes(nibbles, "big") & (1 << 54) - 1) << 10
    return nibbles[:4], key.to_bytes(8, "big")


def _second(k: bytes, rand: bytes) -> bytes:
    """16 octets; RAND is stirred eight times with K ⊕ RAND, all in reversed order."""
    mixed = xor(k, rand)[::-1]
    value = rand[::-1]
    for _ in range(_ROUNDS):
        value = _stir(value, mixed)
    return value[::-1]


def _stir(value: bytes, key: bytes) -> bytes:
    """Five levels over `value` ‖ `key` (32 octets), then 128 of their 256 bits, picked with a stride."""
    state = value + key
    for level in range(5):
        stride = 1 << level
        left = [SUBSTITUTION[MIXING[k] ^ v] for v, k in zip(state[:16], state[16:], strict=True)]
        right = [SUBSTITUTION[MIXING[v] ^ k] for v, k in zip(left, state[16:], strict=True)]
        state = b"".join(bytes(left[at : at + stride] + right[at : at + stride]) for at in range(0, 16, stride))
    return bytes(
        sum((state[19 * (8 * i + j + 1) % 256 // 8] >> 3 * (j + 1) % 8 & 1) << j for j in range(8)) for i in range(16)
    )
