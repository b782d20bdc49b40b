"""`landfall ota`: look into secured packets, and make them."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from landfall.cli import emit
from ota.packet_objects import (
    EXAMPLE_COMMAND,
    EXAMPLE_PROOF,
    VECTOR_ORIGINATOR,
    VECTOR_TIME,
    decode_object,
    encode_object,
)

app = typer.Typer(no_args_is_help=True, help="Over-the-air: secured packets to and from cards.")
packet = typer.Typer(
    no_args_is_help=True,
    help="Secured packets of ETSI TS 102 225 and 3GPP TS 31.115, one JSON object a line.",
)
app.add_typer(packet, name="packet")

# A typer option is a naive date; ours is UTC.
_VECTOR_TIME_UTC = VECTOR_TIME.replace(tzinfo=None)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of tables.")]
Source = Annotated[typer.FileBinaryRead, typer.Argument(metavar="[FILE]", help="Objects, one a line; - is stdin.")]


class Example(StrEnum):
    """What there is an example of."""

    COMMAND = "command"
    PROOF = "proof"


@packet.command()
def example(kind: Annotated[Example, typer.Argument(help="For encode: command; for decode: proof.")]) -> None:
    """Print an object that `encode` or `decode` takes, to try and to change."""
    sys.stdout.write(msgspec.json.encode(EXAMPLE_COMMAND if kind is Example.COMMAND else EXAMPLE_PROOF).decode() + "\n")


@packet.command(epilog="Try: landfall ota packet example command | landfall ota packet encode")
def encode(
    source: Source = "-",  # type: ignore[assignment]  # typer opens it
    json: Json = False,
    originator: Annotated[str, typer.Option(help="Sender in the TPDUs, with + if international.")] = VECTOR_ORIGINATOR,
    timestamp: Annotated[datetime, typer.Option(help="Time stamp in the TPDUs, UTC.")] = _VECTOR_TIME_UTC,
    reference: Annotated[int, typer.Option(min=0, max=255, help="Reference of concatenated messages.")] = 0,
) -> None:
    """Make command packets and the short messages that carry them.

    An object has these fields, bytes in hexadecimal:

    - name: yours, comes back in the answer

    - kic_key, kid_key: the keys

    - kic_byte, kid_byte: first digit the key set, second the algorithm: 1 DES,
    2 AES, 5 and 9 triple DES with 2 and 3 keys; in KID under rc 1 CRC16, 5 CRC32.
    Or key_index, algo_crypt and algo_auth in words.

    - tar, counter, apdu: the application, a number, the C-APDUs one after another

    - spi.counter: no_counter, counter_no_replay_or_seq, counter_must_be_higher,
    or counter_must_be_lower, the vectors' word for "one higher"

    - spi.ciphering, spi.por_shall_be_ciphered, spi.por_in_submit: true or false

    - spi.rc_cc_ds, spi.por_rc_cc_ds: no_rc_cc_ds, rc, cc

    - spi.por: no_por, por_required, por_only_when_error

    The answer has name, packet (from its length, CPL, on) and sms: SMS-DELIVER
    TPDUs, several for a long packet. What cannot be made is answered with name
    and error, and the next line is read.
    """
    for line in _lines(source):
        answer = encode_object(line, originator=originator, time=timestamp.replace(tzinfo=UTC), reference=reference)
        _print(answer, json)


@packet.command(epilog="Try: landfall ota packet example proof | landfall ota packet decode")
def decode(
    source: Source = "-",  # type: ignore[assignment]  # typer opens it
    json: Json = False,
) -> None:
    """Verify and read proofs of receipt, or command packets as the card would.

    A proof of receipt has name, kic_key, kid_key, algo (single_des, 3des2,
    3des3, aes128, aes192, aes256), the spi of the command it answers, and
    packet, from its user data header 027100 on. The answer says
    response_status, tar, cntr, pcntr (bytes of padding), cc, secured_data, and
    compact: commands run, last status word, data.

    A command packet has the keys as for encode, and packet, sms,
    sms_deliver_tpdu or envelope_sms_pp; with last_counter its counter is
    checked as the card would. The answer says spi, tar, counter, apdu.

    What does not verify is answered with name and error, and the next line is
    read.
    """
    for line in _lines(source):
        _print(decode_object(line), json)


def _lines(source: typer.FileBinaryRead) -> Iterator[bytes]:
    return (line for line in source if line.strip())


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        sys.stdout.flush()
    else:
        emit({field: value for field, value in answer.items() if field != "name"}, title=str(answer["name"]))
