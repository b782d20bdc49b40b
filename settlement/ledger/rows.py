"""Rows of state in PostgreSQL: found by key, new ones by COPY, changed ones by one UPDATE … FROM unnest a table.

All SQL is made from the rows' own fields (`state`) and their tables (`tables`). What of a row can never change is kept
in memory after the first time (`KeptRows`), and so is what can, until the head says that such a row was changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET, structs
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from settlement.ledger.state import (
    Account,
    Attestation,
    BidRequest,
    Contested,
    Cycle,
    Deal,
    DealPeriod,
    Deposit,
    Dispute,
    Document,
    Key,
    Ledger,
    Obligation,
    Offer,
    Operator,
    Proposal,
    Redemption,
    Request,
    Row,
)
from settlement.ledger.tables import TABLES
from settlement.usage.grading import Cumulative

R = TypeVar("R", bound=Row)

MUTABLE: Final[dict[type[Row], tuple[str, ...]]] = {
    Ledger: ("rules_version", "minted", "burned"),
    Operator: (),
    Key: ("until",),
    Account: ("available", "escrow", "held"),
    Deposit: (),
    Redemption: ("state",),
    Offer: ("status", "stock"),
    BidRequest: ("status",),
    Request: (
        "state",
        "report_by",
        "escrow",
        "charged",
        "renewals",
        "payload",
        "activated",
        "period_ends",
        "sequence",
        "used_octets",
        "used_seconds",
        "used_messages",
        "limit_octets",
        "limit_seconds",
        "limit_messages",
        "call_seconds",
        "cause",
        "cumulative",
    ),
    Proposal: ("consented", "state", "refused_by", "reason"),
    Cycle: ("state",),
    Dispute: ("held", "evidence", "deadline", "state", "answer", "award"),
    Contested: ("amount",),
    Deal: ("credit", "state"),
    DealPeriod: ("traffic", "settled"),
    Document: (),
    Attestation: (),
    Obligation: ("amount", "remaining", "state"),
}
"""Fields that a rule may change; the others stand from the row's making."""
OPTIONAL: Final[dict[type[Row], str]] = {Offer: "deal", Request: "cumulative"}
"""A row's last field, where it is UNSET unless version 2 of the rules needs it; its column then has no value."""
KEPT: Final = (Ledger, Operator, Key, Offer)
"""Row types that many transactions read and few change."""
MOST_KEPT: Final = 50_000
"""Rows kept of a type, some 50 MB of offers at most; when it is reached, keeping starts anew."""


class KeptRows:
    """Rows as they were last read. One a process; whoever holds the ledger's lock says in which state of the log.

    A row is as it was read until `renewed` passes the entries there were then: from there on, its mutable fields are
    read again when it is next asked for.
    """

    def __init__(self) -> None:
        self._rows: dict[type[Row], dict[Any, Row]] = {row_type: {} for row_type in KEPT}
        self._doubtful: dict[type[Row], set[Any]] = {row_type: set() for row_type in KEPT}
        self._size = 0

    def begin(self, size: int, renewed: int) -> None:
        """The log has `size` entries now and is locked; a kept row was last changed when there were `renewed`."""
        if renewed > self._size:
            self._doubtful = {kept: set(rows) if MUTABLE[kept] else set() for kept, rows in self._rows.items()}
        self._size = size

    async def fetch(self, connection: asyncpg.Connection, row_type: type[R], keys: set[Any]) -> list[R]:
        """The rows of a type that there are among `keys`, as they are now."""
        kept: dict[Any, R] | None = self._rows.get(row_type)  # type: ignore[assignment]
        if kept is None:
            return await _select(connection, row_type, keys)
        doubtful = self._doubtful[row_type].intersection(keys)
        if doubtful:
            for record in await connection.fetch(_SELECT_MUTABLE[row_type], list(doubtful)):
                kept[record[0]] = _renew(kept[record[0]], record)
            self._doubtful[row_type] -= doubtful
        rows = [kept[key] for key in keys if key in kept]
        if len(rows) < len(keys):
            read = await _select(connection, row_type, [key for key in keys if key not in kept])
            if len(kept) + len(read) > MOST_KEPT:
                kept.clear()
                self._doubtful[row_type].clear()
            kept.update((row.key, row) for row in read)
            rows += read
        return rows


