"""A subscriber's card as staff see it: which account it uses, where it is reached, what its slots hold."""

from uuid import UUID

from msgspec import Struct

from marketplace.operator_database import Database, fetch
from marketplace.subscribers.reports import CardReports
from marketplace.subscribers.service import get_subscriber


class SlotView(Struct, frozen=True):
    """A slot, and the request whose profile it holds or is to hold."""

    slot: int
    state: str
    request: UUID


class CardView(Struct, frozen=True):
    """A card. `number` is where the next packet goes; `slot`, `plmn` and `smsc` are of its last report, None before.

    Away from home, `slot` is that of the account in use; 0 is home, and so is a slot that was deleted since.
    """

    iccid: str
    home_number: str
    number: str
    slot: int | None
    plmn: str | None
    smsc: str | None
    reported_ms: int | None
    slots: list[SlotView]

    def __repr__(self) -> str:
        return f"CardView(slot={self.slot}, plmn={self.plmn!r})"


async def view_card(database: Database, reports: CardReports, subscriber: UUID) -> CardView:
    """The card of a subscriber. Raises Refusal `not-found`."""
    async with database.read() as connection:
        iccid = (await get_subscriber(connection, subscriber)).iccid
        slots = await fetch(connection, SlotView, "SELECT * FROM card_slots WHERE iccid = :i ORDER BY slot", i=iccid)
    reach = await reports.find(iccid)
    return CardView(
        iccid=iccid,
        home_number=reach.home_number,
        number=reach.number,
        slot=reach.slot,
        plmn=reach.plmn,
        smsc=reach.smsc,
        reported_ms=reach.reported_ms,
        slots=slots,
    )
