"""Making, changing and reading campaigns. What sends them is `marketplace.campaigns.sending`.

A single job is a campaign of one card, so there is one way over the air and one place to look.
"""

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.campaigns.cards_csv import read_cards
from marketplace.campaigns.repository import (
    TemplateRow,
    add_template,
    cancel_job,
    cancel_queued,
    count_jobs,
    find_campaign,
    find_job,
    find_template,
    insert_campaign,
    insert_jobs,
    list_campaigns,
    list_jobs,
    list_templates,
    set_campaign,
)
from marketplace.campaigns.schemas import Added, CampaignRow, CampaignView, JobView, NewCampaign, NewJob, Order
from marketplace.ledger_link.outbox import now_ms
from marketplace.ledger_link.tasks import Tasks
from marketplace.operator_database import Database
from marketplace.operator_problems import Refusal
from ota.commands import is_rotation
from ota.templates import OF_THE_CARD, Parameter, Template, TemplateError, check_values, read_template, render
from settlement.ledger.ids import new_id

TASK: Final = "campaign"
ROTATION_WORDS: Final = "rotate the OTA keys"
_ENCODE: Final = msgspec.json.Encoder(order="deterministic").encode


class TemplateView(Struct, frozen=True):
    """A version of a template; `words` is what it does with its samples."""

    name: str
    version: int
    words: str
    about: str
    commands: list[dict[str, Any]]
    parameters: dict[str, Parameter]
    added_ms: int


class Campaigns:
    """Templates, campaigns and jobs of the home operator."""

    def __init__(self, database: Database, tasks: Tasks) -> None:
        self._database = database
        self._tasks = tasks

    async def add_template(self, draft: Template) -> TemplateView:
        """Enter a template, as the next version of its name. Raises `TemplateError` where its samples do not render."""
        words = read_template(draft).words
        async with self._database.begin() as connection:
            row = await add_template(connection, draft.name, _ENCODE(draft).decode(), words)
        return _template(row)

    async def list_templates(self, name: str | None = None) -> list[TemplateView]:
        """The newest version of each, or all versions of one. Raises Refusal `not-found` for a name without any."""
        async with self._database.read() as connection:
            rows = await list_templates(connection, name)
        if name is not None and not rows:
            raise Refusal("not-found", f"there is no template {name}")
        return [_template(row) for row in rows]

    async def send_one(self, new: NewJob) -> JobView:
        """Make and start a job for one card."""
        async with self._database.begin() as connection:
            row, parameters = await self._draft(connection, new, name=f"one card {new.iccid}", single=True)
            _check_card(row, parameters, {})
            await insert_campaign(connection, row)
            await insert_jobs(connection, row.id, [(new.iccid, "{}")])
            await self._start(connection, row.id)
            (job,) = await list_jobs(connection, campaign=row.id, iccid=None, state=None, after=0, limit=1)
        return job

    async def create(self, new: NewCampaign) -> CampaignView:
        """Make a campaign, and start it where that is asked. Raises `TemplateError`, Refusal."""
        if new.start and not new.cards:
            raise Refusal("invalid", "a campaign that starts at once has cards: add them, or set start to false")
        async with self._database.begin() as connection:
            row, parameters = await self._draft(connection, new, name=new.name, per_minute=new.per_minute)
            await insert_campaign(connection, row)
            for card in new.cards:
                _check_card(row, parameters, card.values)
            await insert_jobs(connection, row.id, [(card.iccid, _ENCODE(card.values).decode()) for card in new.cards])
            if new.start:
                await self._start(connection, row.id)
        return await self.show(row.id)

    async def add_cards(self, campaign: UUID, chunks: AsyncIterator[bytes]) -> Added:
        """Add cards from CSV as it comes, all or none of them. Raises `CardsError`, `TemplateError`, Refusal."""
        added = known = without_keys = 0
        async with self._database.begin() as connection:
            row = await _require(connection, campaign, "draft")
            parameters = msgspec.json.decode(row.parameters, type=dict[str, Parameter])
            async for cards in read_cards(chunks):
                for iccid, values in cards:
                    try:
                        _check_card(row, parameters, values)
                    except TemplateError as error:
                        raise TemplateError(f"card {iccid}: {error}") from None
                entered, keyless = await insert_jobs(
                    connection, campaign, [(iccid, _ENCODE(values).decode()) for iccid, values in cards]
                )
                added, known, without_keys = added + entered, known + len(cards) - entered, without_keys + keyless
        return Added(added, known, without_keys)

    async def start(self, campaign: UUID) -> CampaignView:
        """Begin to send a draft, or go on with one that was paused."""
        async with self._database.begin() as connection:
            await _require(connection, campaign, "draft", "paused")
            if (await count_jobs(connection, campaign)).cards == 0:
                raise Refusal("wrong-state", "the campaign has no cards yet")
            await self._start(connection, campaign)
        return await self.show(campaign)

    async def pause(self, campaign: UUID) -> CampaignView:
        """Begin no other card; what is on its way comes to its end."""
        async with self._database.begin() as connection:
            await _require(connection, campaign, "running")
            await set_campaign(connection, campaign, "paused")
        return await self.show(campaign)

    async def cancel(self, campaign: UUID) -> CampaignView:
        """End what was not yet sent; what is on its way comes to its end."""
        async with self._database.begin() as connection:
            await _require(connection, campaign, "draft", "running", "paused")
            await cancel_queued(connection, campaign)
            await set_campaign(connection, campaign, "cancelled")
        return await self.show(campaign)

    async def show(self, campaign: UUID) -> CampaignView:
        """A campaign and how many of its cards are how far. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            return await _view(connection, await _require(connection, campaign))

    async def list_jobs(
        self, *, campaign: UUID | None = None, iccid: str | None = None, state: str | None, after: int = 0, limit: int
    ) -> list[JobView]:
        """Jobs of a campaign in order, or of a card, or all, newest first."""
        async with self._database.read() as connection:
            if campaign is not None:
                await _require(connection, campaign)
            return await list_jobs(connection, campaign=campaign, iccid=iccid, state=state, after=after, limit=limit)

    async def show_job(self, job: int) -> JobView:
        """One job. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            found = await find_job(connection, job)
        if found is None:
            raise Refusal("not-found", f"there is no job {job}")
        return found

    async def list(self, state: str | None, limit: int) -> list[CampaignView]:
        """The newest campaigns first."""
        async with self._database.read() as connection:
            return [await _view(connection, row) for row in await list_campaigns(connection, state, limit)]

    async def cancel_job(self, job: int) -> JobView:
        """End one job that was not yet sent. Raises Refusal `wrong-state` where it was."""
        shown = await self.show_job(job)
        async with self._database.begin() as connection:
            if not await cancel_job(connection, job):
                raise Refusal(
                    "wrong-state", f"the job is {shown.state}: only one that was not yet sent can be cancelled"
                )
        return await self.show_job(job)

    async def _start(self, connection: AsyncConnection, campaign: UUID) -> None:
        await set_campaign(connection, campaign, "running")
        await self._tasks.add(connection, TASK, str(campaign))

    async def _draft(
        self,
        connection: AsyncConnection,
        order: Order,
        *,
        name: str,
        single: bool = False,
        per_minute: int | None = None,
    ) -> tuple[CampaignRow, dict[str, Parameter]]:
        """The campaign that an order makes, checked with the samples of what it leaves open."""
        ways = (order.commands is not None) + (order.template is not None) + order.rotate_keys
        if ways != 1:
            raise Refusal("invalid", f"give one of commands, template and rotate_keys, not {ways}")
        parameters: dict[str, Parameter] = {}
        commands, version, words = order.commands or [], None, ROTATION_WORDS
        if order.template is not None:
            found = await find_template(connection, order.template, order.version)
            if found is None:
                raise Refusal("not-found", f"there is no template {order.template} {order.version or ''}".rstrip())
            template = msgspec.json.decode(found.template, type=Template)
            commands, parameters, version = template.commands, template.parameters, found.version
        rotates = order.rotate_keys or is_rotation(commands)
        if not rotates:
            samples = {name: parameter.sample for name, parameter in parameters.items()}
            given = {**samples, **order.values}
            check_values(parameters, given)
            words = render(commands, {**OF_THE_CARD, **given}).words
            if order.question is not None:
                if is_rotation(order.question.commands):
                    raise Refusal("invalid", "a question asks and changes nothing: rotate-keys is none")
                render(order.question.commands, {**OF_THE_CARD, **given})
        elif order.values or order.question is not None:
            raise Refusal("invalid", "a rotation of keys takes neither values nor a question")
        now = now_ms()
        row = CampaignRow(
            id=new_id(),
            name=name,
            kind="rotation" if rotates else "commands",
            single=single,
            state="draft",
            template=order.template,
            version=version,
            commands=_ENCODE(commands).decode(),
            parameters=_ENCODE(parameters).decode(),
            given=_ENCODE(order.values).decode(),
            question=None if order.question is None else _ENCODE(order.question).decode(),
            words=words,
            per_minute=per_minute,
            expires_ms=now + int(order.valid_hours * 3_600_000),
            created_ms=now,
            ended_ms=None,
        )
        return row, parameters


