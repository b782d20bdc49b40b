"""The software UICC: bytes of a command APDU in, bytes of a response APDU out.

    card = personalise(iccid=…, home=profile, ota={1: key_set}, adm="12345678")     # or open_card(CardFolder(path))
    card.reset()                                     # the ATR
    card.transmit(bytes.fromhex("00A40004023F00"))   # 61xx: fetch the FCP with GET RESPONSE, as T=0 wants it

What happens to each APDU:

1. It is parsed (`apdu.py`); what cannot be is answered 6700.
2. An instruction goes to the file session (`session.py`), the secret codes, AUTHENTICATE, the toolkit, or, while the
   multi-account application is selected and ADM verified, to that one.
3. If anything lasting changed (a file, a retry counter, a sequence number, a slot, an OTA counter), the whole state is
   stored *before* the answer leaves; where that fails the answer is 6581.
4. T=0 shapes the answer: data of a command that carried data waits for GET RESPONSE (`61xx`); a normal ending becomes
   `91xx` while a proactive command waits.

K, OPc and OTA keys are in no file and no answer. There is one channel: a class byte with another is answered 6E00.
`transmit` never raises, whatever bytes it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ota.profile import (
    HOME_SLOT,
    INS_DELETE_SLOT,
    INS_ENABLE_SLOT,
    INS_LIST_SLOTS,
    INS_STORE_SLOT,
    MULTI_ACCOUNT_AID,
    MULTI_ACCOUNT_TAR,
    MobileProfile,
)
from ota.scp80.digits import DigitError, unpack_plmn
from ota.scp80.packet import KeySet
from simcard.uicc.algorithms import NoAkaError, answer_gsm, require_aka
from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.authentication import ResyncNeeded, answer_challenge
from simcard.uicc.codes import CODE_INS, PUK1, PUK_TRIES, SecretCode, encode_code, execute_code_command
from simcard.uicc.files import ADM1, PIN1
from simcard.uicc.multi_account import Accounts, MultiAccount, make_slot
from simcard.uicc.over_the_air import RFM_UICC, RFM_USIM, Execute, OtaKeys, Receiver
from simcard.uicc.session import READ_BINARY, READ_RECORD, SELECT, STATUS, Session, require_length
from simcard.uicc.store import CardFolder, CardState
from simcard.uicc.toolkit import (
    LIMITED_SERVICE,
    PERFORMED,
    SMS_PP_DOWNLOAD,
    Kind,
    Tag,
    Toolkit,
    open_ber_tlv,
)
from simcard.uicc.usim import build_files, write_identity

# The ATR of a sysmoISIM-SJA2: tools that know it speak class 00 to the card and find the files they expect.
ATR = bytes.fromhex("3B9F96801F878031E073FE211B674A4C753034054BA9")

GET_RESPONSE, FETCH = 0xC0, 0x12
# Instructions whose P3 is a length expected, so that T=0 answers them with data at once.
OUTGOING_INS = frozenset({READ_BINARY, READ_RECORD, STATUS, FETCH})
APPLICATION_INS = frozenset({INS_STORE_SLOT, INS_DELETE_SLOT, INS_ENABLE_SLOT, INS_LIST_SLOTS})

GSM_CONTEXT, UMTS_CONTEXT = 0x80, 0x81
RAND_LENGTH = AUTN_LENGTH = 16


class Card:
    """One card. `state` is taken over and changed; with a `store`, each change is stored there first."""

    def __init__(self, state: CardState, store: CardFolder | None = None) -> None:
        self._state, self._store = state, store
        self._mf, self._usim = build_files(state.iccid)
        for path, ef in self._mf.walk():
            ef.content = state.files.get(path, ef.content)
        if not state.files:
            write_identity(self._usim, state.accounts.slots[state.accounts.enabled].profile)
        self._changed = False
        self.reset()

    def reset(self) -> bytes:
        """Power on or reset: forgets selection, verified codes and the toolkit. Returns the ATR."""
        self._toolkit = Toolkit()
        self._session = Session(self._mf, self._asks_pin)
        self._accounts = MultiAccount(self._state.accounts, self._usim, self._toolkit)
        self._receiver = Receiver(self._state.ota, self._toolkit, self._open_application)
        self._in_application = False
        self._waiting = b""
        return ATR

    def transmit(self, raw: bytes) -> bytes:
        """One command APDU in, response data and status word out."""
        try:
            response = self._dispatch(Command.parse(raw))
        except StatusError as error:
            response = Response(sw=error.sw)
        if self._changed or self._session.changed:
            try:
                self.save()
            except OSError:
                self._waiting = b""
                response = Response(sw=Sw.MEMORY_PROBLEM)
        return response.encode()

    def save(self) -> None:
        """Store the state, if there is a store. `OSError` when that fails; the next change tries again."""
        if self._store:
            self._state.files = {path: ef.content for path, ef in self._mf.walk()}
            self._store.save(self._state)
        self._changed = self._session.changed = False

    def _dispatch(self, command: Command) -> Response:
        if command.cla not in (0x00, 0x80):
            raise StatusError(Sw.CLASS_NOT_SUPPORTED)
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

    def _handle(self, command: Command) -> Response:
        if command.ins == SELECT:
            return self._select(command)
        if self._in_application and command.ins in APPLICATION_INS:
            return self._in_accounts_by_reader(command)
        if handler := _HANDLERS.get(command.ins):
            return handler(self, command)
        if not self._session.handles(command.ins):
            raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)
        if command.ins == STATUS:
            self._accounts.ask_location()
        return self._session.execute(command)

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
            self._in_application = True
            return Response()
        response = self._session.execute(command)
        self._in_application = False
        return response

    def _asks_pin(self) -> bool:
        return self._state.codes[PIN1].enabled

    def _use_code(self, command: Command) -> Response:
        """VERIFY and its kin; the counters they move are stored whatever comes of it."""
        self._changed = True
        return execute_code_command(command, self._state.codes, self._session.verified)

    def _authenticate(self, command: Command) -> Response:
        """AUTHENTICATE (TS 31.102 §7.1.2): in the USIM, after PIN, with the enabled account's keys."""
        if self._session.adf is None or command.p1:
            raise StatusError(Sw.CONDITIONS_NOT_SATISFIED)
        if PIN1 not in self._session.verified and self._asks_pin():
            raise StatusError(Sw.SECURITY_NOT_SATISFIED)
        slot = self._accounts.active
        algorithm = slot.algorithm
        rand, rest = _take(command.data, RAND_LENGTH)
        if command.p2 == GSM_CONTEXT and not rest:
            sres, kc = answer_gsm(algorithm, rand)
            return Response(_counted(sres) + _counted(kc))
        if command.p2 != UMTS_CONTEXT:
            raise StatusError(Sw.WRONG_P1_P2)
        autn, rest = _take(rest, AUTN_LENGTH)
        if rest:
            raise StatusError(Sw.WRONG_DATA)
        try:
            answer = answer_challenge(require_aka(algorithm), slot.sequence, rand, autn)
        except NoAkaError:
            raise StatusError(Sw.AUTHENTICATION_CONTEXT_NOT_SUPPORTED) from None
        if isinstance(answer, ResyncNeeded):
            return Response(b"\xdc" + _counted(answer.auts))
        self._changed = True
        return Response(b"\xdb" + b"".join(map(_counted, (answer.res, answer.ck, answer.ik, answer.kc))))

    def _terminal_profile(self, command: Command) -> Response:
        self._toolkit.active = True
        self._accounts.ask_location()
        return Response()

    def _fetch(self, command: Command) -> Response:
        return Response(self._toolkit.fetch(command.le or 0))

    def _terminal_response(self, command: Command) -> Response:
        answered = self._toolkit.respond(command.data)
        place = answered.fields.get(Tag.LOCATION_INFORMATION, b"")
        if answered.command.kind is Kind.PROVIDE_LOCAL_INFORMATION and PERFORMED <= answered.result < 0x10:
            try:
                plmn = unpack_plmn(place[:3])
            except DigitError:
                raise StatusError(Sw.WRONG_DATA) from None
            self._accounts.on_location(plmn, limited=answered.result == LIMITED_SERVICE)
            self._changed = True
        return Response()

    def _envelope(self, command: Command) -> Response:
        tag, _ = open_ber_tlv(command.data)
        if tag != SMS_PP_DOWNLOAD:
            raise StatusError(Sw.FUNCTION_NOT_SUPPORTED)
        self._changed = True
        return Response(self._receiver.receive(command.data))

    def _open_application(self, tar: bytes) -> Execute | None:
        """Who runs the commands of one secured packet; over the air, security conditions are met by the key set."""
        if tar == MULTI_ACCOUNT_TAR:
            return self._in_accounts
        if tar not in (RFM_UICC, RFM_USIM):
            return None
        session = Session(self._mf, self._asks_pin)
        session.verified |= {PIN1, ADM1}
        if tar == RFM_USIM:
            session.df = session.adf = self._usim
        return lambda command: self._run_remote(session, command)

    def _run_remote(self, session: Session, command: Command) -> Response:
        if not session.handles(command.ins):
            raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)
        return session.execute(command)

    def _in_accounts_by_reader(self, command: Command) -> Response:
        if ADM1 not in self._session.verified:
            raise StatusError(Sw.SECURITY_NOT_SATISFIED)
        response = self._in_accounts(command)
        if response.data:
            require_length(command, len(response.data))
        return response

    def _in_accounts(self, command: Command) -> Response:
        self._changed = True
        return self._accounts.execute(command)


