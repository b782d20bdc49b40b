"""The OTA platform over HTTP: templates, single jobs, campaigns."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.params import HeaderParameter, Parameter
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED

from marketplace.campaigns.events import stream_campaign
from marketplace.campaigns.repository import newest_change
from marketplace.campaigns.schemas import (
    Added,
    CampaignState,
    CampaignView,
    JobState,
    JobView,
    NewCampaign,
    NewJob,
)
from marketplace.campaigns.service import TemplateView
from marketplace.operator_node import Node
from ota.templates import Template

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one upload of cards: 100,000 with some parameters are 5 to 50 MB; it is read as it comes."""
MOST: Final = 1000

Limit = Annotated[int, Parameter(ge=1, le=MOST)]


class TemplateController(Controller):
    """Message templates."""

    path = "/ota/templates"
    tags = ("ota",)

    @post("/")
    async def add(self, node: Node, data: Template) -> TemplateView:
        """Enter a template, checked by rendering its samples, as the next version of its name."""
        return await node.campaigns.add_template(data)

    @get("/")
    async def list_newest(self, node: Node) -> list[TemplateView]:
        """List templates, each in its newest version."""
        return await node.campaigns.list_templates()

    @get("/{name:str}")
    async def list_versions(self, node: Node, name: str) -> list[TemplateView]:
        """List all versions of a template."""
        return await node.campaigns.list_templates(name)


class JobController(Controller):
    """Single jobs, and the jobs of campaigns."""

    path = "/ota/jobs"
    tags = ("ota",)

    @post("/", status_code=HTTP_202_ACCEPTED)
    async def send(self, node: Node, data: NewJob) -> JobView:
        """Send commands to one card; read the job again, or follow its campaign, to see what becomes of it."""
        return await node.campaigns.send_one(data)

    @get("/")
    async def list_newest(
        self, node: Node, iccid: str | None = None, in_state: JobState | None = None, limit: Limit = 100
    ) -> list[JobView]:
        """List jobs, of one card or of all, newest first."""
        return await node.campaigns.list_jobs(iccid=iccid, state=in_state, limit=limit)

    @get("/{job:int}")
    async def show(self, node: Node, job: int) -> JobView:
        """Show one job."""
        return await node.campaigns.show_job(job)

    @post("/{job:int}/cancel", status_code=HTTP_200_OK)
    async def cancel(self, node: Node, job: int) -> JobView:
        """End a job that was not yet sent."""
        return await node.campaigns.cancel_job(job)


class CampaignController(Controller):
    """Campaigns: many cards, the same commands or template."""

    path = "/ota/campaigns"
    tags = ("ota",)

    @post("/")
    async def create(self, node: Node, data: NewCampaign) -> CampaignView:
        """Make a campaign; many cards are added to a draft, which is then started."""
        return await node.campaigns.create(data)

    @get("/")
    async def list_newest(
        self, node: Node, in_state: CampaignState | None = None, limit: Limit = 20
    ) -> list[CampaignView]:
        """List campaigns, newest first."""
        return await node.campaigns.list(in_state, limit)

    @get("/{campaign:uuid}")
    async def show(self, node: Node, campaign: UUID) -> CampaignView:
        """Show a campaign and how many of its cards are how far."""
        return await node.campaigns.show(campaign)

    @post("/{campaign:uuid}/cards", status_code=HTTP_200_OK, request_max_body_size=FILE_BYTES_MAX)
    async def add_cards(self, node: Node, campaign: UUID, request: Request[Any, Any, Any]) -> Added:
        """Add cards to a draft, as CSV: a column iccid, and one for each parameter that differs by card."""
        return await node.campaigns.add_cards(campaign, request.stream())

    @get("/{campaign:uuid}/jobs")
    async def list_jobs(
        self, node: Node, campaign: UUID, in_state: JobState | None = None, after: int = 0, limit: Limit = 100
    ) -> list[JobView]:
        """List the jobs of a campaign in their order, past the id `after`."""
        return await node.campaigns.list_jobs(campaign=campaign, state=in_state, after=after, limit=limit)

    @get("/{campaign:uuid}/events", media_type="text/event-stream")
    async def follow(
        self,
        node: Node,
        campaign: UUID,
        after: int | None = None,
        last_event_id: Annotated[int | None, HeaderParameter(name="Last-Event-ID")] = None,
    ) -> Stream:
        """Follow a campaign live: `job` and `campaign` events, from now on or past a change number."""
        await node.campaigns.show(campaign)
        begin = next((given for given in (last_event_id, after) if given is not None), None)
        if begin is None:
            async with node.database.read() as connection:
                begin = await newest_change(connection, campaign)
        events: AsyncIterator[bytes] = stream_campaign(node.database, node.campaigns, campaign, begin)
        return Stream(events, media_type="text/event-stream", headers={"cache-control": "no-store"})

    @post("/{campaign:uuid}/start", status_code=HTTP_200_OK)
    async def start(self, node: Node, campaign: UUID) -> CampaignView:
        """Begin to send."""
        return await node.campaigns.start(campaign)

    @post("/{campaign:uuid}/pause", status_code=HTTP_200_OK)
    async def pause(self, node: Node, campaign: UUID) -> CampaignView:
        """Begin no other card until it is resumed; what is on its way comes to its end."""
        return await node.campaigns.pause(campaign)

    @post("/{campaign:uuid}/resume", status_code=HTTP_200_OK)
    async def resume(self, node: Node, campaign: UUID) -> CampaignView:
        """Go on after a pause."""
        return await node.campaigns.start(campaign)

    @post("/{campaign:uuid}/cancel", status_code=HTTP_200_OK)
    async def cancel(self, node: Node, campaign: UUID) -> CampaignView:
        """End what was not yet sent; what is on its way comes to its end."""
        return await node.campaigns.cancel(campaign)
