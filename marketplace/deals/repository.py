"""Deals in the node's database: each with the message that proposed it, as this node followed it."""

from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.deals.schemas import DealStatus
from marketplace.operator_database import execute, fetch, fetch_one
from marketplace.operator_problems import Refusal
from marketplace.wholesale.schemas import Policy
from settlement.ledger.settling import ProposeDeal

_proposal = msgspec.json.Decoder(ProposeDeal)


class DealRow(Struct, frozen=True, kw_only=True):
    """A deal's row; `proposal` is the message, `leaf` the hash of its entry once that was followed."""

    id: UUID
    proposer: str
    proposal: str
    leaf: str | None
    policy: Policy
    state: DealStatus
    cause: str | None
    proposed_by: str | None
    answered_by: str | None

    def message(self) -> ProposeDeal:
        """What was proposed."""
        return _proposal.decode(self.proposal)


async def put_deal(
    connection: AsyncConnection,
    message: ProposeDeal,
    *,
    proposer: str,
    state: DealStatus,
    policy: Policy = "hold",
    leaf: str | None = None,
    proposed_by: str | None = None,
) -> DealRow:
    """Insert a deal; one that is there only gets its leaf and state."""
    row = await fetch_one(
        connection,
        DealRow,
        "INSERT INTO deals (id, proposer, proposal, leaf, policy, state, proposed_by)"
        " VALUES (:id, :proposer, :proposal, :leaf, :policy, :state, :by)"
        " ON CONFLICT (id) DO UPDATE SET leaf = excluded.leaf, state = excluded.state, cause = NULL RETURNING *",
        id=message.id,
        proposer=proposer,
        proposal=msgspec.json.encode(message).decode(),
        leaf=leaf,
        policy=policy,
        state=state,
        by=proposed_by,
    )
    assert row is not None, "an insert returns its row"
    return row


async def set_deal_state(connection: AsyncConnection, deal: UUID, state: DealStatus, *, cause: str | None) -> None:
    """Move a deal on."""
    sql = "UPDATE deals SET state = :state, cause = :cause WHERE id = :id"
    await execute(connection, sql, id=deal, state=state, cause=cause)


async def set_answer(connection: AsyncConnection, deal: UUID, *, by: str, policy: Policy | None = None) -> None:
    """Note who of the staff answered, and what is to become of requests under the deal."""
    sql = "UPDATE deals SET answered_by = :by, policy = coalesce(:policy, policy) WHERE id = :id"
    await execute(connection, sql, id=deal, by=by, policy=policy)


async def open_offers(connection: AsyncConnection, deal: DealRow, *, published_ms: int) -> None:
    """The deal is agreed: what this operator sells under it takes requests."""
    await execute(
        connection,
        "UPDATE offers SET state = 'open', policy = :policy, published_ms = :published WHERE deal = :deal",
        deal=deal.id,
        policy=deal.policy,
        published=published_ms,
    )


async def drop_offers(connection: AsyncConnection, deal: UUID) -> None:
    """The deal came to nothing, and so did its offers."""
    await execute(connection, "DELETE FROM offers WHERE deal = :deal", deal=deal)


async def find_by_leaf(connection: AsyncConnection, leaf: str) -> DealRow | None:
    """The deal that an entry proposed, None where that entry proposed something else."""
    return await fetch_one(connection, DealRow, "SELECT * FROM deals WHERE leaf = :leaf", leaf=leaf)


async def get_deal(connection: AsyncConnection, deal: UUID, *, lock: bool = False) -> DealRow:
    """A deal of this operator's. Raises Refusal `not-found`."""
    sql = "SELECT * FROM deals WHERE id = :id" + (" FOR UPDATE" if lock else "")  # noqa: S608 - no value in it
    found = await fetch_one(connection, DealRow, sql, id=deal)
    if found is None:
        raise Refusal("not-found", f"there is no deal {deal} here")
    return found


async def list_deals(connection: AsyncConnection, *, state: str | None, partner: str | None) -> list[DealRow]:
    """Deals, the newest first."""
    return await fetch(
        connection,
        DealRow,
        "SELECT * FROM deals WHERE (CAST(:state AS text) IS NULL OR state = :state)"
        " AND (CAST(:partner AS text) IS NULL OR proposer = :partner"
        " OR CAST(proposal AS json) ->> 'partner' = :partner) ORDER BY id DESC",
        state=state,
        partner=partner,
    )
