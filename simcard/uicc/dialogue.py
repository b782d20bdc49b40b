"""What the multi-account application says to the phone, and what it makes of what the phone says.

    begin    TERMINAL PROFILE: event list; with more than the home account: menu, poll timer, and where are we?
    poll     STATUS: where are we, if the phone has no timers
    hear     TERMINAL RESPONSE: a place, a choice, a report that has left
    notice   ENVELOPE: the timer has run out, the place has changed, the menu was opened

The account is chosen by hand in the SIM's menu: *Automatic*, or one of the slots. After each change of account, as soon
as there is service, a report goes to the home OTA platform (`ota.scp80.report`), so that it reaches the card under its
new number and SMSC; it is tried `REPORT_TRIES` times.
"""

from __future__ import annotations

from collections.abc import Callable

from ota.scp80.digits import DigitError, unpack_plmn
from simcard.uicc import toolkit
from simcard.uicc.apdu import StatusError, Sw
from simcard.uicc.multi_account import MultiAccount
from simcard.uicc.toolkit import (
    LIMITED_SERVICE,
    LOCATION_STATUS_EVENT,
    PERFORMED,
    Answered,
    Kind,
    Proactive,
    Tag,
    Toolkit,
    display_text,
    provide_location,
    read_comprehension_tlvs,
    select_item,
    send_short_message,
    set_up_event_list,
    set_up_menu,
    start_timer,
)

# Two polls a minute, as STATUS is sent by a phone that has nothing else to say (TS 102 223 §6.4.5).
POLL_S = 30
POLL_TIMER = 1
# A platform that cannot be reached now is not worth more messages of the person's money; the next change reports again.
REPORT_TRIES = 3

MENU_TITLE, CHOOSE = "Accounts", "Choose account"
CHOOSE_ITEM = 1
AUTOMATIC, AUTOMATIC_ITEM = "Automatic", 0x80
# Identifiers of items are not 0 (TS 102 223 §8.9), slots are.
FIRST_SLOT_ITEM = 1

NORMAL_SERVICE = 0x00


