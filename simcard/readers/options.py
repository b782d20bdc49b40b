"""Which card a program means, in osmocom pySim's words, and the link to it.

    with open_link(LinkOptions(pcsc_device=0)) as link:          # -p 0
        link.reset_card()

Exactly one of `card` (the folder of a software card), `pcsc_device`, `pcsc_regex` and `modem_device` is given. The link
is connected when it is handed out, and let go, with the folder's lock, at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from landfall.errors import LandfallError
from simcard.readers.contract import Link
from simcard.readers.memory import MemoryLink
from simcard.readers.modem import BAUD, ModemLink
from simcard.readers.pcsc import PcscLink
from simcard.uicc import CardFolder, open_card

# Long enough to put a card in, short enough for a script to end.
CARD_WAIT_S = 30.0


class LinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One card: a folder, the PC/SC reader of that number, the first reader whose name matches the expression, or the
    modem at a serial line.
    """

    card: Path | None = None
    pcsc_device: int | None = None
    pcsc_regex: str | None = None
    pcsc_shared: bool = False
    modem_device: Path | None = None
    modem_baud: int = BAUD

    def __post_init__(self) -> None:
        ways = ("card", "pcsc_device", "pcsc_regex", "modem_device")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) != 1:
            told = "two at once were named" if given else "none was named"
            raise LandfallError(
                f"which card? {told}; give one of --card FOLDER, -p NUMBER, --pcsc-regex NAME or --modem-device LINE "
                "(`landfall sim readers` lists the readers)"
            )


@contextmanager
def open_link(options: LinkOptions, *, wait_s: float = CARD_WAIT_S, new_card: bool = False) -> Iterator[Link]:
    """A connected link to that card, or with `new_card` to the next one that is put into the reader.

    `LandfallError` where there is no such folder or reader, or no card in time.
    """
    if options.card is None:
        link: Link
        if options.modem_device is not None:
            link = ModemLink(options.modem_device, options.modem_baud)
        else:
            link = PcscLink(options.pcsc_device, regex=options.pcsc_regex, shared=options.pcsc_shared)
        link.wait_for_card(wait_s, newcardonly=new_card)
        link.connect()
        try:
            yield link
        finally:
            link.disconnect()
        return
    if not options.card.is_dir():
        raise LandfallError(f"there is no card in {options.card}; make one with `landfall sim new`")
    with CardFolder(options.card) as store:
        link = MemoryLink(open_card(store))
        link.connect()
        yield link
