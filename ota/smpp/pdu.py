"""SMPP 3.4 protocol data units: bytes to values and back (SMPP v3.4 Issue 1.2, chapters 3 to 5).

    data = encode_pdu(Pdu(Command.SUBMIT_SM, sequence=1, body=ShortMessage(destination="491701234567", …)))
    pdu = decode_pdu(data)                 # raises PduError, and nothing else, whatever the bytes

Only what a sender of short messages and its centre say to each other is here; any other command is a `PduError` whose
`status` a generic_nack carries back. Optional parameters are kept as they came; those we read are named below.
"""

import struct
from enum import IntEnum
from typing import Final

import msgspec

from landfall.errors import LandfallError
from ota.scp80.concealed import Concealed

HEADER: Final = struct.Struct(">IIII")
# message_payload has at most 64 KiB (5.3.2.32); everything else of a PDU stays under one.
PDU_BYTES_MAX: Final = 65 * 1024
# short_message, 5.2.22; more goes into message_payload.
SHORT_MESSAGE_BYTES: Final = 254
SEQUENCE_MAX: Final = 0x7FFFFFFF
INTERFACE_VERSION: Final = 0x34
RESPONSE: Final = 0x80000000

UDHI: Final = 0x40  # esm_class, 5.2.12: the message begins with a user data header
_MESSAGE_TYPE: Final = 0x3C
_RECEIPT_TYPE: Final = 0x04  # SMSC delivery receipt
FINAL_RECEIPT: Final = 0x01  # registered_delivery, 5.2.17: a receipt of success or failure
TON_UNKNOWN, TON_INTERNATIONAL = 0, 1  # 5.2.5
NPI_ISDN: Final = 1  # 5.2.6

TAG_RECEIPTED_MESSAGE_ID: Final = 0x001E  # 5.3.2.12
TAG_MESSAGE_PAYLOAD: Final = 0x0424  # 5.3.2.32
TAG_MESSAGE_STATE: Final = 0x0427  # 5.3.2.35


class Command(IntEnum):
    """command_id of the requests, 5.1.2.1; a response is its request's with `RESPONSE` set."""

    GENERIC_NACK = 0x80000000
    BIND_RECEIVER = 0x00000001
    BIND_RECEIVER_RESP = 0x80000001
    BIND_TRANSMITTER = 0x00000002
    BIND_TRANSMITTER_RESP = 0x80000002
    SUBMIT_SM = 0x00000004
    SUBMIT_SM_RESP = 0x80000004
    DELIVER_SM = 0x00000005
    DELIVER_SM_RESP = 0x80000005
    UNBIND = 0x00000006
    UNBIND_RESP = 0x80000006
    BIND_TRANSCEIVER = 0x00000009
    BIND_TRANSCEIVER_RESP = 0x80000009
    ENQUIRE_LINK = 0x00000015
    ENQUIRE_LINK_RESP = 0x80000015

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return self >= RESPONSE

    @property
    def response(self) -> "Command":
        """The command that answers this request."""
        return Command(self | RESPONSE)


class Status(IntEnum):
    """command_status, 5.1.3: those that are sent or understood here."""

    OK = 0x00
    INVALID_LENGTH = 0x01
    INVALID_COMMAND_LENGTH = 0x02
    INVALID_COMMAND = 0x03
    WRONG_BIND_STATE = 0x04
    ALREADY_BOUND = 0x05
    SYSTEM_ERROR = 0x08
    INVALID_DESTINATION = 0x0B
    BIND_FAILED = 0x0D
    INVALID_PASSWORD = 0x0E
    INVALID_SYSTEM_ID = 0x0F
    QUEUE_FULL = 0x14
    SUBMIT_FAILED = 0x45
    THROTTLED = 0x58
    TEMPORARY_ERROR = 0x64
    INVALID_PARAMETER = 0xC2
    UNKNOWN_ERROR = 0xFF


STATUS_WORDS: Final[dict[int, str]] = {
    Status.WRONG_BIND_STATE: "the session is not bound for this",
    Status.ALREADY_BOUND: "the session is bound already",
    Status.SYSTEM_ERROR: "the centre has an error of its own",
    Status.INVALID_DESTINATION: "the centre does not know the destination address",
    Status.BIND_FAILED: "the centre refuses the bind",
    Status.INVALID_PASSWORD: "the password is wrong",
    Status.INVALID_SYSTEM_ID: "the system id is unknown",
    Status.QUEUE_FULL: "the centre's queue is full",
    Status.SUBMIT_FAILED: "the centre refuses the message",
    Status.THROTTLED: "more messages a second than the centre allows",
    Status.TEMPORARY_ERROR: "the receiver has a passing error",
}


