"""Carriage of secured packets in short messages (3GPP TS 23.040, 31.115) and of those into a card (TS 31.111).

To a card: `build_delivers` cuts a command packet into SMS-DELIVER TPDUs; each enters the card in the ENVELOPE data of
`build_envelope`. The card unpacks with `parse_envelope` and `parse_deliver` and gives the user data to a `Reassembler`,
which hands out the packet when its last part is there, whatever their order.
From a card: the proof of receipt comes as ENVELOPE response data (`wrap_response`, `unwrap_response`) or in
SMS-SUBMITs (`build_submits`, `parse_submit`) that a `Reassembler` puts together as well.
"""

from collections import OrderedDict
from datetime import UTC, datetime

import msgspec

from ota.scp80.digits import pack_address, pack_digits, unpack_address
from ota.scp80.packet import RESPONSE_UDH
from ota.scp80.parameters import ScpError
from ota.scp80.tlv import decode_only, decode_tlvs, encode_tlv, encode_tlvs

PID_SIM_DATA_DOWNLOAD = 0x7F  # TS 23.040 9.2.3.9
DCS_CLASS2_8BIT = 0xF6  # TS 23.038 clause 4
IEI_CONCATENATED = 0x00
IEI_CONCATENATED_16BIT = 0x08
IEI_COMMAND = 0x70  # TS 31.115 4.2
IEI_RESPONSE = 0x71

# TS 23.040 9.2.3.24: user data of one message, its header included.
USER_DATA_BYTES = 140
# The number of parts is one byte.
PARTS_MAX = 255
# TS 23.040 gives no bound; a card has one sender, and eight unfinished messages are more than it will ever see.
UNFINISHED_MAX = 8
# TS 23.040 9.1.2.5: at most 20 digits.
ADDRESS_DIGITS = 20

_UDHI = 0x40
_MTI_DELIVER = 0
_MTI_SUBMIT = 1
_TAG_SMS_PP_DOWNLOAD = 0xD1
_DEVICE_IDENTITIES = (0x82, bytes.fromhex("8381"))  # from the network to the UICC
_ADDRESS, _TPDU = 0x86, 0x8B
_COMPREHENSION = 0x80


class SmsError(ScpError):
    """A TPDU, user data header or ENVELOPE that is malformed, or not for the SIM."""


class SmsDeliver(msgspec.Struct, frozen=True, kw_only=True):
    """An SMS-DELIVER with 8-bit user data; `timestamp` is the seven bytes of TP-SCTS, `user_data` has its header."""

    originator: str
    timestamp: bytes
    user_data: bytes
    udhi: bool = True
    pid: int = PID_SIM_DATA_DOWNLOAD
    dcs: int = DCS_CLASS2_8BIT


class SmsSubmit(msgspec.Struct, frozen=True, kw_only=True):
    """An SMS-SUBMIT with 8-bit user data and no validity period."""

    destination: str
    user_data: bytes
    reference: int = 0
    udhi: bool = True
    pid: int = PID_SIM_DATA_DOWNLOAD
    dcs: int = DCS_CLASS2_8BIT


class Part(msgspec.Struct, frozen=True):
    """User data without its header. `identifier` is 70, 71 or None in a later part; one of `total` parts."""

    identifier: int | None
    reference: int
    total: int
    number: int
    data: bytes


def split_packet(packet: bytes, *, identifier: int = IEI_COMMAND, reference: int = 0) -> list[bytes]:
    """User data of one or more messages for `packet`; only the first names it a command (70) or response (71).

    `reference` (0-255) tells concatenated messages apart. Raises `SmsError` if it takes more than 255.
    """
    single = bytes([2, identifier, 0]) + packet
    if len(single) <= USER_DATA_BYTES:
        return [single]
    first, rest = USER_DATA_BYTES - 8, USER_DATA_BYTES - 6
    pieces = [packet[:first], *(packet[at : at + rest] for at in range(first, len(packet), rest))]
    if len(pieces) > PARTS_MAX:
        raise SmsError(f"a packet of {len(packet)} bytes takes {len(pieces)} messages, at most {PARTS_MAX} go")
    messages = []
    for number, piece in enumerate(pieces, 1):
        elements = bytes([IEI_CONCATENATED, 3, reference & 0xFF, len(pieces), number])
        if number == 1:
            elements += bytes([identifier, 0])
        messages.append(bytes([len(elements)]) + elements + piece)
    return messages