def _check_card(row: CampaignRow, parameters: dict[str, Parameter], own: dict[str, str]) -> None:
    """Raise `TemplateError` unless campaign and card together give each parameter a value that renders."""
    if row.kind != "commands":
        if own:
            raise TemplateError("a rotation of keys takes no values")
        return
    if not parameters and not own:
        return
    values = {**msgspec.json.decode(row.given, type=dict[str, str]), **own}
    check_values(parameters, values)
    if own:
        render(msgspec.json.decode(row.commands), {**OF_THE_CARD, **values})


async def _require(connection: AsyncConnection, campaign: UUID, *states: str) -> CampaignRow:
    row = await find_campaign(connection, campaign, lock=bool(states))
    if row is None:
        raise Refusal("not-found", f"there is no campaign {campaign}")
    if states and row.state not in states:
        raise Refusal("wrong-state", f"the campaign is {row.state}, not {' or '.join(states)}")
    return row


async def _view(connection: AsyncConnection, row: CampaignRow) -> CampaignView:
    return CampaignView(
        id=row.id,
        name=row.name,
        state=row.state,
        words=row.words,
        template=row.template,
        version=row.version,
        commands=msgspec.json.decode(row.commands),
        per_minute=row.per_minute,
        expires_ms=row.expires_ms,
        created_ms=row.created_ms,
        ended_ms=row.ended_ms,
        counts=await count_jobs(connection, row.id),
    )


def _template(row: TemplateRow) -> TemplateView:
    template = msgspec.json.decode(row.template, type=Template)
    return TemplateView(
        name=row.name,
        version=row.version,
        words=row.words,
        about=template.about,
        commands=template.commands,
        parameters=template.parameters,
        added_ms=row.added_ms,
    )
