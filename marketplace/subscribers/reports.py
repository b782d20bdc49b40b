"""Where cards are reached now: account reports, which cards send by themselves after each change of account.

    reports = CardReports(database, cards, subscribers.find_number)
    await reports.take("+971580001234", user_data)     # of a short message to us that is no proof of receipt
    number = await reports.find_number(iccid)          # where the next packet to that card goes

A report counts when its checksum is by the card's own key and its counter above that of the last one: one that is
forged, doubled, overtaken or played again changes nothing. None is answered, so nothing can be learned by trying.

A reported number holds as long as the slot still holds the profile that we put there. Slot 0 and a deleted slot mean
home, and the number we gave the subscriber. Reports get lost as all short messages may: a packet that was not brought
to the reported number goes to the home number at its next attempt, and so on in turn.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct
from prometheus_client import Counter

from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import Database, execute, fetch_one
from ota.outbox import OutboxError, PostgresOutbox
from ota.scp80.parameters import ScpError
from ota.scp80.report import decode_report, peek_report

NUMBER_MAX: Final = 16
"""+ and the 15 digits of E.164: what a message can be sent to."""
_taken = Counter("landfall_card_reports", "Messages cards sent by themselves, and what became of them", ["outcome"])

_STORE: Final = """
INSERT INTO card_reports (iccid, slot, plmn, fingerprint, number, smsc, counter, received_ms)
VALUES (:iccid, :slot, :plmn, :fingerprint, :number, :smsc, :counter, :now)
ON CONFLICT (iccid) DO UPDATE SET slot = excluded.slot, plmn = excluded.plmn, fingerprint = excluded.fingerprint,
    number = excluded.number, smsc = excluded.smsc, counter = excluded.counter, received_ms = excluded.received_ms
WHERE card_reports.counter < excluded.counter
"""
_REMEMBER: Final = """
INSERT INTO card_switches (iccid, counter, slot, request, received_ms)
SELECT said.iccid, :counter, said.slot, card_slots.request, :now
FROM (SELECT CAST(:iccid AS text) AS iccid, CAST(:slot AS int) AS slot) AS said LEFT JOIN card_slots
    ON card_slots.iccid = said.iccid AND card_slots.slot = said.slot AND card_slots.fingerprint = :fingerprint
ON CONFLICT DO NOTHING
"""
"""When the card was on whose profile: evidence, which is kept when the slot is long another's."""
_FIND: Final = """
SELECT CAST(:home AS text) AS home_number, report.slot, report.plmn, report.smsc, report.received_ms AS reported_ms,
    nullif(report.number, '') AS reported_number,
    EXISTS (SELECT FROM card_slots WHERE card_slots.iccid = report.iccid AND card_slots.slot = report.slot
        AND card_slots.fingerprint = report.fingerprint) AS holds,
    coalesce((SELECT attempts FROM ota_packets WHERE ota_packets.iccid = :iccid
        ORDER BY prepared_at DESC, counter DESC LIMIT 1), 0) AS attempts
FROM (SELECT) AS always LEFT JOIN card_reports AS report ON report.iccid = :iccid
"""


class Reach(Struct, frozen=True):
    """Where a card is, as it last said itself; `slot`, `plmn`, `smsc` and `reported_*` are None before it ever did.

    `holds`: the slot still has the profile that the report is about, so that the reported number is the card's.
    """

    home_number: str
    slot: int | None
    plmn: str | None
    smsc: str | None
    reported_number: str | None
    reported_ms: int | None
    holds: bool
    attempts: int

    @property
    def number(self) -> str:
        """The number the card has now, as far as is known."""
        return self.reported_number if self.holds and self.reported_number else self.home_number

    def __repr__(self) -> str:
        return f"Reach(slot={self.slot}, plmn={self.plmn!r}, holds={self.holds})"


class CardReports:
    """Takes reports, and answers where a card is; `find_home(iccid)` is the number we gave its subscriber."""

    def __init__(self, database: Database, cards: PostgresOutbox, find_home: Callable[[str], Awaitable[str]]) -> None:
        self._database, self._cards, self._find_home = database, cards, find_home
        self._log = structlog.get_logger(__name__)

    async def take(self, sender: str, user_data: bytes) -> None:
        """Judge what a card sent from `sender` and store it; returns when it is durable, or known to be nothing."""
        try:
            outcome = await self._take(sender, user_data)
        except (ScpError, OutboxError) as error:
            outcome = "refused"
            self._log.warning("a message is no report of a card of ours", why=str(error))
        _taken.labels(outcome).inc()

    async def _take(self, sender: str, user_data: bytes) -> str:
        iccid, kid = peek_report(user_data)
        card = await self._cards.card(iccid, key_index=kid.key_index)
        report = decode_report(user_data, card.keys)
        number = report.msisdn or sender
        if not (number.removeprefix("+").isdigit() and len(number) <= NUMBER_MAX):
            number = ""
        async with self._database.begin() as connection:
            stored = await execute(
                connection,
                _STORE,
                iccid=report.iccid,
                slot=report.slot,
                plmn=report.plmn,
                fingerprint=report.fingerprint,
                number=number,
                smsc=report.smsc,
                counter=report.counter,
                now=now_ms(),
            )
            if stored:
                await execute(
                    connection,
                    _REMEMBER,
                    iccid=report.iccid,
                    counter=report.counter,
                    slot=report.slot,
                    fingerprint=report.fingerprint,
                    now=now_ms(),
                )
        return "stored" if stored else "old"

    async def find(self, iccid: str) -> Reach:
        """What is known of a card. Raises Refusal `not-found`."""
        home = await self._find_home(iccid)
        async with self._database.read() as connection:
            found = await fetch_one(connection, Reach, _FIND, iccid=iccid, home=home)
        assert found is not None, "the join is an outer one"
        return found

    async def find_number(self, iccid: str) -> str:
        """The number for the attempt that begins now. Raises Refusal `not-found`."""
        reach = await self.find(iccid)
        return reach.home_number if reach.attempts % 2 == 0 and reach.attempts else reach.number
