"""How the multi-account application chooses where the phone is."""

from __future__ import annotations

import msgspec
import pytest

from ota.profile import MobileProfile
from simcard.uicc.multi_account import DWELL_POLLS, Accounts, MultiAccount, make_slot
from simcard.uicc.toolkit import Toolkit
from simcard.uicc.tree import CardFiles


def make_profile(plmn: str, *coverage: str) -> MobileProfile:
    return MobileProfile(
        imsi=f"{plmn}1234567890"[:15],
        k=bytes(16),
        opc=bytes(16),
        plmn=plmn,
        spn="Net",
        acc=1,
        smsc="+79990000000",
        coverage=coverage,
    )


def make_application(*profiles: MobileProfile) -> MultiAccount:
    slots = {number: make_slot(profile.to_slot_tlv()) for number, profile in enumerate(profiles)}
    return MultiAccount(Accounts(slots), CardFiles("8970199000000000017"), Toolkit())


HOME = make_profile("25099", "250")


@pytest.mark.parametrize(
    ("place", "slot"),
    [
        ("25001", 0),  # home country, whichever network
        ("26202", 1),  # named by slot 1
        ("26201", 2),  # named by slot 2 before the country wildcard of slot 3
        ("26203", 3),  # the country of slot 3
        ("23210", 4),  # a network slot 4 does not name, in the country of one it does
        ("20801", 0),  # nobody covers it
    ],
)
def test_the_first_slot_that_covers_the_place_is_taken(place: str, slot: int) -> None:
    application = make_application(
        HOME,
        make_profile("26202", "26202"),
        make_profile("26201", "26201"),
        make_profile("26203", "262"),
        make_profile("23201", "23201"),
    )
    application.on_location(place, limited=True)
    assert application.accounts.enabled == slot


def test_a_slot_is_taken_even_where_the_home_profile_has_service() -> None:
    application = make_application(HOME, make_profile("26201", "262"))
    application.on_location("26202", limited=False)
    assert application.accounts.enabled == 1


def test_a_slot_without_service_is_left_after_the_dwell_and_forgiven_in_another_country() -> None:
    application = make_application(HOME, make_profile("26201", "262", "232"))
    for _ in range(DWELL_POLLS):
        application.on_location("26201", limited=True)
        assert application.accounts.enabled == 1
    application.on_location("26201", limited=True)
    assert application.accounts.enabled == 0
    application.on_location("26201", limited=True)
    assert application.accounts.enabled == 0
    application.on_location("23201", limited=True)
    assert application.accounts.enabled == 1


def test_a_moment_of_service_begins_the_dwell_anew() -> None:
    application = make_application(HOME, make_profile("26201", "262"))
    for limited in (True, True, True, False, True, True):
        application.on_location("26201", limited=limited)
    assert application.accounts.enabled == 1


def test_a_key_stored_again_keeps_its_sequence_numbers_whatever_its_imsi() -> None:
    tlv = make_profile("26201", "262").to_slot_tlv()
    used = make_slot(tlv)
    used.sequence.accept(9 << 5)
    assert make_slot(tlv, used).sequence.highest == 9 << 5
    same_key = make_profile("26202", "262")
    assert make_slot(same_key.to_slot_tlv(), used).sequence.highest == 9 << 5
    other = msgspec.structs.replace(same_key, k=bytes(range(16)))
    assert make_slot(other.to_slot_tlv(), used).sequence.highest == 0
