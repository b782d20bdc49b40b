"""Card readers under one link contract: every program reaches a card the same way, whatever it sits in."""

from simcard.readers.contract import CardFaultError, Link, LinkError
from simcard.readers.memory import MemoryLink

__all__ = ["CardFaultError", "Link", "LinkError", "MemoryLink"]
