"""Card readers under one link contract: every program reaches a card the same way, whatever it sits in.

`open_link(LinkOptions(…))` is the way in; `VpcdServer` is the way round, our card in everybody else's reader.
"""

from simcard.readers.contract import CardFaultError, Link, LinkError
from simcard.readers.memory import MemoryLink
from simcard.readers.modem import ModemLink
from simcard.readers.options import LinkOptions, open_link
from simcard.readers.pcsc import PcscLink, list_readers
from simcard.readers.vpcd import VpcdServer

__all__ = [
    "CardFaultError",
    "Link",
    "LinkError",
    "LinkOptions",
    "MemoryLink",
    "ModemLink",
    "PcscLink",
    "VpcdServer",
    "list_readers",
    "open_link",
]