async def _select(connection: asyncpg.Connection, row_type: type[R], keys: Iterable[Any]) -> list[R]:
    records = await connection.fetch(_SELECT[row_type], list(keys))
    if row_type is Request:
        return [_read_request(record) for record in records]  # type: ignore[misc]
    if row_type in _PLAIN:
        return [row_type(**record) for record in records]
    return [read_row(row_type, record) for record in records]


def read_row(row_type: type[R], record: Mapping[str, Any]) -> R:
    """A row from a record with columns of its fields' names; what is JSON there may have ids within."""
    fields = {name: str(value) if isinstance(value, UUID) else value for name, value in record.items()}
    if (optional := OPTIONAL.get(row_type)) is not None and fields[optional] is None:
        del fields[optional]
    return msgspec.convert(fields, row_type, builtin_types=(bytes,))


def _read_request(record: asyncpg.Record) -> Request:
    fields = dict(record)
    if (cumulative := fields.pop("cumulative")) is not None:
        fields["cumulative"] = msgspec.convert(cumulative, Cumulative)
    return Request(**fields)


def _renew(row: R, record: asyncpg.Record) -> R:
    """The kept row with its mutable fields as the database has them: mostly the very same row."""
    changes = {
        field: value
        for field, value in zip(MUTABLE[type(row)], record[1:], strict=True)
        if getattr(row, field) != value
    }
    return structs.replace(row, **changes) if changes else row


async def select_keys_of(connection: asyncpg.Connection, operators: Iterable[str]) -> list[Key]:
    """Every key of some operators."""
    return [Key(**record) for record in await connection.fetch(_KEYS_OF, list(operators))]


async def insert(connection: asyncpg.Connection, row_type: type[Row], rows: Sequence[Row]) -> None:
    """Store new rows of one type."""
    records: Iterable[tuple[Any, ...]] = map(structs.astuple, rows)
    if row_type in OPTIONAL:
        records = ((*record[:-1], None) if record[-1] is UNSET else record for record in records)
    await connection.copy_records_to_table(TABLES[row_type].name, records=records, columns=row_type.__struct_fields__)


async def update(connection: asyncpg.Connection, row_type: type[Row], rows: Sequence[Row]) -> None:
    """Store the mutable fields of rows of one type that are there."""
    fields = (row_type.KEY, *MUTABLE[row_type])
    columns = [[getattr(row, field) for row in rows] for field in fields]
    if OPTIONAL.get(row_type) == fields[-1]:
        columns[-1] = [None if value is UNSET else value for value in columns[-1]]
    await connection.execute(_UPDATE[row_type], *columns)


def _select_sql(row_type: type[Row], table: Table, fields: Iterable[str]) -> str:
    return f"SELECT {', '.join(fields)} FROM {table.name} WHERE {row_type.KEY} = ANY($1)"  # noqa: S608 - our own names


def _update_sql(row_type: type[Row], table: Table) -> str:
    fields = (row_type.KEY, *MUTABLE[row_type])
    arrays = (f"${place}::{table.c[field].type.compile(_POSTGRESQL)}[]" for place, field in enumerate(fields, 1))
    changes = ", ".join(f"{field} = new.{field}" for field in MUTABLE[row_type])
    new = f"unnest({', '.join(arrays)}) AS new({', '.join(fields)})"
    return f"UPDATE {table.name} AS old SET {changes} FROM {new} WHERE old.{row_type.KEY} = new.{row_type.KEY}"  # noqa: S608


_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_PLAIN: Final = frozenset({Account, Key, Deposit, Redemption, Obligation, Dispute, Contested, Document, Attestation})
"""Row types whose columns are their fields as they are; the others hold tuples and nested values."""
_SELECT: Final = {kind: _select_sql(kind, table, kind.__struct_fields__) for kind, table in TABLES.items()}
_SELECT_MUTABLE: Final = {
    kind: _select_sql(kind, table, (kind.KEY, *MUTABLE[kind])) for kind, table in TABLES.items() if MUTABLE[kind]
}
_UPDATE: Final = {kind: _update_sql(kind, table) for kind, table in TABLES.items() if MUTABLE[kind]}
_KEYS_OF: Final = f"SELECT {', '.join(Key.__struct_fields__)} FROM keys WHERE operator = ANY($1)"  # noqa: S608