def describe_status(status: int) -> str:
    """A command_status in words, with its number."""
    return f"{STATUS_WORDS.get(status, 'refused')} (SMPP status {status:08X})"


class SmppError(LandfallError):
    """Whatever goes wrong between an SMPP client and its centre."""


class PduError(SmppError):
    """Bytes that are no PDU we understand; `status` and `sequence` go into the generic_nack."""

    def __init__(self, status: Status, reason: str, sequence: int = 0) -> None:
        super().__init__(reason)
        self.status, self.sequence = status, sequence


class Bind(Concealed, frozen=True, kw_only=True):
    """Body of the three binds (4.1)."""

    SECRET = frozenset({"password"})

    system_id: str
    password: str = ""
    system_type: str = ""
    interface_version: int = INTERFACE_VERSION
    ton: int = 0
    npi: int = 0
    address_range: str = ""


class Named(msgspec.Struct, frozen=True):
    """Body of a bind's answer, where `name` is the centre's system id, and of submit_sm_resp and deliver_sm_resp,
    where it is the message id.
    """

    name: str = ""
    tlvs: tuple[tuple[int, bytes], ...] = ()


class ShortMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Body of submit_sm and deliver_sm (4.4.1, 4.6.1); addresses are digits, `validity` is as in 7.1.1."""

    source: str = ""
    source_ton: int = TON_UNKNOWN
    source_npi: int = NPI_ISDN
    destination: str = ""
    destination_ton: int = TON_INTERNATIONAL
    destination_npi: int = NPI_ISDN
    service_type: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority: int = 0
    schedule: str = ""
    validity: str = ""
    registered_delivery: int = 0
    replace: int = 0
    data_coding: int = 0
    default_message: int = 0
    message: bytes = b""
    tlvs: tuple[tuple[int, bytes], ...] = ()

    @property
    def is_receipt(self) -> bool:
        """Whether a deliver_sm is the centre's receipt for an earlier submit_sm."""
        return self.esm_class & _MESSAGE_TYPE == _RECEIPT_TYPE

    @property
    def content(self) -> bytes:
        """short_message, or message_payload where that is used instead."""
        return self.message or dict(self.tlvs).get(TAG_MESSAGE_PAYLOAD, b"")


Body = Bind | Named | ShortMessage | None


class Pdu(msgspec.Struct, frozen=True):
    """One protocol data unit."""

    command: Command
    sequence: int
    status: int = Status.OK
    body: Body = None


def encode_pdu(pdu: Pdu) -> bytes:
    """The bytes of a PDU; raises `PduError` for a value that its field does not hold."""
    try:
        body = _encode_body(pdu.body)
        return HEADER.pack(HEADER.size + len(body), pdu.command, pdu.status, pdu.sequence) + body
    except (struct.error, ValueError) as error:  # ValueError: an octet beyond 255
        raise PduError(Status.INVALID_PARAMETER, f"{pdu.command.name} cannot be coded: {error}") from None


def peek_length(header: bytes) -> int:
    """The length of the PDU whose first four bytes these are; raises `PduError` for one beyond all bounds."""
    length = int.from_bytes(header[:4], "big")
    if not HEADER.size <= length <= PDU_BYTES_MAX:
        raise PduError(Status.INVALID_COMMAND_LENGTH, f"a PDU cannot have {length} bytes")
    return length


def decode_pdu(data: bytes) -> Pdu:
    """The PDU that `data` is, exactly; raises `PduError`."""
    if len(data) < HEADER.size:
        raise PduError(Status.INVALID_COMMAND_LENGTH, f"{len(data)} bytes are no SMPP header")
    length, command_id, status, sequence = HEADER.unpack_from(data)
    if length != len(data) or length > PDU_BYTES_MAX:
        raise PduError(Status.INVALID_COMMAND_LENGTH, f"the header says {length} bytes of {len(data)}", sequence)
    try:
        command = Command(command_id)
    except ValueError:
        raise PduError(Status.INVALID_COMMAND, f"command {command_id:08X} is not spoken here", sequence) from None
    reader = _Reader(data[HEADER.size :], sequence)
    return Pdu(command, sequence, status, _decode_body(command, status, reader))


