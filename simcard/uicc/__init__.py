"""A software UICC: APDUs, file system, USIM, authentication, toolkit, and the multi-account application.

`personalise` makes a card, `open_card` opens a stored one, `Card.transmit` is its whole electrical interface.
"""

from simcard.uicc.card import Card
from simcard.uicc.making import open_card, personalise
from simcard.uicc.store import CardFolder

__all__ = ["Card", "CardFolder", "open_card", "personalise"]
