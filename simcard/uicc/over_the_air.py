"""What reaches the card by secured SMS: parts put together, the packet verified, its commands run, receipt proved.

`Receiver.receive` takes the data of an ENVELOPE (SMS-PP DOWNLOAD) and returns the response data for the phone to send
back, or b"" while parts are missing or when no proof was asked for. The new counter, the effects of the commands and
the answer are one step for the card: it stores all of them before a bit of the answer leaves it, so that a packet has
its effect once.

Minimum security: cryptographic checksum and a counter that must rise for every application; ciphering for the
multi-account application and the security domain, whose commands carry keys.
"""

from __future__ import annotations

from collections.abc import Callable

from ota.profile import MULTI_ACCOUNT_TAR
from ota.scp80.key_management import ISD_TAR
from ota.scp80.packet import (
    Command as Packet,
)
from ota.scp80.packet import (
    CommandHeader,
    MalformedPacket,
    SecurityFailure,
    decode_command,
    encode_response,
    peek_command,
)
from ota.scp80.parameters import Integrity, ParameterError, ResponseStatus, ScpError
from ota.scp80.remote import CompactResponse, ExpandedResponse, decode_script, split_commands
from ota.scp80.sms import Reassembler, build_submits, parse_deliver, parse_envelope, wrap_response
from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.key_management import KeyManagement, OtaKeys
from simcard.uicc.toolkit import Toolkit, send_short_message

RFM_UICC = bytes.fromhex("B00000")
RFM_USIM = bytes.fromhex("B00010")

# First byte of an expanded command script (TS 102 226 §5.2.1); no C-APDU begins with it.
COMMAND_SCRIPT = 0xAA
# Bad format TLV value "unknown tag found" (TS 102 226 §5.2.2).
UNKNOWN_TAG = 0x01

Execute = Callable[[Command], Response]


class Receiver:
    """The OTA end of one card. `open_application(tar)` gives who runs one packet, or None for an unknown TAR.

    `learn_sender` is told the address that each accepted packet came from; `service_centre` tells by which number
    answers in messages of their own leave.
    """

    def __init__(
        self,
        keys: dict[int, OtaKeys],
        toolkit: Toolkit,
        open_application: Callable[[bytes], Execute | None],
        learn_sender: Callable[[str], None],
        service_centre: Callable[[], str],
    ) -> None:
        self._keys, self._toolkit, self._open_application = keys, toolkit, open_application
        self._learn_sender, self._service_centre = learn_sender, service_centre
        self._parts = Reassembler()

    def receive(self, envelope: bytes) -> bytes:
        """Handle one SMS-PP DOWNLOAD; `StatusError(6A80)` when it is malformed or no secured packet's part."""
        try:
            tpdu, _ = parse_envelope(envelope)
            message = parse_deliver(tpdu)
            if not message.udhi:
                raise StatusError(Sw.WRONG_DATA)
            whole = self._parts.add(message.user_data, message.originator)
        except ScpError:
            raise StatusError(Sw.WRONG_DATA) from None
        if whole is None:
            return b""
        try:
            header = peek_command(whole[1])
        except (MalformedPacket, ParameterError):
            return b""  # not addressed to anybody: silence
        status, answer = self._process(header, whole[1])
        if status is ResponseStatus.POR_OK:
            self._learn_sender(message.originator)
        if not header.wants_response(status):
            return b""
        if not header.spi.por_in_submit:
            return wrap_response(answer)
        for submit in build_submits(answer, destination=message.originator):
            self._toolkit.put(send_short_message(submit, self._service_centre()))
        return b""

    def _process(self, header: CommandHeader, raw: bytes) -> tuple[ResponseStatus, bytes]:
        """Verify, move the counter, run. Gives the status and the response packet."""
        entry = self._keys.get(header.kic.key_index)
        if entry is None:
            return _bare(ResponseStatus.UNDEFINED_SECURITY_ERROR, header)
        if _too_weak(header):
            return _bare(ResponseStatus.INSUFFICIENT_SECURITY_LEVEL, header)
        try:
            packet = decode_command(raw, entry.keys, last_counter=entry.counter)
        except MalformedPacket:
            return _bare(ResponseStatus.UNDEFINED_SECURITY_ERROR, header)
        except SecurityFailure as failure:
            # Only what passed its checksum has a counter to speak of; all else is answered without using a key.
            keys = entry.keys if failure.counter else None
            return failure.status, encode_response(failure.status, header=header, counter=failure.counter, keys=keys)
        entry.counter = packet.counter
        if header.tar == ISD_TAR:
            execute: Execute | None = KeyManagement(self._keys, entry.keys).execute
        else:
            execute = self._open_application(header.tar)
        if execute is None:
            return ResponseStatus.TAR_UNKNOWN, self._prove(ResponseStatus.TAR_UNKNOWN, b"", packet, entry)
        return ResponseStatus.POR_OK, self._prove(ResponseStatus.POR_OK, run(packet.data, execute), packet, entry)

    @staticmethod
    def _prove(status: ResponseStatus, data: bytes, packet: Packet, entry: OtaKeys) -> bytes:
        return encode_response(status, data, header=packet.header, counter=packet.counter, keys=entry.keys)


def run(data: bytes, execute: Execute) -> bytes:
    """Run commands up to the first that fails; the answer is in the format they came in (TS 102 226 §5)."""
    expanded = data[:1] == bytes((COMMAND_SCRIPT,))
    try:
        commands = decode_script(data) if expanded else split_commands(data)
    except ScpError:
        refusal = ExpandedResponse(0, bad_format=UNKNOWN_TAG) if expanded else CompactResponse(0, Sw.WRONG_LENGTH)
        return refusal.encode()
    answers: list[Response] = []
    for raw in commands:
        answers.append(_execute(raw, execute))
        if not answers[-1].ok:
            break
    if expanded:
        return ExpandedResponse(len(answers), tuple(answer.encode() for answer in answers)).encode()
    last = answers[-1] if answers else Response()
    return CompactResponse(len(answers), last.sw, last.data).encode()


def _execute(raw: bytes, execute: Execute) -> Response:
    try:
        command = Command.parse(raw)
        response = execute(command)
    except StatusError as error:
        return Response(sw=error.sw)
    # SELECT and the like have data to give, but nobody asked for it (TS 102 226 §5.1.2).
    return response if command.le is not None else Response(sw=response.sw)


def _too_weak(header: CommandHeader) -> bool:
    spi = header.spi
    secret = header.tar in (MULTI_ACCOUNT_TAR, ISD_TAR)
    return spi.rc_cc_ds is not Integrity.CC or not spi.counter >= 2 or (secret and not spi.ciphering)


def _bare(status: ResponseStatus, header: CommandHeader) -> tuple[ResponseStatus, bytes]:
    return status, encode_response(status, header=header, counter=0, keys=None)