def parse_user_data(user_data: bytes) -> Part:
    """Read a user data header (TS 23.040 9.2.3.24); raises `SmsError` unless it is of a secured packet's part."""
    if not user_data or user_data[0] >= len(user_data):
        raise SmsError("the user data header is longer than the user data")
    elements, data = user_data[1 : 1 + user_data[0]], user_data[1 + user_data[0] :]
    identifier, reference, total, number = None, 0, 1, 1
    at = 0
    while at < len(elements):
        if at + 2 > len(elements) or at + 2 + elements[at + 1] > len(elements):
            raise SmsError(f"information element at offset {at} of the user data header is cut off")
        iei, value = elements[at], elements[at + 2 : at + 2 + elements[at + 1]]
        at += 2 + len(value)
        if iei in (IEI_COMMAND, IEI_RESPONSE):
            identifier = iei
        elif (iei, len(value)) in ((IEI_CONCATENATED, 3), (IEI_CONCATENATED_16BIT, 4)):
            reference, total, number = int.from_bytes(value[:-2], "big"), value[-2], value[-1]
    if not 1 <= number <= total:
        raise SmsError(f"part {number} of {total} makes no sense")
    if identifier is None and number == 1:
        raise SmsError("the user data header names neither a command packet (70) nor a response packet (71)")
    return Part(identifier, reference, total, number, data)


class Reassembler:
    """Puts concatenated parts together: any order, parts doubled, several messages at once.

    One for each direction of a card. Keeps `UNFINISHED_MAX` incomplete messages; the oldest gives way. A part that
    contradicts an earlier one of the same number begins the message anew, for its reference was used again.
    """

    def __init__(self) -> None:
        self._unfinished: OrderedDict[tuple[str, int, int], dict[int, Part]] = OrderedDict()

    def add(self, user_data: bytes, sender: str = "") -> tuple[int, bytes] | None:
        """Take one message's user data from `sender`.

        Returns (70 or 71, packet) when that completes a packet, None while parts are missing; raises `SmsError`.
        """
        part = parse_user_data(user_data)
        key = (sender, part.reference, part.total)
        parts = self._unfinished.setdefault(key, {})
        if parts.get(part.number, part) != part:
            parts.clear()
        parts[part.number] = part
        self._unfinished.move_to_end(key)
        if len(parts) < part.total:
            if len(self._unfinished) > UNFINISHED_MAX:
                self._unfinished.popitem(last=False)
            return None
        del self._unfinished[key]
        identifier = parts[1].identifier
        assert identifier is not None
        return identifier, b"".join(parts[number].data for number in sorted(parts))


def build_delivers(packet: bytes, *, originator: str, timestamp: bytes, reference: int = 0) -> list[bytes]:
    """SMS-DELIVER TPDUs that carry a command packet to a card; `timestamp` is TP-SCTS, seven bytes."""
    return [
        encode_deliver(SmsDeliver(originator=originator, timestamp=timestamp, user_data=user_data))
        for user_data in split_packet(packet, reference=reference)
    ]


def build_submits(packet: bytes, *, destination: str, reference: int = 0) -> list[bytes]:
    """SMS-SUBMIT TPDUs that carry a proof of receipt back, as a card sends them by SEND SHORT MESSAGE."""
    return [
        encode_submit(SmsSubmit(destination=destination, user_data=user_data))
        for user_data in split_packet(packet, identifier=IEI_RESPONSE, reference=reference)
    ]


def pack_timestamp(time: datetime) -> bytes:
    """TP-SCTS of an aware `time`, in UTC (TS 23.040 9.2.3.11)."""
    return pack_digits(time.astimezone(UTC).strftime("%y%m%d%H%M%S") + "00")


def encode_deliver(message: SmsDeliver) -> bytes:
    """TPDU of an SMS-DELIVER (TS 23.040 9.2.2.1)."""
    if len(message.timestamp) != 7:
        raise SmsError(f"TP-SCTS {message.timestamp.hex()} is not 7 bytes")
    first = _MTI_DELIVER | (_UDHI if message.udhi else 0)
    return (
        bytes([first])
        + _encode_address(message.originator)
        + bytes([message.pid, message.dcs])
        + message.timestamp
        + _encode_user_data(message.user_data)
    )


def parse_deliver(tpdu: bytes) -> SmsDeliver:
    """Inverse of `encode_deliver`; raises `SmsError` or `DigitError`."""
    if not tpdu or tpdu[0] & 3 != _MTI_DELIVER:
        raise SmsError("this TPDU is no SMS-DELIVER")
    originator, at = _decode_address(tpdu, 1)
    if len(tpdu) < at + 10:
        raise SmsError("the SMS-DELIVER is cut off")
    return SmsDeliver(
        originator=originator,
        udhi=bool(tpdu[0] & _UDHI),
        pid=tpdu[at],
        dcs=tpdu[at + 1],
        timestamp=tpdu[at + 2 : at + 9],
        user_data=_decode_user_data(tpdu, at + 9),
    )


