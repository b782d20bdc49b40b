"""The multi-account application: several mobile profiles on one card, one of them enabled (slots and commands:
`ota.profile`).

Slot 0 is the home profile and is never overwritten or deleted. Slots are written, deleted, enabled and listed by the
application's own APDUs, which arrive over the air for its TAR or from a reader with ADM verified.

How it chooses, as things are in reality: without an agreement the visited network refuses the home IMSI, and location
events stay silent in a phone without service. So the application asks: by a timer, or at every STATUS where the phone
has none, it queues PROVIDE LOCAL INFORMATION (`dialogue.py`), and `on_location` decides.

1. In the home country, or where no slot covers, the home profile.
2. Else the lowest slot whose coverage names the PLMN or the country, unless it failed here before.
3. A slot that has found no full service for `DWELL_POLLS` polls has failed in this country; the next one is tried,
   and at last the home profile. What failed is forgotten when the country changes.
4. A slot enabled by command stays until the country changes or it fails.

A change of account rewrites the identity files, clears FPLMN, LOCI and keys (`identity.write_identity`) and issues
REFRESH.
"""

from __future__ import annotations

from functools import cached_property

import msgspec

from ota.profile import (
    CLA_MULTI_ACCOUNT,
    FINGERPRINT_BYTES,
    HOME_SLOT,
    INS_DELETE_SLOT,
    INS_ENABLE_SLOT,
    INS_LIST_SLOTS,
    INS_STORE_SLOT,
    LAST_BLOCK,
    SLOTS_MAX,
    MobileProfile,
    ProfileError,
    SlotEntry,
    encode_slot_list,
    fingerprint,
)
from simcard.uicc.algorithms import Algorithm, choose_algorithm
from simcard.uicc.apdu import Command, Response, StatusError, Sw
from simcard.uicc.authentication import IND_BITS, SLOTS, SequenceArray
from simcard.uicc.identity import read_identity, write_identity
from simcard.uicc.key_files import amend_keys
from simcard.uicc.toolkit import Toolkit, refresh
from simcard.uicc.tree import CardFiles

# A phone needs two or three polls (30 s each) from a new IMSI to full service; fewer would give up a good account.
DWELL_POLLS = 3
# A slot TLV with every field at its longest is below 600 octets; a writer that never ends must not fill the card.
SLOT_TLV_MAX = 1024


class Slot(msgspec.Struct, dict=True):
    """An account: its slot TLV as received, and the sequence numbers used with its K. `tlv` never changes."""

    tlv: bytes
    sequence: SequenceArray

    def __repr__(self) -> str:
        return "Slot(…)"

    @cached_property
    def profile(self) -> MobileProfile:
        """The profile, decoded."""
        return MobileProfile.from_slot_tlv(self.tlv)

    @cached_property
    def algorithm(self) -> Algorithm:
        """What answers its network's challenges."""
        profile = self.profile
        return choose_algorithm(profile.algorithm, profile.k, profile.opc)


class Accounts(msgspec.Struct):
    """What the application remembers: slots by number, the enabled one, how the choice stands, and its reports.

    `report_to` is where they go: the address the last accepted packet came from. `reports` counts them.
    """

    slots: dict[int, Slot]
    enabled: int = HOME_SLOT
    country: str = ""
    failed: list[int] = []
    polls_without_service: int = 0
    by_command: bool = False
    report_due: bool = False
    report_to: str = ""
    reports: int = 0


def make_slot(tlv: bytes, before: Slot | None = None) -> Slot:
    """A slot from its TLV. With the K of the one before it keeps its sequence numbers. Raises `ProfileError`."""
    slot = Slot(tlv, SequenceArray())
    start = slot.profile.sqn >> IND_BITS
    slot.sequence.seq = [start] * SLOTS
    if before and before.profile.k == slot.profile.k:
        slot.sequence.seq = [max(start, seq) for seq in before.sequence.seq]
    return slot


