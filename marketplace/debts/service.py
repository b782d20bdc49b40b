"""What this operator owes and is owed: invoices, payments, netting.

    id = await debts.upload(NewUploadedInvoice(debtor="bravo", …))     # proposed; an obligation once bravo confirms
    await debts.confirm(invoice, Confirmation(document=sha256))        # a partner's, after its file was read
    await debts.pay(obligation, Payment())

A cycle that somebody proposes comes with the log; `consider` reckons anew what it does to this operator and consents
by itself where the settings let it: the net position as it was, and no more netted than `most_usdr`. Everything else
waits for staff: `consent`, `refuse`.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.debts.schemas import (
    Asked,
    Confirmation,
    CycleView,
    InvoiceView,
    NewUploadedInvoice,
    Payment,
    Refusing,
    is_asked,
)
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.ledger_link.tasks import Tasks
from marketplace.operator_database import Database
from marketplace.operator_problems import Refusal
from marketplace.operator_settings import NettingSettings, OperatorSettings
from settlement.ledger.api import Entry
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import Message
from settlement.ledger.settling import Consent, Pay, ProposeCycle, ProposeInvoice, RefuseProposal
from settlement.ledger.state import Cycle, Obligation, Proposal, Request
from settlement.money import format_sdrt

TASK: Final = "consider-cycle"
DAY_MS: Final = 86_400_000


class Effect(Struct, frozen=True):
    """What a cycle does to one operator: by how much debts and claims become smaller, and those it adds."""

    payable: int = 0
    receivable: int = 0
    new_payable: int = 0
    new_receivable: int = 0

    @property
    def position(self) -> int:
        """By how much the operator's net position would change: 0, or the cycle is wrong."""
        return self.payable - self.receivable + self.new_receivable - self.new_payable

    @property
    def netted(self) -> int:
        """What of the operator's own takes part."""
        return self.payable + self.receivable + self.new_payable + self.new_receivable


def reckon(own: str, cycle: Cycle, obligations: Mapping[UUID, Obligation]) -> Effect:
    """The effect of a cycle on `own`, whose obligations these are; what is between others does not touch it."""
    payable = receivable = new_payable = new_receivable = 0
    for change in cycle.changes:
        owed = obligations.get(change.obligation)
        if owed is not None and owed.debtor == own:
            payable += change.reduction
        elif owed is not None and owed.creditor == own:
            receivable += change.reduction
    for debt in cycle.added:
        new_payable += debt.amount if debt.debtor == own else 0
        new_receivable += debt.amount if debt.creditor == own else 0
    return Effect(payable, receivable, new_payable, new_receivable)


def object_to(effect: Effect, settings: NettingSettings) -> str:
    """Why a cycle is for staff to decide; empty where the settings consent by themselves."""
    if effect.position:
        return f"the net position would change by {format_sdrt(effect.position)}"
    if not settings.automatic:
        return "netting.automatic is off"
    if effect.netted > settings.most_usdr:
        return f"{format_sdrt(effect.netted)} is netted, more than netting.most_usdr, {format_sdrt(settings.most_usdr)}"
    return ""