def encode_submit(message: SmsSubmit) -> bytes:
    """TPDU of an SMS-SUBMIT (TS 23.040 9.2.2.2)."""
    first = _MTI_SUBMIT | (_UDHI if message.udhi else 0)
    return (
        bytes([first, message.reference])
        + _encode_address(message.destination)
        + bytes([message.pid, message.dcs])
        + _encode_user_data(message.user_data)
    )


def parse_submit(tpdu: bytes) -> SmsSubmit:
    """Inverse of `encode_submit`; a validity period is skipped. Raises `SmsError` or `DigitError`."""
    if len(tpdu) < 2 or tpdu[0] & 3 != _MTI_SUBMIT:
        raise SmsError("this TPDU is no SMS-SUBMIT")
    destination, at = _decode_address(tpdu, 2)
    validity_bytes = (0, 7, 1, 7)[tpdu[0] >> 3 & 3]
    if len(tpdu) < at + 3 + validity_bytes:
        raise SmsError("the SMS-SUBMIT is cut off")
    return SmsSubmit(
        destination=destination,
        reference=tpdu[1],
        udhi=bool(tpdu[0] & _UDHI),
        pid=tpdu[at],
        dcs=tpdu[at + 1],
        user_data=_decode_user_data(tpdu, at + 2 + validity_bytes),
    )


def build_envelope(tpdu: bytes, *, smsc: str) -> bytes:
    """Data of an ENVELOPE (SMS-PP DOWNLOAD) APDU for an SMS-DELIVER (TS 31.111 7.1.1.2)."""
    objects = [_DEVICE_IDENTITIES, (_ADDRESS, pack_address(smsc)), (_TPDU, tpdu)]
    return encode_tlv(_TAG_SMS_PP_DOWNLOAD, encode_tlvs(objects))


def parse_envelope(data: bytes) -> tuple[bytes, str]:
    """The TPDU and the SMSC's address ("" if absent) of an SMS-PP DOWNLOAD; raises `ScpError`."""
    objects = {tag | _COMPREHENSION: value for tag, value in decode_tlvs(decode_only(data, _TAG_SMS_PP_DOWNLOAD))}
    if _TPDU not in objects:
        raise SmsError("the SMS-PP download has no TPDU (tag 8B)")
    smsc = objects.get(_ADDRESS, b"")
    return objects[_TPDU], unpack_address(smsc) if smsc else ""


def wrap_response(packet: bytes) -> bytes:
    """A response packet with its user data header, as ENVELOPE response data."""
    return RESPONSE_UDH + packet


def unwrap_response(data: bytes) -> bytes:
    """Inverse of `wrap_response`; raises `SmsError`."""
    part = parse_user_data(data)
    if part.identifier != IEI_RESPONSE or part.total != 1:
        raise SmsError("the data is not one whole response packet (71)")
    return part.data


def _encode_address(number: str) -> bytes:
    digits = len(number.removeprefix("+"))
    if digits > ADDRESS_DIGITS:
        raise SmsError(f"address {number} has more than {ADDRESS_DIGITS} digits")
    return bytes([digits]) + pack_address(number)


def _decode_address(tpdu: bytes, at: int) -> tuple[str, int]:
    if at >= len(tpdu):
        raise SmsError("the TPDU ends before its address")
    end = at + 2 + (tpdu[at] + 1) // 2
    if tpdu[at] > ADDRESS_DIGITS or end > len(tpdu):
        raise SmsError(f"an address of {tpdu[at]} digits does not fit the TPDU")
    number = unpack_address(tpdu[at + 1 : end])
    if len(number.removeprefix("+")) != tpdu[at]:
        raise SmsError(f"the address says {tpdu[at]} digits and has {len(number.removeprefix('+'))}")
    return number, end


def _encode_user_data(user_data: bytes) -> bytes:
    if len(user_data) > USER_DATA_BYTES:
        raise SmsError(f"{len(user_data)} bytes of user data, a message takes {USER_DATA_BYTES}")
    return bytes([len(user_data)]) + user_data


def _decode_user_data(tpdu: bytes, at: int) -> bytes:
    user_data = tpdu[at + 1 :]
    if tpdu[at] != len(user_data) or len(user_data) > USER_DATA_BYTES:
        raise SmsError(f"user data length {tpdu[at]}, but {len(user_data)} bytes follow")
    return user_data
