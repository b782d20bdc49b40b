"""A short message centre: SMPP 3.4 for OTA platforms on one side, the phones of a field on the other.

    smsc = Smsc(field, {"alfa-ota": "password"})
    smsc.addresses["12345"] = "alfa-ota"                # whose address that is: phones' messages to it go there
    network.centre = smsc                               # of each network whose phones send through it
    async with smsc.serve("127.0.0.1", 2775):
        ...

A message is for whoever is registered under its number in the networks of the field; an ICCID is an address too, and
`numbers` may give cards numbers that no network has. What phones send by themselves goes to the client whose address it
is for, in a deliver_sm from the phone's own number.

Any number of clients may bind, each under its system id, several times if it likes. A message goes into the card as
SMS-DELIVER; where the phone is off or out of reach it is tried again until its validity ends. What the card says goes
back to the client that sent the message: its proof of receipt in a deliver_sm from the card's number, and a delivery
receipt where one was asked for. What cannot be brought to a client waits until it binds again.

`Faults` make it as bad as networks are: messages lost, late, out of order, doubled, on the way to the card and back.
Only messages for the SIM itself (PID 7F, DCS F6) are carried; nobody reads texts here.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

import msgspec

from ota.scp80.parameters import ScpError
from ota.scp80.sms import (
    DCS_CLASS2_8BIT,
    PID_SIM_DATA_DOWNLOAD,
    SmsDeliver,
    encode_deliver,
    pack_timestamp,
    parse_submit,
)
from ota.smpp.pdu import (
    SHORT_MESSAGE_BYTES,
    TAG_MESSAGE_PAYLOAD,
    TON_INTERNATIONAL,
    TON_UNKNOWN,
    UDHI,
    Bind,
    ShortMessage,
    Status,
)
from ota.smpp.receipt import Receipt, State, build_receipt, parse_validity
from ota.smpp.session import Session
from simulator.field import AbsentSubscriberError, CardRefusedError, Field, Phone
from simulator.smsc_clients import DELIVERIES, RETRY_S, Box, Link

QUEUE_MAX: Final = 100_000
"""Messages under way at once; beyond it clients are told that the queue is full."""
VALIDITY_S: Final = 3600.0
"""Of a message that names none."""
BINARY_CODINGS: Final = (DCS_CLASS2_8BIT, 0x02, 0x04)
"""data_coding of packets for a card. SMPP's own words for octets (SMPP 3.4 §5.2.19), all that some tools say, go on as
class 2: there is no other way to a card."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong: probabilities of each message, delays in seconds (least, most), messages a second and client."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: tuple[float, float] = (0.0, 0.0)
    most_per_s: int | None = None


