"""The subscription identifier concealed (3GPP TS 33.501 §6.12.2, annex C): what GET IDENTITY answers.

    info = read_calculation_info(content)                 # schemes in the order they are preferred, and the home's keys
    compose_suci(imsi, plmn, routing_indicator, info)     # TLV A1 (TS 31.102 §7.5.2)

Profiles A (X25519) and B (secp256r1) are ECIES with a fresh key each time: X9.63 derivation with SHA-256, AES-128 in
counter mode, HMAC-SHA-256 cut to 8 octets. A scheme whose key is missing or malformed is passed over; where none is
left it is the null scheme, as §6.12.2 has it for a card without the home network's key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import IntEnum

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ota.profile import MobileProfile
from ota.scp80.digits import pack_digits, pack_plmn
from ota.scp80.parameters import ScpError
from ota.scp80.tlv import decode_tlvs
from simcard.uicc.apdu import StatusError, Sw
from simcard.uicc.files import Df, tlv
from simcard.uicc.usim import DF_5GS, DF_SAIP, EF_ROUTING_INDICATOR, EF_SUCI_OF_CARD, EF_UST

GET_IDENTITY, SUCI_CONTEXT = 0x78, 0x01
SUCI = 0xA1
# EF.UST: subscription identifier privacy, and the next service, its calculation by the USIM (TS 31.102 §4.2.8).
PRIVACY = 124
NO_ROUTING = b"\xf0\xff"  # routing indicator 0, the default (TS 23.003 §2.2B)
# SUPI format IMSI, type of identity SUCI: octet 4 of the 5GS mobile identity (TS 24.501 §9.11.3.4).
OF_IMSI = b"\x01"
_SCHEMES, _KEYS, _KEY_ID, _KEY = 0xA0, 0xA1, 0x80, 0x81
# Annex C.3.4: AES-128 key, initial counter block, MAC key, MAC.
_ENCRYPTION, _COUNTER, _MAC_KEY, _MAC = 16, 16, 32, 8


class Scheme(IntEnum):
    """Protection scheme identifier (TS 33.501 annex C.1)."""

    NULL = 0
    PROFILE_A = 1
    PROFILE_B = 2


class HomeKey(msgspec.Struct, frozen=True):
    """A scheme, and the home network's public key for it with the identifier the network knows it by."""

    scheme: Scheme
    identifier: int = 0
    key: bytes = b""


class Ephemeral(msgspec.Struct, frozen=True):
    """One key agreement: the public key that is sent, and the secret it shares with the home network."""

    public: bytes
    shared: bytes


def read_calculation_info(content: bytes) -> list[HomeKey]:
    """EF.SUCI_Calc_Info (TS 31.102 §4.4.11.8), preferred first; empty when there is none or it is malformed."""
    try:
        pairs, rest = _take(content, _SCHEMES)
        entries = decode_tlvs(_take(rest, _KEYS)[0])
    except ScpError:
        return []
    identifiers = [value for tag, value in entries if tag == _KEY_ID]
    keys = [value for tag, value in entries if tag == _KEY]
    known = list(zip(identifiers, keys, strict=False))
    info = []
    for scheme, number in zip(pairs[::2], pairs[1::2], strict=False):
        if scheme == Scheme.NULL:
            info.append(HomeKey(Scheme.NULL))
        elif scheme in (Scheme.PROFILE_A, Scheme.PROFILE_B) and 0 < number <= len(known):
            identifier, key = known[number - 1]
            if len(identifier) == 1:
                info.append(HomeKey(Scheme(scheme), identifier[0], key))
    return info


def _take(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The value of the TLV that `data` begins with, if it has that tag, and what follows; FF is filling."""
    if data[:1] != bytes((tag,)) or len(data) < 3:
        return b"", data
    start = 3 if data[1] == 0x81 else 2
    end = start + data[start - 1]
    return data[start:end], data[end:]


def answer_identity(usim: Df, profile: MobileProfile, *, home: bool) -> bytes:
    """What GET IDENTITY answers in SUCI context; `StatusError(6985)` unless EF.UST announces services 124 and 125.

    The keys are the home network's: any other account than `home` has the null scheme and no routing indicator.
    """
    octet, both = divmod(PRIVACY - 1, 8)
    if usim.efs[EF_UST].content[octet] >> both & 0b11 != 0b11:
        raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
    if not home:
        return compose_suci(profile.imsi, profile.plmn, NO_ROUTING, [])
    routing = usim.dfs[DF_5GS].efs[EF_ROUTING_INDICATOR].content[:2]
    info = read_calculation_info(usim.dfs[DF_SAIP].efs[EF_SUCI_OF_CARD].content)
    return compose_suci(profile.imsi, profile.plmn, routing, info)


def compose_suci(imsi: str, plmn: str, routing: bytes, info: list[HomeKey]) -> bytes:
    """The SUCI TLV; `routing` are the two octets of EF.Routing_Indicator, `plmn` the digits of MCC and MNC."""
    msin = pack_digits(imsi[len(plmn) :])
    for home in info:
        try:
            concealed = msin if home.scheme is Scheme.NULL else conceal(home.scheme, msin, agree(home))
        except ValueError:
            continue
        return _compose(plmn, routing, home, concealed)
    return _compose(plmn, routing, HomeKey(Scheme.NULL), msin)


def _compose(plmn: str, routing: bytes, home: HomeKey, concealed: bytes) -> bytes:
    return tlv(SUCI, OF_IMSI + pack_plmn(plmn) + routing + bytes((home.scheme, home.identifier)) + concealed)


def agree(home: HomeKey) -> Ephemeral:
    """A fresh key agreed with the home network's; `ValueError` when that is no key of the scheme's curve."""
    return _AGREE[home.scheme](home.key)


def conceal(scheme: Scheme, plain: bytes, agreed: Ephemeral) -> bytes:
    """The scheme output: ephemeral public key, ciphertext, MAC (annex C.3.2)."""
    length = _ENCRYPTION + _COUNTER + _MAC_KEY
    derived = X963KDF(algorithm=SHA256(), length=length, sharedinfo=agreed.public).derive(agreed.shared)
    key, counter, mac_key = derived[:16], derived[16:32], derived[32:]
    ciphertext = Cipher(AES(key), CTR(counter)).encryptor().update(plain)
    return agreed.public + ciphertext + hmac.digest(mac_key, ciphertext, "sha256")[:_MAC]


def agree_a(public: bytes, private: x25519.X25519PrivateKey | None = None) -> Ephemeral:
    """Curve25519 (annex C.3.4.1)."""
    private = private or x25519.X25519PrivateKey.generate()
    own = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Ephemeral(own, private.exchange(x25519.X25519PublicKey.from_public_bytes(public)))


def agree_b(public: bytes, private: ec.EllipticCurvePrivateKey | None = None) -> Ephemeral:
    """Curve secp256r1, points compressed (annex C.3.4.2); the home network's key may be given either way."""
    private = private or ec.generate_private_key(ec.SECP256R1())
    own = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    home = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    return Ephemeral(own, private.exchange(ec.ECDH(), home))


_AGREE: dict[Scheme, Callable[[bytes], Ephemeral]] = {Scheme.PROFILE_A: agree_a, Scheme.PROFILE_B: agree_b}
