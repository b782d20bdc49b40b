"""Invoices, obligations and netting over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from litestar import Controller, get, post
from litestar.params import Parameter
from litestar.status_codes import HTTP_202_ACCEPTED

from marketplace.debts.schemas import (
    Asked,
    Confirmation,
    CycleView,
    InvoiceView,
    NewUploadedInvoice,
    Payment,
    Refusing,
)
from marketplace.operator_node import Node
from settlement.ledger.state import Obligation, ObligationState, ProposalState


class ObligationController(Controller):
    """Debts on the ledger."""

    path = "/obligations"
    tags = ("debts",)

    @get("/")
    async def list_own(
        self,
        node: Node,
        role: Literal["debtor", "creditor"] | None = None,
        in_state: Annotated[ObligationState | None, Parameter(query="state")] = None,
    ) -> list[Obligation]:
        """List what is owed and is to be had, by default what is open, due first."""
        return await node.debts.list_obligations(role, in_state)

    @post("/{obligation:uuid}/pay", status_code=HTTP_202_ACCEPTED)
    async def pay(self, node: Node, obligation: UUID, data: Payment) -> Asked:
        """Pay an obligation, whole or in part, from what is available."""
        return await node.debts.pay(obligation, data)


class InvoiceController(Controller):
    """Invoices for what is outside the ledger."""

    path = "/invoices"
    tags = ("debts",)

    @post("/", status_code=HTTP_202_ACCEPTED)
    async def upload(self, node: Node, data: NewUploadedInvoice) -> Asked:
        """Propose an invoice to its debtor; confirmed, it is an obligation and takes part in netting."""
        return await node.debts.upload(data)

    @get("/")
    async def list_all(self, node: Node) -> list[InvoiceView]:
        """List uploaded invoices of both sides, the newest first; `asked` waits for us."""
        return await node.debts.list_invoices()

    @post("/{invoice:uuid}/confirm", status_code=HTTP_202_ACCEPTED)
    async def confirm(self, node: Node, invoice: UUID, data: Confirmation) -> Asked:
        """Agree that a partner's invoice is owed."""
        return await node.debts.confirm(invoice, data)

    @post("/{invoice:uuid}/refuse", status_code=HTTP_202_ACCEPTED)
    async def refuse(self, node: Node, invoice: UUID, data: Refusing) -> Asked:
        """Do not agree to a partner's invoice, or withdraw one's own."""
        return await node.debts.refuse("invoice", invoice, data)


class NettingController(Controller):
    """Netting cycles."""

    path = "/netting"
    tags = ("debts",)

    @get("/")
    async def list_all(
        self,
        node: Node,
        in_state: Annotated[ProposalState | Literal["all"] | None, Parameter(query="state")] = None,
    ) -> list[CycleView]:
        """List cycles with what each does to this operator; by default those that are open."""
        return await node.debts.list_cycles(in_state)

    @post("/{cycle:uuid}/consent", status_code=HTTP_202_ACCEPTED)
    async def consent(self, node: Node, cycle: UUID) -> Asked:
        """Agree to a cycle; the last consent executes it, whole."""
        return await node.debts.consent(cycle)

    @post("/{cycle:uuid}/refuse", status_code=HTTP_202_ACCEPTED)
    async def refuse(self, node: Node, cycle: UUID, data: Refusing) -> Asked:
        """Do not agree to a cycle: it ends for everybody."""
        return await node.debts.refuse("cycle", cycle, data)
