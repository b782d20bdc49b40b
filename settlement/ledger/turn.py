"""One turn of writing: name and load the rows that a batch touches, and store what it changed, both in bulk.

Which rows a message names stands in `touched`; what follows from those (a request's offer and accounts) in `load`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
from msgspec import UNSET, Struct

from settlement.ledger.envelope import Envelope
from settlement.ledger.execution import EMPTY_CHAIN
from settlement.ledger.merkle import Frontier, TileRow
from settlement.ledger.rows import KEPT, KeptRows, insert, select_keys_of, update
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
    State,
)
from settlement.ledger.tables import entries as entries_table
from settlement.ledger.touched import SUBJECTS, cited_by, name_cycle, name_deal, name_dispute, name_rows


class StoredEntry(NamedTuple):
    """A row of `entries`, in the order of its columns; `number` is its index in the log."""

    number: int
    time: int
    sender: str
    id: UUID
    counterparty: str | None
    settled: int
    refused: bytes | None
    leaf: bytes
    envelope: bytes


class Head(Struct, frozen=True):
    """The log's committed end. `chain`: head of the effects chain. `digested`: size at the last digest leaf.

    `epoch`: counts promotions. A writer keeps to the one it began in; another one's commits end it (`Fenced`).
    `renewed`: how many entries there were when a row that writers keep (`rows.KEPT`) was last changed.
    """

    size: int = 0
    time: int = 0
    chain: bytes = EMPTY_CHAIN
    frontier: Frontier = Frontier()
    digested: int = 0
    epoch: int = 1
    renewed: int = 0

    @property
    def root(self) -> bytes:
        """RFC 6962 root of the tree of `size` leaves."""
        return self.frontier.root()


class Fenced(RuntimeError):  # noqa: N818 - a state, not a fault
    """Another writer was promoted: nothing that this one does is committed any more."""


class Turn:
    """The lock, held. `head` is the log's end, `clock` the database's time in milliseconds since the epoch."""

    def __init__(self, connection: asyncpg.Connection, kept: KeptRows, head: Head, clock: int) -> None:
        self._connection = connection
        self._kept = kept
        self._stored: dict[type[Row], set[Any]] = defaultdict(set)
        self._unused: set[UUID] = set()
        self._renewing = False
        self.head = head
        self.clock = clock
        kept.begin(head.size, head.renewed)

    async def load(self, origin: str, envelopes: Sequence[Envelope]) -> State:
        """A state with every row that deciding on `envelopes` may ask for."""
        cited = await self._read_cited(cited_by(envelopes))
        state = State(whole=False, cite=cited.get)
        wanted = name_rows(envelopes)
        await self._fetch(state, Ledger, {origin})
        ledger = state.get(Ledger, origin)
        if ledger is None:
            return state
        unplaced = wanted[Request] & self._unused  # a request bears the id of the entry that placed it
        state.load_absent(Request, unplaced)
        wanted[Request] -= unplaced
        for row_type in (Key, Request, Deposit, Redemption, BidRequest, Proposal, Dispute, Document, Attestation):
            await self._fetch(state, row_type, wanted[row_type])
        operators, accounts = wanted[Operator], wanted[Account]
        for proposal in state.all(Proposal):
            wanted[SUBJECTS[proposal.kind]].add(proposal.subject)
        for dispute in state.all(Dispute):
            name_dispute(wanted, dispute)
            accounts.update((dispute.home, dispute.visited))
        await self._fetch(state, Contested, wanted[Contested])
        await self._fetch(state, Cycle, wanted[Cycle])
        for cycle in state.all(Cycle):
            name_cycle(wanted, cycle)
        await self._fetch(state, Obligation, wanted[Obligation])
        operators.update(key.operator for key in state.all(Key))
        accounts.update(operators, {ledger.issuer})
        for request in state.all(Request):
            wanted[Offer].add(request.offer)
            accounts.update((request.home, request.visited))
        accounts.update(redemption.operator for redemption in state.all(Redemption))
        await self._fetch(state, Offer, wanted[Offer])
        await self._load_deals(state, wanted)
        for obligation in state.all(Obligation):
            accounts.update((obligation.debtor, obligation.creditor))
        await self._fetch(state, Operator, operators)
        await self._fetch(state, Account, accounts)
        recovering = {key.operator for key in state.all(Key) if key.purpose == "recovery"}
        if recovering:
            keys = await select_keys_of(self._connection, recovering)
            self._stored[Key].update(key.kid for key in keys)
            state.load(keys)
        return state

    async def _load_deals(self, state: State, wanted: dict[type[Row], set[Any]]) -> None:
        """Deals that offers and debts on credit belong to, and what those need in turn."""
        wanted[Deal].update(offer.deal for offer in state.all(Offer) if offer.deal is not UNSET)
        wanted[Deal].update(row.source for row in state.all(Obligation) if row.cause == "credit")
        if not wanted[Deal]:
            return
        await self._fetch(state, Deal, wanted[Deal])
        for deal in state.all(Deal):
            name_deal(wanted, deal)
        for row_type in (DealPeriod, Offer, Obligation):
            await self._fetch(state, row_type, wanted[row_type])

    async def earlier(self, envelopes: Sequence[Envelope]) -> list[StoredEntry]:
        """Entries of the log that have the id of one of `envelopes`, whoever sent them. Called before `load`, it
        spares that the search for requests that cannot be there yet.
        """
        rows = await self._connection.fetch(_EARLIER, [envelope.id for envelope in envelopes])
        found = [StoredEntry(*row) for row in rows]
        self._unused = {envelope.id for envelope in envelopes}.difference(entry.id for entry in found)
        return found

    async def write(
        self,
        entries: Sequence[StoredEntry],
        tree_rows: Sequence[TileRow],
        state: State,
        readers: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Store new entries, the tile rows they complete, and every changed row of `state`.

        `readers`: (operator, index of an entry) for who may read one beside its sender and counterparty.
        """
        copy = self._connection.copy_records_to_table
        if readers:
            await copy("readers", records=readers, columns=("operator", "index"))
        await copy("entries", records=entries, columns=_ENTRY_COLUMNS)
        tree = [
            (row.level, row.first_index + offset, node) for row in tree_rows for offset, node in enumerate(row.hashes)
        ]
        if tree:
            await copy("tree", records=tree, columns=("level", "index", "hash"))
        new: dict[type[Row], list[Row]] = defaultdict(list)
        old: dict[type[Row], list[Row]] = defaultdict(list)
        for (row_type, key), row in state.settle().items():
            (old if key in self._stored[row_type] else new)[row_type].append(row)
        for row_type, rows in new.items():
            await insert(self._connection, row_type, rows)
        for row_type, rows in old.items():
            await update(self._connection, row_type, rows)
        self._renewing = not old.keys().isdisjoint(KEPT)

    def require_epoch(self, epoch: int) -> None:
        """Raise Fenced unless the ledger is still in the epoch that the writer began in."""
        if self.head.epoch != epoch:
            raise Fenced(
                f"the ledger is in epoch {self.head.epoch}, this writer began in {epoch}: another was promoted since; "
                "if this one is to write, restart it"
            )

    async def move_head(self, time: int, chain: bytes, frontier: Frontier, digested: int) -> Head:
        """Set the head after `write` and announce it; both take effect with the commit. Returns what it then is.

        Raises Fenced where the epoch has changed.
        """
        renewed = frontier.size if self._renewing else self.head.renewed
        head = Head(frontier.size, time, chain, frontier, digested, self.head.epoch, renewed)
        done = await self._connection.execute(
            _MOVE_HEAD, head.size, time, chain, frontier.to_bytes(), digested, renewed, head.epoch
        )
        if done != "SELECT 1":
            raise Fenced(f"epoch {head.epoch} of the ledger ended while an entry was being written")
        return head

    async def _read_cited(self, indices: set[int]) -> dict[int, tuple[int, bytes]]:
        if not indices:
            return {}
        rows = await self._connection.fetch(_CITED, list(indices))
        return {row["index"]: (row["time"], row["envelope"]) for row in rows}

    async def _fetch(self, state: State, row_type: type[Row], keys: set[Any]) -> None:
        if keys:
            rows = await self._kept.fetch(self._connection, row_type, keys)
            self._stored[row_type].update(row.key for row in rows)
            state.load(rows)
            state.load_absent(row_type, keys)


def _quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_ENTRY_COLUMNS: Final = [column.name for column in entries_table.columns]
_EARLIER: Final = f"SELECT {_quoted(_ENTRY_COLUMNS)} FROM entries WHERE id = ANY($1)"  # noqa: S608
_CITED: Final = 'SELECT "index", time, envelope FROM entries WHERE "index" = ANY($1)'
_MOVE_HEAD: Final = """
WITH moved AS (
    UPDATE head SET size = $1, time = $2, chain = $3, frontier = $4, digested = $5, renewed = $6 WHERE epoch = $7
    RETURNING size
) SELECT pg_notify('landfall_head', size::text) FROM moved
"""