_HANDLERS: dict[int, Callable[[Card, Command], Response]] = {
    **dict.fromkeys(CODE_INS, Card._use_code),
    0x88: Card._authenticate,
    0x10: Card._terminal_profile,
    FETCH: Card._fetch,
    0x14: Card._terminal_response,
    0xC2: Card._envelope,
}


def personalise(
    *,
    iccid: str,
    home: MobileProfile,
    ota: Iterable[KeySet],
    adm: str,
    pin: str | None = None,
    puk: str | None = None,
    store: CardFolder | None = None,
) -> Card:
    """Make a card: `home` in slot 0, each OTA key set under its key index, PIN1 asked for only when one is given.

    Codes are 4 to 8 digits or 16 hex digits (`encode_code`). With a `store` the card is stored before it is returned.
    Raises `ValueError` (`ProfileError`) for values that do not fit.
    """
    codes = {
        ADM1: SecretCode(encode_code(adm)),
        PIN1: SecretCode(encode_code(pin or "0000"), enabled=pin is not None),
    }
    if puk is not None:
        codes[PUK1] = SecretCode(encode_code(puk), limit=PUK_TRIES, tries=PUK_TRIES)
    state = CardState(
        iccid=iccid,
        codes=codes,
        ota={keys.kic.key_index: OtaKeys(keys) for keys in ota},
        accounts=Accounts({HOME_SLOT: make_slot(home.to_slot_tlv())}),
    )
    card = Card(state, store)
    card.save()
    return card


def open_card(store: CardFolder) -> Card:
    """The card stored in that folder; `LandfallError` when there is none."""
    return Card(store.load(), store)


def _take(data: bytes, length: int) -> tuple[bytes, bytes]:
    """A field preceded by its length, which must be `length`, and what follows it."""
    if len(data) <= length or data[0] != length:
        raise StatusError(Sw.WRONG_DATA)
    return data[1 : 1 + length], data[1 + length :]


def _counted(value: bytes) -> bytes:
    return bytes((len(value),)) + value
