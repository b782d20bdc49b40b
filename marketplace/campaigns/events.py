"""A campaign followed live by server-sent events (WHATWG HTML §9.2): `job` is a card's change, `campaign` the counts.

    id: 4711
    event: job
    data: {"iccid": "8970…", "state": "delivered", …}

A follower that comes again names the last id (`after`, or the header Last-Event-ID). When the campaign has come to its
end, the last `campaign` says so and the stream ends. States of a packet on its way are told as they are when looked
at; one that passes quickly may be passed over, a final one never.
"""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

import msgspec
import structlog

from marketplace.campaigns.repository import list_changed, list_under_way
from marketplace.campaigns.schemas import CampaignView, JobState, JobView
from marketplace.campaigns.service import Campaigns
from marketplace.operator_database import Database, await_bell

LOOK_S: Final = 0.5
"""How late a change made by another process is told."""
PAGE: Final = 500
UNDER_WAY_MAX: Final = 200
"""Cards on their way whose every state is told: several windows' worth; of more only the ends are."""
OVERLAP: Final = 256
"""Numbers of changes read again: one may become visible after a later one, as many as transactions go at once."""
KEEP_ALIVE: Final = b":\n\n"
KEEP_ALIVE_LOOKS: Final = 20
"""Ten seconds, below what proxies take for dead."""
_ENCODE: Final = msgspec.json.Encoder().encode


async def stream_campaign(database: Database, campaigns: Campaigns, campaign: UUID, after: int) -> AsyncIterator[bytes]:
    """Changes past `after` and then each as it comes, until the campaign is at its end."""
    try:
        async for event in _follow(database, campaigns, campaign, after):
            yield event
    except Exception as error:  # the answer has begun, so nobody above could tell
        structlog.get_logger(__name__).error("events of a campaign broke off", campaign=str(campaign), exc_info=error)


async def _follow(database: Database, campaigns: Campaigns, campaign: UUID, after: int) -> AsyncIterator[bytes]:
    told: dict[int, tuple[JobState, int]] = {}
    seen: CampaignView | None = None
    silent = 0
    with database.listen() as bell:
        while True:
            shown = await campaigns.show(campaign)
            async with database.read() as connection:
                changed = await list_changed(connection, campaign, after - OVERLAP, PAGE + OVERLAP)
                under_way = await list_under_way(connection, campaign, UNDER_WAY_MAX)
            now = {job.id: (job.state, job.attempts) for job in [*changed, *under_way]}
            news = {job.id: job for job in [*changed, *under_way] if told.get(job.id) != now[job.id]}
            after = max([after, *(job.changed for job in changed)])
            told, silent = now, silent + 1
            if events := b"".join(_event("job", after, job) for job in news.values()):
                silent = 0
                yield events
            if len(changed) >= PAGE + OVERLAP:
                continue
            if shown != seen:
                seen, silent = shown, 0
                yield _event("campaign", after, shown)
            if shown.state in ("done", "cancelled") and not shown.counts.open:
                return
            if silent >= KEEP_ALIVE_LOOKS:
                silent = 0
                yield KEEP_ALIVE
            await await_bell(bell, LOOK_S)


def _event(name: str, number: int, value: JobView | CampaignView) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), _ENCODE(value))