class Debts:
    """Obligations of one operator."""

    def __init__(
        self,
        own: OperatorSettings,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        follower: Follower,
        tasks: Tasks,
    ) -> None:
        self._own = own
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        follower.on(ProposeCycle, self._see_cycle)
        tasks.on(TASK, self.consider)

    # obligations and invoices

    async def list_obligations(self, role: str | None, state: str | None) -> list[Obligation]:
        """What this operator owes and is owed, due first; by default what is open."""
        search = {"state": state or "open"} | ({"role": role} if role else {})
        found = await self._ledger.obligations(**search)
        return sorted(found, key=lambda row: (row.due, row.id))

    async def pay(self, obligation: UUID, payment: Payment) -> Asked:
        """Pay an obligation from what is available. Raises Rejected `not-found`, Refusal."""
        owed = await self._ledger.obligation(obligation)
        if owed.debtor != self._own.id or owed.state != "open":
            raise Refusal("wrong-state", f"obligation {obligation} is {owed.state} and owed by {owed.debtor}")
        message = self._ledger.make(Pay, obligation=obligation, amount=payment.amount_usdr or owed.remaining)
        return await self._send(message, str(message.id), obligation)

    async def upload(self, new: NewUploadedInvoice) -> Asked:
        """Propose an invoice to its debtor; once confirmed it is an obligation of this id."""
        message = self._ledger.make(
            ProposeInvoice,
            debtor=new.debtor,
            amount=new.amount_usdr,
            due=new.due_ms,
            document=new.document,
            number=new.number,
            until=now_ms() + new.answer_days * DAY_MS,
        )
        return await self._send(message, f"{new.debtor}:{new.document}", message.id)

    async def list_invoices(self) -> list[InvoiceView]:
        """Uploaded invoices of both sides, the newest first."""
        rows = [row for row in await self._ledger.obligations() if row.cause == "invoice"]
        asked = {one.subject for one in await self._asking("invoice")}
        return [_view_invoice(row, row.id in asked) for row in sorted(rows, key=lambda row: row.made, reverse=True)]

    async def confirm(self, invoice: UUID, confirmation: Confirmation) -> Asked:
        """Agree that an invoice is owed. Raises Refusal where nothing waits, or the file is another one."""
        proposal = await self._find_asking("invoice", invoice)
        owed = await self._ledger.obligation(invoice)
        if confirmation.document not in (None, owed.document):
            raise Refusal("invalid", f"the file's SHA-256 is {confirmation.document}, the invoice's {owed.document}")
        return await self._send(self._ledger.make(Consent, proposal=proposal.leaf), proposal.leaf, invoice)

    async def refuse(self, kind: str, subject: UUID, refusing: Refusing) -> Asked:
        """Do not agree to an invoice or cycle; or withdraw an own invoice."""
        proposal = await self._find_asking(kind, subject, ours=True)
        message = self._ledger.make(RefuseProposal, proposal=proposal.leaf, reason=refusing.reason)
        return await self._send(message, proposal.leaf, subject)

    # netting

    async def list_cycles(self, state: str | None = None) -> list[CycleView]:
        """Cycles this operator is a party of, with what each does to it; by default those that are open."""
        proposals = await self._ledger.proposals(kind="cycle", **({} if state == "all" else {"state": state or "open"}))
        owed = {row.id: row for row in await self._ledger.obligations()}
        return [await self._view_cycle(one, owed) for one in proposals]

    async def consent(self, cycle: UUID) -> Asked:
        """Staff agree to a cycle. Raises Refusal."""
        proposal = await self._find_asking("cycle", cycle)
        return await self._send(self._ledger.make(Consent, proposal=proposal.leaf), proposal.leaf, cycle)

    async def consider(self, subject: str) -> None:
        """Consent to a cycle where the settings do; else leave it to staff. The task that follows its proposal."""
        proposal = next((one for one in await self._asking("cycle") if str(one.subject) == subject), None)
        if proposal is None:
            return
        cycle = await self._ledger.cycle(proposal.subject)
        effect = reckon(self._own.id, cycle, {row.id: row for row in await self._ledger.obligations()})
        if object_to(effect, self._own.netting):
            return
        async with self._database.begin() as connection:
            message = self._ledger.make(Consent, proposal=proposal.leaf)
            await self._outbox.enqueue(connection, message, subject=proposal.leaf)

    async def _see_cycle(self, connection: AsyncConnection, _: Entry, message: Message, __: Request | None) -> None:
        assert isinstance(message, ProposeCycle)
        await self._tasks.add(connection, TASK, str(message.id))

    async def _view_cycle(self, proposal: Proposal, owed: Mapping[UUID, Obligation]) -> CycleView:
        cycle = await self._ledger.cycle(proposal.subject)
        effect = reckon(self._own.id, cycle, owed)
        return CycleView(
            id=cycle.id,
            leaf=proposal.leaf,
            proposer=proposal.proposer,
            method=cycle.method,
            state=proposal.state,
            until_ms=proposal.until,
            payable_usdr=effect.payable,
            receivable_usdr=effect.receivable,
            new_payable_usdr=effect.new_payable,
            new_receivable_usdr=effect.new_receivable,
            position_changes_usdr=effect.position,
            asked=is_asked(proposal, self._own.id),
            automatic=object_to(effect, self._own.netting) or "within the settings",
        )

    # shared

    async def _asking(self, kind: str) -> Sequence[Proposal]:
        found = await self._ledger.proposals(state="open", kind=kind)
        return [one for one in found if is_asked(one, self._own.id)]

    async def _find_asking(self, kind: str, subject: UUID, *, ours: bool = False) -> Proposal:
        """The open proposal of a subject that waits for us, or (`ours`) that we made or are a party of."""
        for one in await self._ledger.proposals(state="open", kind=kind):
            if one.subject == subject and (is_asked(one, self._own.id) or ours):
                return one
        raise Refusal("wrong-state", f"no open {kind} {subject} waits for {self._own.id}")

    async def _send(self, message: Message, subject: str, about: UUID) -> Asked:
        """Store a message; one of that subject which stands already is not sent again."""
        async with self._database.begin() as connection:
            if not await self._outbox.enqueue(connection, message, subject=subject):
                purpose = str(message.__struct_config__.tag)
                stands = await self._outbox.find(connection, purpose, subject)
                assert stands is not None, "it stands, so it is there"
                return Asked(stands.id if about == message.id else about, stands.id)
        return Asked(about, message.id)


def _view_invoice(row: Obligation, asked: bool) -> InvoiceView:
    return InvoiceView(
        id=row.id,
        debtor=row.debtor,
        creditor=row.creditor,
        amount_usdr=row.amount,
        remaining_usdr=row.remaining,
        due_ms=row.due,
        document=row.document or "",
        number=row.number,
        state=row.state,
        asked=asked,
    )