class Smsc:
    """The centre; `faults` may be replaced at any time."""

    def __init__(
        self,
        field: Field,
        accounts: Mapping[str, str],
        *,
        faults: Faults | None = None,
        seed: int = 0,
    ) -> None:
        self._field, self.accounts, self.faults = field, accounts, faults or Faults()
        self.numbers: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self._draw = random.Random(seed)
        self._ids = count(1)
        self._boxes: defaultdict[str, Box] = defaultdict(Box)
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()

    @asynccontextmanager
    async def serve(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Listen; yields the port (0 takes a free one). At the end all connections are cut."""
        server = await asyncio.start_server(self._greet, host, port, ssl=tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.cut()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for box in self._boxes.values():
                await box.close()

    def cut(self) -> None:
        """Cut every connection, as a fault of the network does."""
        for link in list(self._links):
            link.session.close()

    def accept(self, link: Link, message: ShortMessage) -> tuple[Status, str]:
        """Judge a submit_sm and set it on its way: its status and message id."""
        if link.over_limit(self.faults.most_per_s):
            return Status.THROTTLED, ""
        if len(self._tasks) >= QUEUE_MAX:
            return Status.QUEUE_FULL, ""
        if self.find_phone(message.destination) is None and not self._field.has_number(message.destination):
            return Status.INVALID_DESTINATION, ""
        if message.protocol_id != PID_SIM_DATA_DOWNLOAD or message.data_coding not in BINARY_CODINGS:
            return Status.SUBMIT_FAILED, ""
        message_id = f"{next(self._ids):010}"
        for _ in range(1 + self._happens(self.faults.duplicate)):
            self._start(self._carry(link.system_id, message_id, message))
        return Status.OK, message_id

    def take(self, sender: str, tpdu: bytes) -> None:
        """Set a phone's SMS-SUBMIT on its way to the client whose address it is for; to nobody's, it is dropped."""
        try:
            sent = parse_submit(tpdu)
        except ScpError:
            return
        if (system_id := self.addresses.get(sent.destination.removeprefix("+"))) is None:
            return
        message = ShortMessage(
            source=sender,
            source_ton=TON_INTERNATIONAL,
            destination=sent.destination.removeprefix("+"),
            destination_ton=TON_INTERNATIONAL if sent.destination.startswith("+") else TON_UNKNOWN,
            esm_class=UDHI if sent.udhi else 0,
            protocol_id=sent.pid,
            data_coding=sent.dcs,
            message=sent.user_data,
        )
        self._send_back(system_id, message)

    def find_phone(self, address: str) -> Phone | None:
        """The phone that a number, or an ICCID, reaches now."""
        iccid = self.numbers.get(address, address)
        return self._field.phones.get(iccid) or self._field.find_phone(address)

    def check(self, bind: Bind) -> Status:
        """Whether a client may bind."""
        if bind.system_id not in self.accounts:
            return Status.INVALID_SYSTEM_ID
        return Status.OK if self.accounts[bind.system_id] == bind.password else Status.INVALID_PASSWORD

    def attach(self, link: Link) -> None:
        """The client is bound to receive."""
        self._boxes[link.system_id].attach(link.session)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self)
        link.session = Session(reader, writer, link.answer, window=DELIVERIES)
        self._links.add(link)
        try:
            await link.session.run()
        finally:
            self._links.discard(link)
            if link.system_id:
                self._boxes[link.system_id].detach(link.session)

    async def _carry(self, system_id: str, message_id: str, message: ShortMessage) -> None:
        """One message to its card, what the card says back, and the receipt."""
        submitted_at = datetime.now(UTC)
        if not await self._travel():
            return
        expires = time.monotonic() + (parse_validity(message.validity) or VALIDITY_S)
        state = State.EXPIRED
        while time.monotonic() < expires:
            try:
                answers = await self._enter_card(message, submitted_at)
            except AbsentSubscriberError:
                await asyncio.sleep(RETRY_S)
                continue
            except (CardRefusedError, ScpError):
                state = State.UNDELIVERABLE
                break
            for answer in answers:
                self._send_back(system_id, answer)
            state = State.DELIVERED
            break
        if message.registered_delivery & 1 or (message.registered_delivery & 2 and state.is_failure):
            receipt = Receipt(message_id, state)
            self._send_back(system_id, build_receipt(receipt, message, submitted_at=submitted_at))

    async def _enter_card(self, message: ShortMessage, submitted_at: datetime) -> list[ShortMessage]:
        """ENVELOPE into the card; the deliver_sm that carry what it answers and what it sends meanwhile."""
        phone = self.find_phone(message.destination)
        if phone is None:
            raise AbsentSubscriberError("nobody is registered under this number")
        plus = "+" if message.source_ton == TON_INTERNATIONAL else ""
        tpdu = encode_deliver(
            SmsDeliver(
                originator=plus + message.source,
                timestamp=pack_timestamp(submitted_at),
                user_data=message.content,
                udhi=bool(message.esm_class & UDHI),
            )
        )
        answer = await phone.receive_sms([tpdu])
        back = [_answer_to(message, data) for data in answer.responses if data]
        for raw in answer.submitted:
            sent = parse_submit(raw)
            number = sent.destination.removeprefix("+")
            back.append(msgspec.structs.replace(_answer_to(message, sent.user_data), destination=number))
        return back

    def _send_back(self, system_id: str, message: ShortMessage) -> None:
        for _ in range(1 + self._happens(self.faults.duplicate)):
            self._start(self._bring_back(system_id, message))

    async def _bring_back(self, system_id: str, message: ShortMessage) -> None:
        if await self._travel():
            self._boxes[system_id].put(message)

    async def _travel(self) -> bool:
        """The way through the network; False where the message is lost on it."""
        faults = self.faults
        least, most = faults.delay_s
        delay_s = self._draw.uniform(least, most)
        if self._happens(faults.reorder):
            delay_s += most + RETRY_S * self._draw.random()
        if delay_s:
            await asyncio.sleep(delay_s)
        return not self._happens(faults.loss)

    def _happens(self, probability: float) -> bool:
        return self._draw.random() < probability

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _answer_to(message: ShortMessage, user_data: bytes) -> ShortMessage:
    """A deliver_sm with user data from the card that `message` went to."""
    long = len(user_data) > SHORT_MESSAGE_BYTES
    return ShortMessage(
        source=message.destination,
        source_ton=message.destination_ton,
        source_npi=message.destination_npi,
        destination=message.source,
        destination_ton=message.source_ton,
        destination_npi=message.source_npi,
        esm_class=UDHI,
        protocol_id=PID_SIM_DATA_DOWNLOAD,
        data_coding=DCS_CLASS2_8BIT,
        message=b"" if long else user_data,
        tlvs=((TAG_MESSAGE_PAYLOAD, user_data),) if long else (),
    )
