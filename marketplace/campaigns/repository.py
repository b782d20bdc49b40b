"""Queries on templates, campaigns and jobs."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.campaigns.schemas import CampaignRow, Counts, JobRow, JobView
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import execute, fetch, fetch_one, scalar

_STATE: Final = """
CASE WHEN j.state <> 'sending' THEN j.state
     WHEN p.id IS NULL OR p.attempts = 0 THEN 'queued'
     WHEN p.outcome IS NOT NULL THEN 'unknown'
     WHEN p.delivered_at IS NOT NULL THEN 'delivered'
     ELSE 'sent' END
"""
_JOBS: Final = f"""
SELECT j.id, j.campaign, c.name, j.iccid, {_STATE} AS state, j.state NOT IN ('queued', 'sending') AS final,
       j.attempts, j.due_ms, coalesce(j.words, p.outcome ->> 'words') AS words, j.packet, j.changed, j.changed_ms
FROM ota_jobs j JOIN ota_campaigns c ON c.id = j.campaign LEFT JOIN ota_packets p ON p.id = j.packet
"""  # noqa: S608 - constants
_CHANGED: Final = "changed = nextval('ota_changes'), changed_ms = :now"


async def insert_campaign(connection: AsyncConnection, row: CampaignRow) -> None:
    """Enter a campaign."""
    fields = msgspec.structs.asdict(row)
    names = ", ".join(fields)
    places = ", ".join(f":{name}" for name in fields)
    await execute(connection, f"INSERT INTO ota_campaigns ({names}) VALUES ({places})", **fields)  # noqa: S608


async def find_campaign(connection: AsyncConnection, campaign: UUID, *, lock: bool = False) -> CampaignRow | None:
    """One campaign; locked until the transaction's end on demand."""
    sql = "SELECT * FROM ota_campaigns WHERE id = :id" + (" FOR UPDATE" if lock else "")  # noqa: S608 - constants
    return await fetch_one(connection, CampaignRow, sql, id=campaign)


async def list_campaigns(connection: AsyncConnection, state: str | None, limit: int) -> list[CampaignRow]:
    """The newest campaigns first; single jobs are not among them."""
    where = "NOT single" + (" AND state = :state" if state else "")
    sql = f"SELECT * FROM ota_campaigns WHERE {where} ORDER BY created_ms DESC, id LIMIT :limit"  # noqa: S608
    return await fetch(connection, CampaignRow, sql, limit=limit, **({"state": state} if state else {}))


async def set_campaign(connection: AsyncConnection, campaign: UUID, state: str) -> None:
    """Change a campaign's state; one that ends notes when."""
    await execute(
        connection,
        "UPDATE ota_campaigns SET state = :state, ended_ms = CAST(:ended AS bigint) WHERE id = :id",
        id=campaign,
        state=state,
        ended=now_ms() if state in ("done", "cancelled") else None,
    )


