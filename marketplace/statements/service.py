"""Statements of account, made of the entries this node followed: anybody with the log can make the same.

One line a counterparty and role. As home: what requests cost. As visited: what they earned. A cancellation fee is told
apart from use. `returned` is escrow that came back when requests ended. All in micro-SDRt. What is not paid from escrow
but owed, such as use beyond it on a deal's credit, is told beside: it is in `obligations`, not in the lines.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.operator_database import fetch
from settlement.ledger.state import Obligation


class Line(Struct, frozen=True):
    """One counterparty in one role of this operator."""

    partner: str
    role: Literal["home", "visited"]
    requests: int
    ended: int
    charged_usdr: int
    fees_usdr: int
    returned_usdr: int
    reports: int
    records_refused: int


class Treasury(Struct, frozen=True):
    """SDRt minted for this operator and burnt for it (redeemed) in the period, and fees paid to the ledger."""

    redeemed_usdr: int
    publishing_fees_usdr: int


class Statement(Struct, frozen=True):
    """A period's statement: times are milliseconds since the epoch, `to_ms` excluded.

    `obligations`: what came to be owed outside of escrow in the period (use on credit and shortfalls of deals,
    disputes, invoices, netting), as it stands now; the sums are of what remains of it.
    """

    operator: str
    from_ms: int
    to_ms: int
    lines: tuple[Line, ...]
    spent_usdr: int
    earned_usdr: int
    treasury: Treasury
    obligations: tuple[Obligation, ...] = ()
    owed_by_us_usdr: int = 0
    owed_to_us_usdr: int = 0


async def make_statement(
    connection: AsyncConnection, operator: str, obligations: Iterable[Obligation], *, from_ms: int, to_ms: int
) -> Statement:
    """The statement of a period, by the ledger's time of the entries; `obligations` as the ledger tells them now."""
    begun = sorted(
        (row for row in obligations if from_ms <= row.made < to_ms and row.state in ("open", "settled")),
        key=lambda row: (row.made, row.id),
    )
    lines = await fetch(
        connection,
        Line,
        "SELECT partner, role,"
        " count(*) FILTER (WHERE kind = 'request') AS requests,"
        " count(*) FILTER (WHERE kind IN ('cancel', 'decline', 'expire', 'close')) AS ended,"
        " CAST(coalesce(sum(settled_usdr) FILTER (WHERE kind IN ('activate', 'usage')), 0) AS bigint) AS charged_usdr,"
        " CAST(coalesce(sum(settled_usdr) FILTER (WHERE kind = 'cancel'), 0) AS bigint) AS fees_usdr,"
        " CAST(coalesce(sum(returned_usdr), 0) AS bigint) AS returned_usdr,"
        " count(*) FILTER (WHERE kind = 'usage') AS reports,"
        " CAST(coalesce(sum(json_array_length(CAST(refused AS json))), 0) AS bigint) AS records_refused"
        " FROM entries WHERE role IS NOT NULL AND time_ms >= :from_ms AND time_ms < :to_ms"
        " GROUP BY partner, role ORDER BY partner, role",
        from_ms=from_ms,
        to_ms=to_ms,
    )
    treasury = await fetch(
        connection,
        Treasury,
        "SELECT CAST(coalesce(sum(settled_usdr) FILTER (WHERE kind = 'redeemed'), 0) AS bigint) AS redeemed_usdr,"
        " CAST(coalesce(sum(settled_usdr) FILTER (WHERE kind = 'offer'), 0) AS bigint) AS publishing_fees_usdr"
        " FROM entries WHERE time_ms >= :from_ms AND time_ms < :to_ms",
        from_ms=from_ms,
        to_ms=to_ms,
    )
    return Statement(
        operator,
        from_ms,
        to_ms,
        tuple(lines),
        spent_usdr=sum(line.charged_usdr + line.fees_usdr for line in lines if line.role == "home"),
        earned_usdr=sum(line.charged_usdr + line.fees_usdr for line in lines if line.role == "visited"),
        treasury=treasury[0],
        obligations=tuple(begun),
        owed_by_us_usdr=sum(row.remaining for row in begun if row.debtor == operator),
        owed_to_us_usdr=sum(row.remaining for row in begun if row.creditor == operator),
    )
