"""Reconciliation and its cases over HTTP. `by` is whose token was used (`marketplace.staff`)."""

from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.params import Parameter
from litestar.response import Response

from marketplace.agreeing.export import write_page, write_workbook
from marketplace.agreeing.model import Case, Proposal, Source, State
from marketplace.agreeing.records import MAX_FILE
from marketplace.agreeing.schemas import AgeLine, CaseHistory, CaseView, NewRun, RunView, Said, Upload
from marketplace.agreeing.service import MAX_CASES
from marketplace.operator_node import Node
from marketplace.staff.service import require_member

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
Limit = Annotated[int, Parameter(ge=1, le=MAX_CASES)]
FileName = Annotated[str, Parameter(min_length=1, max_length=200, description="Ends in .csv or .parquet.")]


class ReconciliationController(Controller):
    """Our records against theirs."""

    path = "/reconciliations"
    tags = ("agreeing",)

    @post("/files", request_max_body_size=MAX_FILE)
    async def upload(self, node: Node, by: str, request: Request[Any, Any, Any], name: FileName) -> Upload:
        """Take a file of records in (columns as of `landfall settle reconcile`), to be named in a run by its digest."""
        return await node.agreeing.upload(name, await request.body(), by=by)

    @post("/own-records", request_max_body_size=MAX_FILE)
    async def take_own(self, node: Node, by: str, request: Request[Any, Any, Any], name: FileName) -> Upload:
        """Take the operator's own records in; the same file again changes nothing. `party` is the visited operator."""
        return await node.agreeing.take_own(name, await request.body(), by=by)

    @get("/records", media_type="text/csv")
    async def export(self, node: Node, partner: str, period: str) -> bytes:
        """What the ledger settled between the two in a period, each record with its charge; both sides get the same."""
        return await node.agreeing.export(partner, period)

    @post("/")
    async def run(self, node: Node, by: str, data: NewRun) -> RunView:
        """Reconcile a period with a partner. Every break becomes a case, or is recognised as one."""
        return await node.agreeing.run(data, by=by)

    @get("/")
    async def list_all(self, node: Node, partner: str | None = None, limit: Limit = 20) -> list[RunView]:
        """List runs, newest first."""
        return await node.agreeing.list_runs(partner, limit)

    @get("/{run:uuid}")
    async def show(self, node: Node, run: UUID) -> RunView:
        """Show a run: counts and sums by class, and how old its partner's open cases are now."""
        return await node.agreeing.show_run(run)

    @get("/{run:uuid}/page", media_type="text/html")
    async def show_page(self, node: Node, run: UUID) -> str:
        """The run as a page that needs nothing from elsewhere."""
        cases = await node.agreeing.list_cases(run=run, limit=MAX_CASES)
        return write_page(await node.agreeing.show_run(run), cases)


class CaseController(Controller):
    """Cases: differences somebody has to decide on, and another to confirm."""

    path = "/cases"
    tags = ("agreeing",)

    @get("/")
    async def list_all(
        self,
        node: Node,
        partner: str | None = None,
        in_state: Annotated[State | None, Parameter(query="state")] = None,
        source: Source | None = None,
        run: UUID | None = None,
        limit: Limit = 100,
    ) -> list[CaseView]:
        """List cases, the largest at stake first."""
        return await node.agreeing.list_cases(partner=partner, state=in_state, source=source, run=run, limit=limit)

    @get("/ageing")
    async def age(self, node: Node, partner: str | None = None) -> tuple[AgeLine, ...]:
        """How old what still asks for something is."""
        return await node.agreeing.age(partner)

    @get("/workbook", media_type=XLSX)
    async def export(
        self,
        node: Node,
        partner: str | None = None,
        in_state: Annotated[State | None, Parameter(query="state")] = None,
        run: UUID | None = None,
    ) -> Response[bytes]:
        """Cases and their ages as XLSX."""
        cases = await node.agreeing.list_cases(partner=partner, state=in_state, run=run, limit=MAX_CASES)
        octets = write_workbook(cases, await node.agreeing.age(partner))
        return Response(octets, media_type=XLSX)

    @get("/{case:uuid}")
    async def show(self, node: Node, case: UUID) -> CaseHistory:
        """Show a case with its whole history."""
        return await node.agreeing.show(case)

    @post("/{case:uuid}/propose", status_code=200)
    async def propose(self, node: Node, by: str, case: UUID, data: Proposal) -> Case:
        """Say how a case should end and why; a member's token is needed."""
        return await node.agreeing.propose(case, data, by=require_member(by))

    @post("/{case:uuid}/confirm", status_code=200)
    async def confirm(self, node: Node, by: str, case: UUID, data: Said) -> Case:
        """Confirm what another member proposed."""
        return await node.agreeing.confirm(case, data.text, by=require_member(by))

    @post("/{case:uuid}/reopen", status_code=200)
    async def reopen(self, node: Node, by: str, case: UUID, data: Said) -> Case:
        """Take a case up again, with the reason as text."""
        return await node.agreeing.reopen(case, data.text, by=require_member(by))