async def insert_jobs(connection: AsyncConnection, campaign: UUID, cards: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """Enter (ICCID, values as JSON) in order; how many are new, and how many of the new have no key set here."""
    rows = await fetch(
        connection,
        _Iccid,
        "INSERT INTO ota_jobs (campaign, iccid, given, changed_ms)"
        " SELECT :campaign, iccid, given, :now"
        " FROM unnest(CAST(:iccids AS text[]), CAST(:given AS text[])) WITH ORDINALITY AS card (iccid, given, place)"
        " ORDER BY place ON CONFLICT DO NOTHING RETURNING iccid",
        campaign=campaign,
        iccids=[iccid for iccid, _ in cards],
        given=[given for _, given in cards],
        now=now_ms(),
    )
    known = await scalar(
        connection,
        "SELECT count(*) FROM ota_cards WHERE iccid = ANY(CAST(:iccids AS text[]))",
        iccids=[row.iccid for row in rows],
    )
    return len(rows), len(rows) - known


class _Iccid(Struct, frozen=True):
    iccid: str


async def claim_jobs(
    connection: AsyncConnection, campaign: UUID, *, running: Sequence[int], begin: bool, limit: int
) -> list[JobRow]:
    """Jobs that are due, `sending` from now on; without `begin` only those that are already.

    A card's jobs go in the order they were made: one waits while an earlier one is sending, or is queued in a campaign
    that runs. Those on their way already go first: they hold up others.
    """
    found: list[JobRow] = []
    for state in ("sending", "queued") if begin else ("sending",):
        if len(found) < limit:
            found += await _claim(
                connection, campaign, state, [*running, *(job.id for job in found)], limit - len(found)
            )
    return found


async def _claim(
    connection: AsyncConnection, campaign: UUID, state: str, running: list[int], limit: int
) -> list[JobRow]:
    # The state stands in the text: a prepared statement with a parameter there would not find the partial index.
    return await fetch(
        connection,
        JobRow,
        "WITH due AS (SELECT id FROM ota_jobs j WHERE campaign = :campaign"  # noqa: S608 - constants
        f" AND state = '{state}' AND due_ms <= :now AND id <> ALL(CAST(:running AS bigint[]))"
        " AND NOT EXISTS (SELECT 1 FROM ota_jobs e JOIN ota_campaigns k ON k.id = e.campaign WHERE e.iccid = j.iccid"
        " AND e.id < j.id AND e.state IN ('queued', 'sending') AND (e.state = 'sending' OR k.state = 'running'))"
        " ORDER BY due_ms, id LIMIT :limit FOR UPDATE)"
        f" UPDATE ota_jobs SET state = 'sending', {_CHANGED} WHERE id IN (SELECT id FROM due)"
        " RETURNING id, campaign, iccid, given, state, packet, attempts, absences",
        campaign=campaign,
        running=running,
        limit=limit,
        now=now_ms(),
    )


async def expire_queued(connection: AsyncConnection, campaign: UUID) -> int:
    """End what was never sent, its time being over."""
    return await _end_queued(connection, campaign, "expired", "its time was over before it was sent")


async def cancel_queued(connection: AsyncConnection, campaign: UUID) -> int:
    """End what was not yet sent."""
    return await _end_queued(connection, campaign, "cancelled", "cancelled before it was sent")


async def cancel_job(connection: AsyncConnection, job: int) -> bool:
    """End one job that was not yet sent; whether it was not."""
    sql = f"UPDATE ota_jobs SET state = 'cancelled', words = :words, {_CHANGED} WHERE id = :job AND state = 'queued'"  # noqa: S608
    return await execute(connection, sql, job=job, words="cancelled before it was sent", now=now_ms()) == 1


async def _end_queued(connection: AsyncConnection, campaign: UUID, state: str, words: str) -> int:
    return await execute(
        connection,
        f"UPDATE ota_jobs SET state = :state, words = :words, {_CHANGED}"  # noqa: S608 - a constant
        " WHERE campaign = :campaign AND state = 'queued'",
        campaign=campaign,
        state=state,
        words=words,
        now=now_ms(),
    )


async def note_packet(connection: AsyncConnection, job: int, packet: UUID | None) -> None:
    """Say which packet is on its way for a job, before it is sent."""
    sql = f"UPDATE ota_jobs SET packet = :packet, {_CHANGED} WHERE id = :job"  # noqa: S608 - a constant
    await execute(connection, sql, job=job, packet=packet, now=now_ms())


async def find_packet(connection: AsyncConnection, job: int) -> UUID | None:
    """The packet on its way for a job."""
    found: UUID | None = await scalar(connection, "SELECT packet FROM ota_jobs WHERE id = :job", job=job)
    return found


async def put_off(connection: AsyncConnection, job: int, *, due_ms: int, absent: bool, words: str) -> None:
    """Try again at `due_ms`."""
    await execute(
        connection,
        "UPDATE ota_jobs SET attempts = attempts + 1, absences = absences + CAST(:absent AS int), due_ms = :due,"  # noqa: S608
        f" words = :words, {_CHANGED} WHERE id = :job",
        job=job,
        due=due_ms,
        absent=int(absent),
        words=words,
        now=now_ms(),
    )


async def end_job(connection: AsyncConnection, job: int, state: str, words: str) -> None:
    """The job has come to its end."""
    await execute(
        connection,
        f"UPDATE ota_jobs SET state = :state, attempts = attempts + 1, words = :words, {_CHANGED} WHERE id = :job",  # noqa: S608
        job=job,
        state=state,
        words=words,
        now=now_ms(),
    )


async def next_due(connection: AsyncConnection, campaign: UUID, *, begin: bool) -> int | None:
    """When the next open job is due; None where none is open. Without `begin`, queued ones do not count."""
    states = "('queued', 'sending')" if begin else "('sending')"
    sql = f"SELECT min(due_ms) FROM ota_jobs WHERE campaign = :c AND state IN {states}"  # noqa: S608 - constants
    found: int | None = await scalar(connection, sql, c=campaign)
    return found


async def count_jobs(connection: AsyncConnection, campaign: UUID) -> Counts:
    """Jobs by state. Only those under way are looked up among the packets."""
    rows = await fetch(
        connection,
        _Count,
        "SELECT state, count(*) AS number, false AS open FROM ota_jobs WHERE campaign = :c AND state <> 'sending'"  # noqa: S608
        f" GROUP BY state UNION ALL SELECT {_STATE} AS state, count(*), true FROM ota_jobs j"
        " LEFT JOIN ota_packets p ON p.id = j.packet WHERE j.campaign = :c AND j.state = 'sending' GROUP BY 1",
        c=campaign,
    )
    found = dict.fromkeys(("queued", "sent", "delivered", "proven", "failed", "unknown", "cancelled", "expired"), 0)
    for row in rows:
        found[row.state] += row.number
    is_open = sum(row.number for row in rows if row.open or row.state == "queued")
    return Counts(cards=sum(found.values()), open=is_open, **found)


class _Count(Struct, frozen=True):
    state: str
    number: int
    open: bool


async def list_jobs(
    connection: AsyncConnection, *, campaign: UUID | None, iccid: str | None, state: str | None, after: int, limit: int
) -> list[JobView]:
    """Jobs of a campaign in their order, past id `after`; or those of a card or of all, the newest first."""
    where = ["true"]
    if campaign is not None:
        where.append("j.campaign = :campaign AND j.id > :after")
    if iccid is not None:
        where.append("j.iccid = :iccid")
    if state is not None:
        where.append(f"{_STATE} = :state")
    order = "j.id" if campaign is not None else "j.id DESC"
    given = {"campaign": campaign, "after": after if campaign is not None else None, "iccid": iccid, "state": state}
    sql = f"{_JOBS} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT :limit"
    return await fetch(connection, JobView, sql, limit=limit, **{n: v for n, v in given.items() if v is not None})


async def find_job(connection: AsyncConnection, job: int) -> JobView | None:
    """One job."""
    return await fetch_one(connection, JobView, f"{_JOBS} WHERE j.id = :job", job=job)


async def list_changed(connection: AsyncConnection, campaign: UUID, after: int, limit: int) -> list[JobView]:
    """Jobs changed past `after`, oldest change first."""
    sql = f"{_JOBS} WHERE j.campaign = :c AND j.changed > :after ORDER BY j.changed LIMIT :limit"
    return await fetch(connection, JobView, sql, c=campaign, after=after, limit=limit)


async def newest_change(connection: AsyncConnection, campaign: UUID) -> int:
    """The number of the last change of a campaign's jobs."""
    found: int | None = await scalar(connection, "SELECT max(changed) FROM ota_jobs WHERE campaign = :c", c=campaign)
    return found or 0


async def list_under_way(connection: AsyncConnection, campaign: UUID, limit: int) -> list[JobView]:
    """Jobs whose packet is on its way, the last changed first."""
    sql = f"{_JOBS} WHERE j.campaign = :c AND j.state = 'sending' ORDER BY j.changed DESC LIMIT :limit"
    return await fetch(connection, JobView, sql, c=campaign, limit=limit)


class TemplateRow(Struct, frozen=True):
    """A version of a template; `template` is JSON, `words` what it does with its samples."""

    name: str
    version: int
    template: str
    words: str
    added_ms: int


async def add_template(connection: AsyncConnection, name: str, template: str, words: str) -> TemplateRow:
    """The next version of a template, or the newest one where it says the same."""
    await execute(connection, "SELECT pg_advisory_xact_lock(hashtext('ota_templates'))")
    newest = await find_template(connection, name, None)
    if newest is not None and newest.template == template:
        return newest
    row = TemplateRow(name, newest.version + 1 if newest else 1, template, words, now_ms())
    await execute(
        connection,
        "INSERT INTO ota_templates (name, version, template, words, added_ms)"
        " VALUES (:name, :version, :template, :words, :added_ms)",
        **msgspec.structs.asdict(row),
    )
    return row


async def find_template(connection: AsyncConnection, name: str, version: int | None) -> TemplateRow | None:
    """A version of a template, the newest where none is named."""
    return await fetch_one(
        connection,
        TemplateRow,
        "SELECT * FROM ota_templates WHERE name = :name AND version = coalesce(CAST(:version AS int), version)"
        " ORDER BY version DESC LIMIT 1",
        name=name,
        version=version,
    )


async def list_templates(connection: AsyncConnection, name: str | None) -> list[TemplateRow]:
    """The newest version of each template, or every version of one."""
    if name is not None:
        sql = "SELECT * FROM ota_templates WHERE name = :name ORDER BY version"
        return await fetch(connection, TemplateRow, sql, name=name)
    return await fetch(
        connection, TemplateRow, "SELECT DISTINCT ON (name) * FROM ota_templates ORDER BY name, version DESC"
    )