class MultiAccount:
    """The application on one card: changes `accounts` and the files, speaks to the phone through `toolkit`."""

    def __init__(self, accounts: Accounts, files: CardFiles, toolkit: Toolkit) -> None:
        self.accounts, self._files, self._toolkit = accounts, files, toolkit
        self._blocks: list[bytes] = []
        self._writing = HOME_SLOT

    @property
    def active(self) -> Slot:
        """The enabled slot."""
        return self.accounts.slots[self.accounts.enabled]

    def execute(self, command: Command) -> Response:
        """One of the application's commands; raises `StatusError` as `ota.profile` lists them."""
        if command.cla != CLA_MULTI_ACCOUNT:
            raise StatusError(Sw.CLASS_NOT_SUPPORTED)
        if command.ins == INS_LIST_SLOTS:
            return Response(encode_slot_list(self._entries()))
        if command.ins == INS_STORE_SLOT:
            self._store(command)
        elif command.ins == INS_DELETE_SLOT:
            self._delete(command.p1)
        elif command.ins == INS_ENABLE_SLOT:
            self.enable(command.p1)
        else:
            raise StatusError(Sw.INSTRUCTION_NOT_SUPPORTED)
        return Response()

    def write_keys(self, offset: int, data: bytes) -> None:
        """A provisioning tool has written into a key file: the home account has these keys now."""
        self._amend_home(amend_keys(self.accounts.slots[HOME_SLOT].profile, offset, data))

    def take_over_files(self) -> None:
        """Files were written from outside: while the home account is enabled, it is what they say."""
        if self.accounts.enabled == HOME_SLOT:
            home = self.accounts.slots[HOME_SLOT].profile
            if (now := read_identity(self._files, home)) != home:
                self._amend_home(now)

    def _amend_home(self, profile: MobileProfile) -> None:
        slots = self.accounts.slots
        slots[HOME_SLOT] = make_slot(profile.to_slot_tlv(), slots[HOME_SLOT])

    @property
    def has_choice(self) -> bool:
        """Whether there is more than the home account."""
        return len(self.accounts.slots) > 1

    def choose_automatically(self) -> None:
        """From the next location on, the place decides again, and every account has another chance."""
        self.accounts.by_command, self.accounts.failed, self.accounts.polls_without_service = False, [], 0

    def enable(self, slot: int) -> None:
        """Make `slot` the account until the country changes or it fails; `StatusError(6A83)` when it is empty."""
        if slot not in self.accounts.slots:
            raise StatusError(Sw.RECORD_NOT_FOUND)
        self.accounts.by_command = True
        self._switch(slot)

    def on_location(self, plmn: str, *, limited: bool) -> None:
        """Decide which account is right where the phone is. `limited`: the phone has no full service there."""
        state = self.accounts
        if plmn[:3] != state.country:
            state.country, state.failed, state.by_command, state.polls_without_service = plmn[:3], [], False, 0
        state.polls_without_service = state.polls_without_service + 1 if limited else 0
        if state.enabled != HOME_SLOT and state.polls_without_service >= DWELL_POLLS:
            state.failed.append(state.enabled)
            state.by_command = False
        if not state.by_command:
            self._switch(self._choose(plmn))

    def _choose(self, plmn: str) -> int:
        slots, country = self.accounts.slots, plmn[:3]
        if country == slots[HOME_SLOT].profile.plmn[:3]:
            return HOME_SLOT
        usable = [n for n in sorted(slots) if n != HOME_SLOT and n not in self.accounts.failed]
        coverage = {n: slots[n].profile.coverage for n in usable}
        exact = (n for n in usable if plmn in coverage[n] or country in coverage[n])
        nearby = (n for n in usable if any(entry.startswith(country) for entry in coverage[n]))
        return next(exact, next(nearby, HOME_SLOT))

    def _switch(self, slot: int) -> None:
        if slot != self.accounts.enabled:
            self.accounts.enabled = slot
            self._become_active()

    def _become_active(self) -> None:
        self.accounts.polls_without_service, self.accounts.report_due = 0, True
        write_identity(self._files, self.active.profile)
        self._toolkit.put(refresh())

    def _store(self, command: Command) -> None:
        slot, block = command.p1, command.p2 & ~LAST_BLOCK
        if not HOME_SLOT < slot < SLOTS_MAX:
            raise StatusError(Sw.RECORD_NOT_FOUND)
        if block == 0:
            self._blocks, self._writing = [], slot
        if slot != self._writing or block != len(self._blocks):
            raise StatusError(Sw.WRONG_P1_P2)
        self._blocks.append(command.data)
        tlv = b"".join(self._blocks)
        if len(tlv) > SLOT_TLV_MAX:
            self._blocks, self._writing = [], HOME_SLOT
            raise StatusError(Sw.NO_SPACE)
        if command.p2 & LAST_BLOCK:
            self._blocks, self._writing = [], HOME_SLOT
            self._write(slot, tlv)

    def _write(self, slot: int, tlv: bytes) -> None:
        try:
            made = make_slot(tlv, self.accounts.slots.get(slot))
        except ProfileError:
            raise StatusError(Sw.WRONG_DATA) from None
        self.accounts.slots[slot] = made
        if slot in self.accounts.failed:
            self.accounts.failed.remove(slot)
        if slot == self.accounts.enabled:
            self._become_active()

    def _delete(self, slot: int) -> None:
        if not HOME_SLOT < slot < SLOTS_MAX:
            raise StatusError(Sw.RECORD_NOT_FOUND)
        if slot == self.accounts.enabled:
            self._switch(HOME_SLOT)
        self.accounts.slots.pop(slot, None)

    def mark(self, slot: int) -> bytes:
        """Fingerprint of a slot's TLV; zeros for slot 0, whose TLV nobody has sent."""
        return bytes(FINGERPRINT_BYTES) if slot == HOME_SLOT else fingerprint(self.accounts.slots[slot].tlv)

    def _entries(self) -> list[SlotEntry]:
        state = self.accounts
        return [
            SlotEntry(number, number == state.enabled, slot.profile.plmn, self.mark(number))
            for number, slot in sorted(state.slots.items())
        ]
