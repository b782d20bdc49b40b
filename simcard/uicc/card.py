"""The software UICC: bytes of a command APDU in, bytes of a response APDU out.

    card = personalise(iccid=…, home=profile, ota={1: key_set}, adm="12345678")     # or open_card(CardFolder(path))
    card.reset()                                     # the ATR
    card.transmit(bytes.fromhex("00A40004023F00"))   # 61xx: fetch the FCP with GET RESPONSE, as T=0 wants it

What happens to each APDU:

1. It is parsed (`apdu.py`); what cannot be is answered 6700. Class A0 is that of a 2G SIM (`gsm_class.py`); any other
   names a logical channel (`channels.py`).
2. An instruction goes to the file session (`session.py`), the secret codes, AUTHENTICATE, the toolkit, or, while the
   multi-account application is selected and ADM verified, to that one. Files written from outside are taken over: the
   home account is what they say.
3. If anything lasting changed (a file, a retry counter, a sequence number, a slot, an OTA counter), the whole state is
   stored *before* the answer leaves; where that fails the answer is 6581.
4. T=0 shapes the answer: data of a command that carried data waits for GET RESPONSE (`61xx`); a normal ending becomes
   `91xx` while a proactive command waits.

K, OPc and OTA keys are in no file that can be read and in no answer.
`transmit` never raises, whatever bytes it is given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from ota.profile import (
    HOME_SLOT,
    INS_DELETE_SLOT,
    INS_ENABLE_SLOT,
    INS_LIST_SLOTS,
    INS_STORE_SLOT,
    MULTI_ACCOUNT_AID,
    MULTI_ACCOUNT_TAR,
)
from ota.scp80.digits import DigitError
from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.challenge import AUTHENTICATE, RUN_GSM_ALGORITHM, authenticate, run_gsm_algorithm
from simcard.uicc.channels import MANAGE_CHANNEL, Channels, channel_of
from simcard.uicc.codes import CODE_INS, UNBLOCK, execute_code_command
from simcard.uicc.dialogue import Dialogue
from simcard.uicc.files import ADM1, PIN1, Access
from simcard.uicc.gsm_class import ANSWER_READY, GSM_CLASS, SLEEP, UNBLOCK_CHV1, run_gsm_class, translate
from simcard.uicc.identity import write_identity
from simcard.uicc.multi_account import MultiAccount
from simcard.uicc.over_the_air import RFM_UICC, RFM_USIM, Execute, Receiver
from simcard.uicc.reporting import compose_report
from simcard.uicc.session import READ_BINARY, READ_RECORD, SELECT, STATUS, Session, require_length
from simcard.uicc.store import CardFolder, CardState
from simcard.uicc.suci import GET_IDENTITY, SUCI_CONTEXT, answer_identity
from simcard.uicc.toolkit import SMS_PP_DOWNLOAD, Toolkit, open_ber_tlv
from simcard.uicc.tree import CardFiles

# The ATR of a sysmoISIM-SJA2: tools that know it speak class 00 to the card and find the files they expect.
ATR = bytes.fromhex("3B9F96801F878031E073FE211B674A4C753034054BA9")

GET_RESPONSE, FETCH = 0xC0, 0x12
# Instructions whose P3 is a length expected, so that T=0 answers them with data at once.
OUTGOING_INS = frozenset({READ_BINARY, READ_RECORD, STATUS, FETCH, MANAGE_CHANNEL, GET_IDENTITY})
APPLICATION_INS = frozenset({INS_STORE_SLOT, INS_DELETE_SLOT, INS_ENABLE_SLOT, INS_LIST_SLOTS})


class Card:
    """One card. `state` is taken over and changed; with a `store`, each change is stored there first."""

    def __init__(self, state: CardState, store: CardFolder | None = None) -> None:
        self._state, self._store = state, store
        self._files = CardFiles(state.iccid)
        if not self._files.restore(state.files):
            write_identity(self._files, state.accounts.slots[state.accounts.enabled].profile)
        self._changed = False
        self.reset()

    def reset(self) -> bytes:
        """Power on or reset: forgets selection, verified codes and the toolkit. Returns the ATR."""
        self._toolkit = Toolkit()
        self._channels = Channels(self._files.mf, self._asks_pin)
        self._number, self._channel = 0, self._channels[0]
        self._accounts = MultiAccount(self._state.accounts, self._files, self._toolkit)
        for file in self._files.keys:
            file.write = self._accounts.write_keys
        self._dialogue = Dialogue(self._accounts, self._toolkit, self._compose_report)
        self._receiver = Receiver(
            self._state.ota, self._toolkit, self._open_application, self._learn_sender, self._service_centre
        )
        self._waiting = b""
        return self._state.atr or ATR

    def transmit(self, raw: bytes) -> bytes:
        """One command APDU in, response data and status word out."""
        try:
            command = Command.parse(raw)
            response = self._dispatch_gsm(command) if command.cla == GSM_CLASS else self._dispatch(command)
        except StatusError as error:
            response = Response(sw=error.sw)
        if self._channels.changed:
            self._take_over_files()
        if self._changed:
            try:
                self.save()
            except OSError:
                self._waiting = b""
                response = Response(sw=Sw.MEMORY_PROBLEM)
        return response.encode()

    def save(self) -> None:
        """Store the state, if there is a store. `OSError` when that fails; the next change tries again."""
        if self._store:
            self._state.files = self._files.contents()
            self._store.save(self._state)
        self._changed = False

    def _take_over_files(self) -> None:
        """What was written into the files is what the card is."""
        self._channels.settle()
        self._accounts.take_over_files()
        with contextlib.suppress(DigitError):
            self._state.iccid = self._files.iccid
        self._changed = True

    def _dispatch(self, command: Command) -> Response:
        self._number = channel_of(command.cla)
        self._channel = self._channels[self._number]
        command = msgspec.structs.replace(command, cla=command.cla & 0x80)
        if command.ins == GET_RESPONSE:
            return self._get_response(command)
        self._waiting = b""
        response = self._handle(command)
        if response.sw != Sw.OK:
            return response
        if response.data and (command.ins not in OUTGOING_INS or command.le is None):
            self._waiting = response.data
            return Response(sw=Sw.MORE | len(response.data) & 0xFF)
        return Response(response.data, self._toolkit.ending())

    def _dispatch_gsm(self, command: Command) -> Response:
        """Class A0: data of a command that carried data waits as `9Fxx`, and words are those of a SIM."""
        self._number, self._channel = 0, self._channels[0]
        try:
            if command.ins == GET_RESPONSE:
                return self._get_response(command)
            self._waiting = b""
            response = self._handle_gsm(command)
        except StatusError as error:
            raise StatusError(translate(error.sw)) from None
        if response.sw != Sw.OK:
            return Response(response.data, translate(response.sw))
        if response.data and (command.ins not in OUTGOING_INS or command.le is None):
            self._waiting = response.data
            return Response(sw=ANSWER_READY | len(response.data) & 0xFF)
        return Response(response.data, self._toolkit.ending())

    def _handle(self, command: Command) -> Response:
        if command.ins == SELECT:
            return self._select(command)
        if command.ins == MANAGE_CHANNEL:
            return self._channels.manage(command, self._number)
        if self._channel.in_accounts and command.ins in APPLICATION_INS:
            return self._in_accounts_by_reader(command)
        if handler := _HANDLERS.get(command.ins):
            return handler(self, command)
        if not self._channel.handles(command.ins):
            raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)
        if command.ins == STATUS:
            self._dialogue.poll()
        return self._channel.execute(command)

    def _handle_gsm(self, command: Command) -> Response:
        if command.ins == RUN_GSM_ALGORITHM:
            self._require_pin()
            return run_gsm_algorithm(command, self._accounts.active)
        if command.ins == SLEEP:
            return Response()
        if command.ins == UNBLOCK and command.p2 == UNBLOCK_CHV1:
            command = msgspec.structs.replace(command, p2=PIN1)
        if handler := _HANDLERS.get(command.ins):
            return handler(self, command)
        if command.ins == STATUS:
            self._dialogue.poll()
        return run_gsm_class(command, self._channel, self._state.codes)

    def _get_response(self, command: Command) -> Response:
        length = command.le or 256
        if not self._waiting:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        if length > len(self._waiting):
            raise StatusError(Sw.WRONG_LE | len(self._waiting) & 0xFF)
        data, self._waiting = self._waiting[:length], self._waiting[length:]
        return Response(data, Sw.MORE | len(self._waiting) if self._waiting else self._toolkit.ending())

    def _select(self, command: Command) -> Response:
        if command.p1 == 0x04 and len(command.data) >= 5 and MULTI_ACCOUNT_AID.startswith(command.data):
            self._channel.in_accounts = True
            return Response()
        response = self._channel.execute(command)
        self._channel.in_accounts = False
        return response

    def _asks_pin(self) -> bool:
        return self._state.codes[PIN1].enabled

    def _use_code(self, command: Command) -> Response:
        """VERIFY and its kin; the counters they move are stored whatever comes of it."""
        self._changed = True
        return execute_code_command(command, self._state.codes, self._channels.verified)

    def _authenticate(self, command: Command) -> Response:
        """AUTHENTICATE: in USIM or ISIM, after PIN."""
        if self._channel.adf is None or command.p1:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        self._require_pin()
        self._changed = True
        return authenticate(command, self._accounts.active)

    def _get_identity(self, command: Command) -> Response:
        """GET IDENTITY (TS 31.102 §7.5): in the USIM, after PIN."""
        if self._channel.adf is not self._files.usim:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        if command.p1 or command.p2 != SUCI_CONTEXT:
            raise StatusError(Sw.WRONG_P1_P2)
        self._require_pin()
        home = self._state.accounts.enabled == HOME_SLOT
        data = answer_identity(self._files.usim, self._accounts.active.profile, home=home)
        require_length(command, len(data))
        return Response(data)

    def _require_pin(self) -> None:
        if not self._channel.allows(Access.PIN):
            raise StatusError(Sw.SECURITY_NOT_SATISFIED)

    def _terminal_profile(self, command: Command) -> Response:
        self._dialogue.begin(command.data)
        return Response()

    def _fetch(self, command: Command) -> Response:
        return Response(self._toolkit.fetch(command.le or 0))

    def _terminal_response(self, command: Command) -> Response:
        answered = self._toolkit.respond(command.data)
        self._changed = True
        self._dialogue.hear(answered)
        return Response()

    def _envelope(self, command: Command) -> Response:
        tag, body = open_ber_tlv(command.data)
        self._changed = True
        if tag == SMS_PP_DOWNLOAD:
            return Response(self._receiver.receive(command.data))
        self._dialogue.notice(tag, body)
        return Response()

    def _compose_report(self, accounts: MultiAccount) -> bytes | None:
        return compose_report(accounts, self._state.iccid, self._state.ota)

    def _learn_sender(self, originator: str) -> None:
        """A packet of the home platform was accepted: reports go where it came from."""
        self._state.accounts.report_to = originator

    def _service_centre(self) -> str:
        return self._accounts.active.profile.smsc

    def _open_application(self, tar: bytes) -> Execute | None:
        """Who runs the commands of one secured packet; over the air, security conditions are met by the key set."""
        if tar == MULTI_ACCOUNT_TAR:
            return self._in_accounts
        if tar not in (RFM_UICC, RFM_USIM):
            return None
        session = Session(self._files.mf, self._asks_pin, {PIN1, ADM1})
        if tar == RFM_USIM:
            session.df = session.adf = self._files.usim
        return lambda command: self._run_remote(session, command)

    def _run_remote(self, session: Session, command: Command) -> Response:
        if not session.handles(command.ins):
            raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)
        response = session.execute(command)
        if session.changed:
            self._take_over_files()
            session.changed = False
        return response

    def _in_accounts_by_reader(self, command: Command) -> Response:
        if ADM1 not in self._channels.verified:
            raise StatusError(Sw.SECURITY_NOT_SATISFIED)
        response = self._in_accounts(command)
        if response.data:
            require_length(command, len(response.data))
        return response

    def _in_accounts(self, command: Command) -> Response:
        self._changed = True
        response = self._accounts.execute(command)
        self._dialogue.follow_slots()
        return response


_HANDLERS: dict[int, Callable[[Card, Command], Response]] = {
    **dict.fromkeys(CODE_INS, Card._use_code),
    AUTHENTICATE: Card._authenticate,
    0x10: Card._terminal_profile,
    FETCH: Card._fetch,
    GET_IDENTITY: Card._get_identity,
    0x14: Card._terminal_response,
    0xC2: Card._envelope,
}