class Dialogue:
    """The application's side of one card session. `compose` makes the SMS-SUBMIT of a report, or None without keys."""

    def __init__(
        self, application: MultiAccount, queue: Toolkit, compose: Callable[[MultiAccount], bytes | None]
    ) -> None:
        self._application, self._toolkit, self._compose = application, queue, compose
        self._timer_runs = self._choosing = False
        self._report: Proactive | None = None
        self._tries = 0

    def begin(self, terminal_profile: bytes) -> None:
        """TERMINAL PROFILE (TS 31.111 §5.2)."""
        self._toolkit.begin(terminal_profile)
        self._toolkit.put(set_up_event_list(LOCATION_STATUS_EVENT))
        self._choosing = False
        self.follow_slots()
        self.ask_location()

    def poll(self) -> None:
        """STATUS of a phone."""
        if not self._timer_runs:
            self.ask_location()

    def follow_slots(self) -> None:
        """Menu and poll timer as long as there is a choice to make; a card with its home account alone is quiet."""
        if self._application.has_choice is not self._choosing:
            self._choosing = self._application.has_choice
            self._toolkit.put(set_up_menu(MENU_TITLE, {CHOOSE_ITEM: CHOOSE} if self._choosing else {}))
            if self._choosing and not self._timer_runs:
                self._toolkit.put(start_timer(POLL_TIMER, POLL_S))

    def ask_location(self) -> None:
        """Queue PROVIDE LOCAL INFORMATION when there is a choice to make, or a report to send."""
        if self._has_work:
            self._toolkit.put(provide_location())

    @property
    def _has_work(self) -> bool:
        return self._application.has_choice or self._application.accounts.report_due

    def hear(self, answered: Answered) -> None:
        """TERMINAL RESPONSE; raises `StatusError(6A80)` when it lacks what it must have."""
        done = PERFORMED <= answered.result < 0x10
        match answered.command.kind:
            case Kind.PROVIDE_LOCAL_INFORMATION if done:
                self._arrive(answered.fields, limited=answered.result == LIMITED_SERVICE)
            case Kind.TIMER_MANAGEMENT:
                self._timer_runs = done
            case Kind.SELECT_ITEM if done:
                self._take_choice(answered.fields.get(Tag.ITEM_IDENTIFIER, b""))
            case Kind.SEND_SHORT_MESSAGE if answered.command == self._report:
                self._report = None
                if done or self._tries >= REPORT_TRIES:
                    self._application.accounts.report_due = False

    def notice(self, tag: int, body: bytes) -> None:
        """An ENVELOPE other than SMS-PP DOWNLOAD; `StatusError` 6A81 for one nobody asked for, 6A80 when malformed."""
        fields = dict(read_comprehension_tlvs(body))
        match tag:
            case toolkit.TIMER_EXPIRATION:
                self._timer_runs = False
                if self._has_work:
                    self._toolkit.put(start_timer(POLL_TIMER, POLL_S))
                self.ask_location()
            case toolkit.MENU_SELECTION:
                self._open_menu(fields.get(Tag.ITEM_IDENTIFIER, b""))
            case toolkit.EVENT_DOWNLOAD if fields.get(Tag.EVENT_LIST) == bytes((LOCATION_STATUS_EVENT,)):
                if fields.get(Tag.LOCATION_STATUS) == bytes((NORMAL_SERVICE,)):
                    self._arrive(fields, limited=False)
                else:
                    self.ask_location()
            case _:
                raise StatusError(Sw.FUNCTION_NOT_SUPPORTED)

    def _arrive(self, fields: dict[int, bytes], *, limited: bool) -> None:
        try:
            plmn = unpack_plmn(fields.get(Tag.LOCATION_INFORMATION, b"")[:3])
        except DigitError:
            raise StatusError(Sw.WRONG_DATA) from None
        account = self._application.accounts.enabled
        self._application.on_location(plmn, limited=limited)
        if not limited and self._application.accounts.enabled == account:
            self._send_report()

    def _send_report(self) -> None:
        """Once there is service under the account that is reported."""
        accounts = self._application.accounts
        if not accounts.report_due or self._report or not self._toolkit.offers(Kind.SEND_SHORT_MESSAGE):
            return
        tpdu = self._compose(self._application)
        if tpdu is None:
            accounts.report_due = False
            return
        self._tries += 1
        self._report = send_short_message(tpdu, self._application.active.profile.smsc)
        self._toolkit.put(self._report)

    def _open_menu(self, item: bytes) -> None:
        if item != bytes((CHOOSE_ITEM,)):
            raise StatusError(Sw.WRONG_DATA)
        accounts = self._application.accounts
        items = {AUTOMATIC_ITEM: AUTOMATIC}
        for number, slot in sorted(accounts.slots.items()):
            items[number + FIRST_SLOT_ITEM] = slot.profile.spn or slot.profile.plmn
        default = accounts.enabled + FIRST_SLOT_ITEM if accounts.by_command else AUTOMATIC_ITEM
        self._toolkit.put(select_item(CHOOSE, items, default))

    def _take_choice(self, item: bytes) -> None:
        if len(item) != 1:
            raise StatusError(Sw.WRONG_DATA)
        if item[0] == AUTOMATIC_ITEM:
            self._application.choose_automatically()
            self._toolkit.put(display_text(AUTOMATIC))
            self.ask_location()
            return
        slot = self._application.accounts.slots.get(item[0] - FIRST_SLOT_ITEM)
        if slot is None:
            raise StatusError(Sw.WRONG_DATA)
        self._toolkit.put(display_text(slot.profile.spn or slot.profile.plmn))
        self._application.enable(item[0] - FIRST_SLOT_ITEM)
