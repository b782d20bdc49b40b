"""How a card begins: made new with a home profile, or opened where it is stored."""

from __future__ import annotations

from collections.abc import Iterable

from ota.profile import HOME_SLOT, MobileProfile
from ota.scp80.packet import KeySet
from simcard.uicc.card import Card
from simcard.uicc.codes import PUK1, PUK_TRIES, SecretCode, encode_code
from simcard.uicc.files import ADM1, PIN1
from simcard.uicc.key_management import OtaKeys
from simcard.uicc.multi_account import Accounts, make_slot
from simcard.uicc.store import CardFolder, CardState


def personalise(
    *,
    iccid: str,
    home: MobileProfile,
    ota: Iterable[KeySet],
    adm: str,
    pin: str | None = None,
    puk: str | None = None,
    atr: bytes = b"",
    store: CardFolder | None = None,
) -> Card:
    """Make a card: `home` in slot 0, each OTA key set under its key index, PIN1 asked for only when one is given.

    Codes are 4 to 8 digits or 16 hex digits (`encode_code`). `atr` replaces the usual `ATR`.
    With a `store` the card is stored before it is returned.
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
        atr=atr,
    )
    card = Card(state, store)
    card.save()
    return card


def open_card(store: CardFolder) -> Card:
    """The card stored in that folder; `LandfallError` when there is none."""
    return Card(store.load(), store)
