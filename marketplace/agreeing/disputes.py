"""Disputes on the ledger from the operator's desk, in either role.

    raise      a confirmed case, by the home operator: cites the usage report, with the digest of the case's dossier
    answer     the visited operator accepts, or rejects with the digest of what shows that its report is right
    go on      home withdraws or escalates; the issuer decides (`landfall issuer disputes decide`)
    follow     each step on the ledger brings the dispute's row here up to date, and its case
    expire     a step that did not come in time ends the dispute; the side that gains sends it, by itself

What a digest is of (a *dossier*) is kept here and never leaves the node but by its staff's hand. A dossier that the
node makes is canonical: JSON with sorted names and no spaces, so that the same case makes the same digest.
"""

import hashlib
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.agreeing import model, repository
from marketplace.agreeing.citing import cite, contested_amount
from marketplace.agreeing.reported import ReportedUsage
from marketplace.agreeing.schemas import NewDispute
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.outbox import Outbox, now_ms, purpose_of
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database, execute, fetch, fetch_one
from marketplace.operator_problems import Refusal
from settlement.ledger.api import Entry, Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import Message
from settlement.ledger.rejections import Rejection
from settlement.ledger.settling import (
    AcceptDispute,
    DecideDispute,
    EscalateDispute,
    ExpireDispute,
    RaiseDispute,
    RejectDispute,
    WithdrawDispute,
)
from settlement.ledger.state import Dispute, DisputeState, Request

MAX_DOSSIER: Final = 16 * 1024 * 1024
"""Octets of what a side shows: a report with pictures, not a warehouse."""
MARGIN_MS: Final = 1_000
"""How far this clock may run ahead of the ledger's before an expiry comes too early."""
FOLLOW: Final = "follow-dispute"
EXPIRE: Final = "expire-dispute"
ENDS: Final[tuple[DisputeState, ...]] = ("upheld", "dismissed", "withdrawn")
KINDS: Final[tuple[type[Message], ...]] = (
    RaiseDispute,
    AcceptDispute,
    RejectDispute,
    EscalateDispute,
    DecideDispute,
    WithdrawDispute,
    ExpireDispute,
)
Role = Literal["home", "visited"]
Step = Literal["accept", "reject", "escalate", "withdraw", "expire"]
_STEPS: Final[dict[Step, tuple[type[Message], Role | None, tuple[DisputeState, ...]]]] = {
    "accept": (AcceptDispute, "visited", ("raised", "rejected", "escalated")),
    "reject": (RejectDispute, "visited", ("raised",)),
    "escalate": (EscalateDispute, "home", ("rejected",)),
    "withdraw": (WithdrawDispute, "home", ("raised", "rejected", "escalated")),
    "expire": (ExpireDispute, None, ("raised", "rejected", "escalated")),
}
"""Who may take a step, and from where (docs/protocol.md, Disputes)."""
_NEXT: Final[dict[DisputeState, tuple[Role | None, str]]] = {
    "raised": ("visited", "accept or reject, else it is upheld"),
    "rejected": ("home", "escalate or withdraw, else it is dismissed"),
    "escalated": (None, "the issuer decides, else it is dismissed"),
}


class StepTaken(Struct, frozen=True):
    """What this operator's staff did; `digest` is of what they showed, `message` how it went is in the outbox."""

    at_ms: int
    by: str
    step: str
    digest: str | None
    message: UUID


class DisputeView(Struct, frozen=True, kw_only=True):
    """A dispute as the ledger last showed it. `turn`: who is to act until the deadline, and what happens else."""

    role: Role
    dispute: Dispute
    turn: str | None
    ours: bool
    left_ms: int | None
    case: UUID | None = None
    steps: tuple[StepTaken, ...] = ()