def _encode_body(body: Body) -> bytes:
    match body:
        case None:
            return b""
        case Named():
            return _text(body.name, 65) + _encode_tlvs(body.tlvs)
        case Bind():
            return (
                _text(body.system_id, 16)
                + _text(body.password, 9)
                + _text(body.system_type, 13)
                + bytes([body.interface_version, body.ton, body.npi])
                + _text(body.address_range, 41)
            )
        case ShortMessage():
            if len(body.message) > SHORT_MESSAGE_BYTES:
                raise ValueError(f"short_message of {len(body.message)} bytes, it holds {SHORT_MESSAGE_BYTES}")
            return (
                _text(body.service_type, 6)
                + bytes([body.source_ton, body.source_npi])
                + _text(body.source, 21)
                + bytes([body.destination_ton, body.destination_npi])
                + _text(body.destination, 21)
                + bytes([body.esm_class, body.protocol_id, body.priority])
                + _text(body.schedule, 17)
                + _text(body.validity, 17)
                + bytes([body.registered_delivery, body.replace, body.data_coding, body.default_message])
                + bytes([len(body.message)])
                + body.message
                + _encode_tlvs(body.tlvs)
            )


def _decode_body(command: Command, status: int, reader: "_Reader") -> Body:
    match command:
        case Command.BIND_RECEIVER | Command.BIND_TRANSMITTER | Command.BIND_TRANSCEIVER:
            system_id, password, system_type = reader.text(16), reader.text(9), reader.text(13)
            version, ton, npi = reader.octets(3)
            return Bind(
                system_id=system_id,
                password=password,
                system_type=system_type,
                interface_version=version,
                ton=ton,
                npi=npi,
                address_range=reader.text(41),
            )
        case Command.SUBMIT_SM | Command.DELIVER_SM:
            return _decode_message(reader)
        case (
            Command.SUBMIT_SM_RESP
            | Command.DELIVER_SM_RESP
            | Command.BIND_RECEIVER_RESP
            | Command.BIND_TRANSMITTER_RESP
            | Command.BIND_TRANSCEIVER_RESP
        ):
            if reader.at_end:  # a refusal has no body (4.1.2, 4.4.2); some centres leave it out of deliver_sm_resp too
                return Named()
            return Named(reader.text(65), reader.tlvs())
    return None  # unbind, enquire_link, generic_nack have none; what somebody appends is not looked at


def _decode_message(reader: "_Reader") -> ShortMessage:
    service_type = reader.text(6)
    source_ton, source_npi = reader.octets(2)
    source = reader.text(21)
    destination_ton, destination_npi = reader.octets(2)
    destination = reader.text(21)
    esm_class, protocol_id, priority = reader.octets(3)
    schedule, validity = reader.text(17), reader.text(17)
    registered, replace, data_coding, default_message, length = reader.octets(5)
    return ShortMessage(
        source=source,
        source_ton=source_ton,
        source_npi=source_npi,
        destination=destination,
        destination_ton=destination_ton,
        destination_npi=destination_npi,
        service_type=service_type,
        esm_class=esm_class,
        protocol_id=protocol_id,
        priority=priority,
        schedule=schedule,
        validity=validity,
        registered_delivery=registered,
        replace=replace,
        data_coding=data_coding,
        default_message=default_message,
        message=reader.octets(length),
        tlvs=reader.tlvs(),
    )


def _text(value: str, size: int) -> bytes:
    """A C-octet string of at most `size` bytes, its zero included (3.1)."""
    raw = value.encode("latin-1")
    if len(raw) >= size or 0 in raw:
        raise ValueError(f"a text of {len(raw)} characters, the field holds {size - 1} and no zero")
    return raw + b"\0"


def _encode_tlvs(tlvs: tuple[tuple[int, bytes], ...]) -> bytes:
    return b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in tlvs)


class _Reader:
    """Takes fields off a body, front to back."""

    def __init__(self, data: bytes, sequence: int) -> None:
        self._data, self._at, self._sequence = data, 0, sequence

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def octets(self, count: int) -> bytes:
        value = self._data[self._at : self._at + count]
        if len(value) < count:
            raise PduError(Status.INVALID_LENGTH, f"the body ends within a field at offset {self._at}", self._sequence)
        self._at += count
        return value

    def text(self, size: int) -> str:
        end = self._data.find(0, self._at, self._at + size)
        if end < 0:
            reason = f"the text at offset {self._at} of the body does not end within {size} bytes"
            raise PduError(Status.INVALID_PARAMETER, reason, self._sequence)
        value = self._data[self._at : end]
        self._at = end + 1
        return value.decode("latin-1")

    def tlvs(self) -> tuple[tuple[int, bytes], ...]:
        found = []
        while not self.at_end:
            tag, length = struct.unpack(">HH", self.octets(4))
            found.append((tag, self.octets(length)))
        return tuple(found)
