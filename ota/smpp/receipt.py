"""Delivery receipts (SMPP v3.4 appendix B) and relative times (7.1.1.1).

    receipt = parse_receipt(message)            # of a deliver_sm whose `is_receipt` holds
    message = build_receipt(receipt, submitted) # as the centre makes it

The text of a receipt is each centre's own affair; the optional parameters receipted_message_id and message_state, where
there are any, go before it.
"""

import re
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

import msgspec

from ota.smpp.pdu import TAG_MESSAGE_STATE, TAG_RECEIPTED_MESSAGE_ID, PduError, ShortMessage, Status

RECEIPT_ESM_CLASS: Final = 0x04
_ID = re.compile(r"\bid:\s*([^\s]+)", re.IGNORECASE)
_STATE = re.compile(r"\bstat:\s*([A-Za-z]+)", re.IGNORECASE)
_RELATIVE = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)000R")
# 7.1.1.1: two digits a unit; a longer validity than 99 days no centre keeps anyway.
_LONGEST: Final = timedelta(days=99)


class State(IntEnum):
    """message_state, 5.2.28."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8

    @property
    def is_failure(self) -> bool:
        """Whether the message will not arrive any more."""
        return self in (State.EXPIRED, State.DELETED, State.UNDELIVERABLE, State.REJECTED)

    @property
    def word(self) -> str:
        """The seven letters of appendix B."""
        return _WORDS[self]


_WORDS: Final = {
    State.ENROUTE: "ENROUTE",
    State.DELIVERED: "DELIVRD",
    State.EXPIRED: "EXPIRED",
    State.DELETED: "DELETED",
    State.UNDELIVERABLE: "UNDELIV",
    State.ACCEPTED: "ACCEPTD",
    State.UNKNOWN: "UNKNOWN",
    State.REJECTED: "REJECTD",
}
_BY_WORD: Final = {word: state for state, word in _WORDS.items()}


class Receipt(msgspec.Struct, frozen=True):
    """What became of the message `message_id`."""

    message_id: str
    state: State


def parse_receipt(message: ShortMessage) -> Receipt:
    """The receipt in a deliver_sm; raises `PduError` where no message id or state can be found."""
    text, tlvs = message.content.decode("latin-1"), dict(message.tlvs)
    found_id, found_state = _ID.search(text), _STATE.search(text)
    message_id = tlvs.get(TAG_RECEIPTED_MESSAGE_ID, b"").rstrip(b"\0").decode("latin-1")
    message_id = message_id or (found_id[1] if found_id else "")
    state = None
    if len(raw := tlvs.get(TAG_MESSAGE_STATE, b"")) == 1 and raw[0] in State.__members__.values():
        state = State(raw[0])
    elif found_state:
        state = _BY_WORD.get(found_state[1].upper())
    if not message_id or state is None:
        raise PduError(Status.INVALID_PARAMETER, "a receipt without a message id or a state")
    return Receipt(message_id, state)


def build_receipt(receipt: Receipt, submitted: ShortMessage, *, submitted_at: datetime) -> ShortMessage:
    """The deliver_sm that reports on `submitted` to its sender, the addresses changed about."""
    now = datetime.now(UTC)
    delivered = int(receipt.state is State.DELIVERED)
    text = (
        f"id:{receipt.message_id} sub:001 dlvrd:{delivered:03} submit date:{submitted_at:%y%m%d%H%M}"
        f" done date:{now:%y%m%d%H%M} stat:{receipt.state.word} err:{0 if delivered else 1:03} text:"
    )
    return ShortMessage(
        source=submitted.destination,
        source_ton=submitted.destination_ton,
        source_npi=submitted.destination_npi,
        destination=submitted.source,
        destination_ton=submitted.source_ton,
        destination_npi=submitted.source_npi,
        esm_class=RECEIPT_ESM_CLASS,
        message=text.encode(),
        tlvs=(
            (TAG_RECEIPTED_MESSAGE_ID, receipt.message_id.encode() + b"\0"),
            (TAG_MESSAGE_STATE, bytes([receipt.state])),
        ),
    )


def pack_validity(seconds: float) -> str:
    """A validity period from now, as validity_period has it: `000000000130000R` is 90 s."""
    left = min(timedelta(seconds=max(1, round(seconds))), _LONGEST)
    hours, rest = divmod(left.seconds, 3600)
    return f"0000{left.days:02}{hours:02}{rest // 60:02}{rest % 60:02}000R"


def parse_validity(text: str) -> float | None:
    """Seconds of a relative validity period; None for none, or for an absolute one."""
    if not (found := _RELATIVE.fullmatch(text)):
        return None
    years, months, days, hours, minutes, seconds = (int(part) for part in found.groups())
    return ((years * 365 + months * 30 + days) * 24 + hours) * 3600.0 + minutes * 60 + seconds