class Disputes:
    """Raises, answers and follows disputes."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        follower: Follower,
        tasks: Tasks,
        reported: ReportedUsage,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._reported = reported
        for kind in KINDS:
            follower.on(kind, self._see_step)
        outbox.on_answer(RaiseDispute, self._see_answer)
        tasks.on(FOLLOW, self._follow)
        tasks.on(EXPIRE, self._expire)

    async def raise_case(self, case_id: UUID, new: NewDispute, *, by: str) -> model.Case:
        """Dispute on the ledger what a confirmed case says is wrong. Raises Refusal."""
        async with self._database.read() as connection:
            case = await repository.get_case(connection, case_id)
        await self._reported.gather(case.partner)
        groups = [] if case.request is None else await self._reported.of_request(case.request)
        citation = cite(case, groups)
        if any(group.visited != case.partner for group in groups):
            raise Refusal(
                "invalid", f"case {case_id} is about your own charge: {case.partner} is the one to dispute it"
            )
        amount = contested_amount(case) if new.amount_usdr is None else new.amount_usdr
        async with self._database.begin() as connection:
            case = await repository.get_case(connection, case_id, lock=True)
            history = await repository.list_events(connection, case_id)
            dossier = write_dossier({"case": case, "history": history, "cites": citation})
            message = self._ledger.make(
                RaiseDispute,
                entry=citation.entry,
                leaf=citation.leaf,
                request=citation.request,
                record=citation.record,
                amount=amount,
                cause=new.cause or case.kind.replace(" ", "-"),
                evidence=hashlib.sha256(dossier).hexdigest(),
            )
            event = model.dispute(case, message.id, by=by, at_ms=now_ms())
            await self._send(connection, message, message.id, "raise", by=by, dossier=("case.json", dossier))
            return (await repository.change_cases(connection, [(case, event)]))[0]

    async def take_step(self, dispute_id: UUID, step: Step, *, by: str, dossier: tuple[str, bytes] | None) -> UUID:
        """Accept, reject, escalate, withdraw or expire; the id of the message on its way. Raises Refusal.

        `dossier`: name and octets of what is shown. A rejection without shows the reports as this node has them.
        """
        kind, role, states = _STEPS[step]
        found = await self._ledger.dispute(dispute_id)
        if role is not None and getattr(found, role) != self._ledger.operator:
            raise Refusal("not-permitted", f"to {step} it is for {getattr(found, role)}, the {role} operator")
        if found.state not in states:
            raise Refusal("wrong-state", f"dispute {dispute_id} is {found.state}, it must be {' or '.join(states)}")
        if step == "reject" and dossier is None:
            await self._reported.gather(found.home)
            groups = await self._reported.of_request(found.request)
            dossier = ("reports.json", write_dossier({"dispute": found, "reports": groups}))
        fields: dict[str, Any] = {"dispute": dispute_id}
        if dossier is not None and step in ("reject", "escalate"):
            fields["evidence"] = hashlib.sha256(dossier[1]).hexdigest()
        message = self._ledger.make(kind, **fields)
        async with self._database.begin() as connection:
            if not await self._send(connection, message, dispute_id, step, by=by, dossier=dossier):
                raise Refusal("wrong-state", f"to {step} dispute {dispute_id} is on its way already")
        return message.id

    async def list(self, *, role: Role | None = None, state: str | None = None) -> list[DisputeView]:
        """Disputes by deadline, those that wait for somebody first."""
        async with self._database.read() as connection:
            rows = await fetch(
                connection,
                _Row,
                "SELECT d.role, d.body, c.id AS case FROM disputes d LEFT JOIN agreement_cases c ON c.dispute = d.id"
                " WHERE (CAST(:role AS text) IS NULL OR role = :role)"
                " AND (CAST(:state AS text) IS NULL OR d.state = :state)"
                " ORDER BY d.state IN ('upheld', 'dismissed', 'withdrawn'), d.deadline_ms, d.id",
                role=role,
                state=state,
            )
        return [self._view(row) for row in rows]

    async def show(self, dispute_id: UUID) -> DisputeView:
        """A dispute as the ledger has it now, with what staff here did. Raises Refusal, Rejected `not-found`."""
        dispute = await self._ledger.dispute(dispute_id)
        async with self._database.read() as connection:
            steps = await fetch(
                connection,
                StepTaken,
                "SELECT * FROM dispute_steps WHERE dispute = :dispute ORDER BY position",
                dispute=dispute_id,
            )
            case = await fetch_one(
                connection, _Id, "SELECT id FROM agreement_cases WHERE dispute = :dispute", dispute=dispute_id
            )
        role: Role = "home" if dispute.home == self._ledger.operator else "visited"
        row = _Row(role, msgspec.json.encode(dispute).decode(), None if case is None else case.id)
        return self._view(row, tuple(steps))

    async def read_dossier(self, digest: str) -> bytes:
        """What a digest is of, if this node has it. Raises Refusal `not-found`."""
        async with self._database.read() as connection:
            row = await fetch_one(connection, _Dossier, "SELECT octets FROM dossiers WHERE digest = :d", d=digest)
        if row is None:
            raise Refusal("not-found", f"this node has nothing of digest {digest}: the other side may")
        return row.octets

    def _view(self, row: "_Row", steps: tuple[StepTaken, ...] = ()) -> DisputeView:
        dispute = msgspec.json.decode(row.body, type=Dispute)
        actor, what = _NEXT.get(dispute.state, (None, None))
        who = None if what is None else f"{getattr(dispute, actor)}: {what}" if actor else what
        return DisputeView(
            role=row.role,
            dispute=dispute,
            turn=who,
            ours=actor == row.role,
            left_ms=None if what is None else dispute.deadline - now_ms(),
            case=row.case,
            steps=steps,
        )

    async def _send(
        self,
        connection: AsyncConnection,
        message: Message,
        dispute: UUID,
        step: str,
        *,
        by: str,
        dossier: tuple[str, bytes] | None,
    ) -> bool:
        digest = None
        if dossier is not None:
            digest = hashlib.sha256(dossier[1]).hexdigest()
            await execute(
                connection,
                "INSERT INTO dossiers VALUES (:digest, :dispute, :name, :octets, :now) ON CONFLICT DO NOTHING",
                digest=digest,
                dispute=dispute,
                name=dossier[0],
                octets=dossier[1],
                now=now_ms(),
            )
        await execute(
            connection,
            "INSERT INTO dispute_steps (dispute, at_ms, by, step, digest, message)"
            " VALUES (:dispute, :now, :by, :step, :digest, :message)",
            dispute=dispute,
            now=now_ms(),
            by=by,
            step=step,
            digest=digest,
            message=message.id,
        )
        return await self._outbox.enqueue(connection, message, subject=str(dispute))

    async def _see_step(self, connection: AsyncConnection, entry: Entry, message: Message, _: Request | None) -> None:
        dispute = message.id if isinstance(message, RaiseDispute) else getattr(message, "dispute", None)
        assert isinstance(dispute, UUID), f"{purpose_of(message)} is about a dispute"
        await self._tasks.add(connection, FOLLOW, f"{dispute}/{entry.index}")

    async def _see_answer(
        self, connection: AsyncConnection, _: str, message: Message, answer: Receipt | Rejection
    ) -> None:
        if isinstance(answer, Rejection):
            await _tell_case(connection, message.id, f"refused:{answer.code}", 0, ended=False)

    async def _follow(self, subject: str) -> None:
        dispute = await self._ledger.dispute(UUID(subject.partition("/")[0]))
        home = dispute.home == self._ledger.operator
        async with self._database.begin() as connection:
            await execute(
                connection,
                "INSERT INTO disputes VALUES (:id, :role, :partner, :request, :state, :deadline, :body, :now)"
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state, deadline_ms = excluded.deadline_ms,"
                " body = excluded.body, seen_ms = excluded.seen_ms",
                id=dispute.id,
                role="home" if home else "visited",
                partner=dispute.visited if home else dispute.home,
                request=dispute.request,
                state=dispute.state,
                deadline=dispute.deadline,
                body=msgspec.json.encode(dispute).decode(),
                now=now_ms(),
            )
            if dispute.state not in ENDS and self._gains(dispute):
                delay_s = max(0, dispute.deadline + MARGIN_MS - now_ms()) / 1000
                await self._tasks.add(connection, EXPIRE, f"{dispute.id}/{dispute.deadline}", delay_s=delay_s)
            await _tell_case(connection, dispute.id, dispute.state, dispute.award, ended=dispute.state in ENDS)

    def _gains(self, dispute: Dispute) -> bool:
        """Whether the end by the deadline is for this operator: silence of the visited, or of who goes on."""
        return self._ledger.operator == (dispute.home if dispute.state == "raised" else dispute.visited)

    async def _expire(self, subject: str) -> None:
        dispute = await self._ledger.dispute(UUID(subject.partition("/")[0]))
        if dispute.state in ENDS or subject != f"{dispute.id}/{dispute.deadline}":
            return
        left_ms = dispute.deadline + MARGIN_MS - now_ms()
        if left_ms > 0:
            raise Later(left_ms / 1000, "the deadline has not passed")
        message = self._ledger.make(ExpireDispute, dispute=dispute.id)
        async with self._database.begin() as connection:
            await self._send(connection, message, dispute.id, "expire", by="node", dossier=None)


async def _tell_case(connection: AsyncConnection, dispute: UUID, state: str, award: int, *, ended: bool) -> None:
    """Let the case, if this was raised from one, know how its dispute stands."""
    case = await repository.find_disputed(connection, dispute)
    if case is None:
        return
    event = model.follow(case, state, award, at_ms=now_ms(), ended=ended)
    if event is not None:
        await repository.change_cases(connection, [(case, event)])


class _Row(Struct, frozen=True):
    role: Role
    body: str
    case: UUID | None


class _Id(Struct, frozen=True):
    id: UUID


class _Dossier(Struct, frozen=True):
    octets: bytes


def write_dossier(content: object) -> bytes:
    """Canonical JSON: sorted names, no spaces, UTF-8; the same content makes the same octets."""
    return msgspec.json.encode(content, order="sorted")
