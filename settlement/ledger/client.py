"""The SDK of the ledger: signs, sends, retries by id, verifies what comes back. Every program of ours uses it.

    async with LedgerClient(url, signer=signer, operator="alfa", log=VerifierKey.parse(text)) as ledger:
        receipt = await ledger.submit(ledger.make(PlaceRequest, offer=…, …))     # raises Rejected
        answers = await ledger.submit_all(messages)                              # Receipt | Rejection, in order
        async for entry in ledger.follow(after=-1): …                            # as they become durable

A receipt is believed only when its inclusion proof leads to a checkpoint signed by the log's key, and a checkpoint only
when it extends the last one seen: a log that forks or forgets is found by whoever is told a different story. A lost
answer is learnt by sending the same octets again, which is safe: the ledger gives the first receipt.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import httpx
import msgspec

from settlement.ledger import api, merkle
from settlement.ledger.api import (
    JOSE,
    JOSE_SEQUENCE,
    MAX_HISTORY,
    MAX_SEQUENCE,
    Answer,
    Entry,
    History,
    Page,
    Path,
    Proof,
    Quality,
    Receipt,
    Recorded,
)
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.connection import Connection, Rejected, Unreachable
from settlement.ledger.envelope import Signer, parse
from settlement.ledger.ids import new_id
from settlement.ledger.log import leaf_data
from settlement.ledger.messages import Message
from settlement.ledger.note import VerifierKey
from settlement.ledger.rejections import Rejection
from settlement.ledger.settling import Consent, Pay, RecordDocument, RefuseProposal
from settlement.ledger.state import (
    Account,
    Attestation,
    BidRequest,
    Cycle,
    Deal,
    DealPeriod,
    Dispute,
    Key,
    Obligation,
    Offer,
    Operator,
    Proposal,
    Request,
)
from settlement.ledger.tiles import Tile
from settlement.ledger.trust import Trust, Untrusted

__all__ = ["EXPIRY_S", "LedgerClient", "Rejected", "Unreachable", "message_of"]

EXPIRY_S: Final = 300
"""How long an envelope may wait for acceptance: longer than all retries together."""

M = TypeVar("M", bound=Message)


class LedgerClient:
    """One operator's (or, without a signer, a reader's) connection to a ledger. See the module for its use.

    `log` is the origin's verifier key, had from elsewhere than the ledger itself.
    """

    def __init__(
        self,
        url: str,
        *,
        log: VerifierKey,
        signer: Signer | None = None,
        operator: str = "",
        seen: Checkpoint | None = None,
        connections: int = 16,
    ) -> None:
        self.log = log
        self.operator = operator
        self._trust = Trust(log, self._fetch_history, seen)
        self._connection = Connection(url, origin=log.name, signer=signer, operator=operator, connections=connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish proving, then close the connections. Raises Untrusted."""
        with contextlib.suppress(Unreachable):
            await self._trust.settle()
        await self._connection.close()

    @property
    def seen(self) -> Checkpoint | None:
        """The newest checkpoint believed; set it at first to what an earlier run believed."""
        return self._trust.seen

    @seen.setter
    def seen(self, believed: Checkpoint) -> None:
        self._trust.seen = believed

    @property
    def signer(self) -> Signer | None:
        """Whose key signs from now on; set it when the key is rotated."""
        return self._connection.signer

    @signer.setter
    def signer(self, signer: Signer) -> None:
        self._connection.signer = signer

    @property
    def origin(self) -> str:
        """The log's name, the `aud` of every envelope."""
        return self.log.name

    # writing

    def make(self, kind: type[M], /, **fields: Any) -> M:
        """A message of `kind` with a fresh id, this log as audience and an expiry of EXPIRY_S from now."""
        fields.setdefault("id", new_id())
        fields.setdefault("exp", time.time_ns() // 1_000_000 + EXPIRY_S * 1000)
        return kind(aud=self.origin, **fields)

    async def submit(self, message: Message) -> Receipt:
        """Sign, send, and verify the receipt. Raises Rejected, Unreachable, Untrusted."""
        return await self.send(self._connection.require_signer().sign(message))

    async def send(self, raw: bytes) -> Receipt:
        """Send one signed envelope until it is answered. Raises Rejected, Unreachable, Untrusted."""
        answer = await self._connection.ask("POST", Path.TRANSACTIONS, content=raw, headers={"content-type": JOSE})
        receipt = msgspec.json.decode(answer, type=Receipt)
        if receipt.checkpoint is None or receipt.proof is None:
            raise Untrusted(f"the receipt of {receipt.id} has no proof")
        proven = await self.see(receipt.checkpoint)
        self._check_leaf(raw, receipt)
        try:
            proof = [bytes.fromhex(node) for node in receipt.proof]
            merkle.verify_inclusion(bytes.fromhex(receipt.leaf), receipt.index, proven.size, proof, proven.root)
        except ValueError as error:
            raise Untrusted(f"the receipt of {receipt.id} does not prove its place: {error}") from error
        return receipt

    async def submit_all(self, messages: Sequence[Message]) -> list[Receipt | Rejection]:
        """Sign and send many; each gets its own answer, in order. Raises Unreachable, Untrusted."""
        signer = self._connection.require_signer()
        return await self.send_all([signer.sign(message) for message in messages])

    async def send_all(self, envelopes: Sequence[bytes]) -> list[Receipt | Rejection]:
        """Send signed envelopes as sequences of at most MAX_SEQUENCE. Receipts come with the last line's checkpoint.

        Each receipt's leaf is checked against the octets sent, and the checkpoint against the log's key. That it is
        one history with the others is proven while the next sequence is on its way (`settle` waits for it); inclusion
        in bulk is for `settlement.ledger.audit` and the public tiles. Raises Unreachable, Untrusted.
        """
        answers: list[Receipt | Rejection] = []
        for first in range(0, len(envelopes), MAX_SEQUENCE):
            part = envelopes[first : first + MAX_SEQUENCE]
            answers.extend(await self._send_sequence(part))
        return answers

    async def _send_sequence(self, envelopes: Sequence[bytes]) -> list[Receipt | Rejection]:
        content, headers = b"\n".join(envelopes), {"content-type": JOSE_SEQUENCE}
        answer = await self._connection.ask("POST", Path.TRANSACTIONS, content=content, headers=headers)
        lines = _answer_decoder.decode_lines(answer)
        if len(lines) != len(envelopes) + 1 or lines[-1].checkpoint is None:
            raise Unreachable(f"{len(envelopes)} envelopes were sent, {len(lines)} lines came back: send them again")
        self._trust.show(lines[-1].checkpoint)
        answers: list[Receipt | Rejection] = []
        for raw, line in zip(envelopes, lines, strict=False):
            if line.receipt is not None:
                self._check_leaf(raw, line.receipt)
                answers.append(line.receipt)
            elif line.problem is not None:
                answers.append(Rejection(line.problem.code, line.problem.detail))
            else:
                raise Untrusted("an answer is neither receipt nor problem")
        return answers

    async def receipt(self, transaction: UUID) -> Receipt | None:
        """The own receipt by id: how a lost answer is learnt without sending again. None: not accepted."""
        return await self._connection.find(f"{Path.TRANSACTIONS}/{transaction}", Receipt, authorised=True)

    # reading

    async def see(self, note: str) -> Checkpoint:
        """Believe a checkpoint: signed by the log, and one history with all others seen. Raises Untrusted."""
        shown = self._trust.show(note)
        await self._trust.settle()
        return shown

    async def _fetch_history(self, sizes: Sequence[int]) -> list[list[bytes]]:
        proofs: list[tuple[str, ...]] = []
        try:
            for first in range(0, len(sizes) - 1, MAX_HISTORY - 1):  # the last size of one call begins the next
                history = await self._connection.get(
                    Path.HISTORY, History, {"sizes": sizes[first : first + MAX_HISTORY]}
                )
                proofs += history.proofs
        except Rejected:  # an older ledger proves two at a time
            pairs = [{"old": old, "new": new} for old, new in itertools.pairwise(sizes)]
            proofs = [(await self._connection.get(Path.CONSISTENCY, Proof, pair)).hashes for pair in pairs]
        return [[bytes.fromhex(node) for node in proof] for proof in proofs]

    async def settle(self) -> None:
        """Wait until every checkpoint shown so far is proven to be one history. Raises Untrusted, Unreachable."""
        await self._trust.settle()

    async def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, verified."""
        response = await self._connection.call("GET", Path.CHECKPOINT)
        return await self.see(response.text)

    async def note(self) -> bytes:
        """The newest checkpoint as the signed note it came in, verified."""
        response = await self._connection.call("GET", Path.CHECKPOINT)
        await self.see(response.text)
        return response.content

    async def bundle(self, tile: Tile) -> bytes:
        """An entry bundle, for issuer and auditors; it proves nothing yet (`export`). Raises Rejected."""
        return await self._connection.ask("GET", f"/{tile.path}", authorised=True)

    async def hash_tile(self, tile: Tile) -> bytes:
        """A hash tile, for everybody; what is made from it must lead to a signed root. Raises Rejected `not-found`."""
        return await self._connection.ask("GET", f"/{tile.path}")

    async def find_operator(self, operator: str) -> Operator:
        """What everybody may know of an operator. Raises Rejected `not-found`."""
        view = await self._connection.get(f"{Path.OPERATORS}/{operator}", api.OperatorView)
        return view.operator

    async def operator_keys(self, operator: str) -> tuple[Key, ...]:
        """The keys of an operator that are valid now."""
        view = await self._connection.get(f"{Path.OPERATORS}/{operator}", api.OperatorView)
        return view.keys

    async def account(self) -> Account:
        """The own balances."""
        return await self._connection.get(Path.ACCOUNT, Account, authorised=True)

    async def offers(self, **search: str | int) -> list[Offer]:
        """Every offer that fits: country, plmn, category, service, publisher, max_price, valid_at (API page)."""
        return await self._connection.get_all(Path.OFFERS, Page[Offer], search)

    async def offer(self, offer: UUID) -> Offer:
        """One offer this operator may see. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.OFFERS}/{offer}", Offer, authorised=True)

    async def requests_for_bids(self, **search: str | int) -> list[BidRequest]:
        """What buyers look for now: buyer, country, plmn, category."""
        return await self._connection.get_all(Path.BIDS, Page[BidRequest], search)

    async def quality(self, operator: str, *, days: int = 90) -> Quality:
        """An operator's service record."""
        return await self._connection.get(f"{Path.OPERATORS}/{operator}/quality", Quality, {"days": days})

    async def requests(self, **search: str | int) -> list[Request]:
        """The own requests: role (home, visited), state, offer."""
        return await self._connection.get_all(Path.REQUESTS, Page[Request], search)

    async def request(self, request: UUID) -> Request:
        """One request this operator is a party of. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.REQUESTS}/{request}", Request, authorised=True)

    async def propose(self, kind: type[Message], /, **fields: Any) -> str:
        """Propose something (an invoice, a cycle, a deal); returns the leaf hash that consents cite."""
        return (await self.submit(self.make(kind, **fields))).leaf

    async def consent(self, proposal: str) -> Receipt:
        """Agree to a proposal, by its leaf hash, after having read it."""
        return await self.submit(self.make(Consent, proposal=proposal))

    async def refuse(self, proposal: str, reason: str) -> Receipt:
        """Do not agree to a proposal, or withdraw one's own."""
        return await self.submit(self.make(RefuseProposal, proposal=proposal, reason=reason))

    async def pay(self, obligation: UUID, amount: int) -> Receipt:
        """Pay `amount` micro-SDRt of an obligation."""
        return await self.submit(self.make(Pay, obligation=obligation, amount=amount))

    async def proposals(self, **search: str | int) -> list[Proposal]:
        """Proposals this operator made or is asked about: state, kind."""
        return await self._connection.get_all(Path.PROPOSALS, Page[Proposal], search)

    async def proposal(self, leaf: str) -> Proposal:
        """One of those. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.PROPOSALS}/{leaf}", Proposal, authorised=True)

    async def cycle(self, cycle: UUID) -> Cycle:
        """A netting cycle this operator is a party of. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.CYCLES}/{cycle}", Cycle, authorised=True)

    async def obligations(self, **search: str | int) -> list[Obligation]:
        """What this operator owes and is owed: role (debtor, creditor), state. The issuer and auditors see all."""
        return await self._connection.get_all(Path.OBLIGATIONS, Page[Obligation], search)

    async def obligation(self, obligation: UUID) -> Obligation:
        """One of those. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.OBLIGATIONS}/{obligation}", Obligation, authorised=True)

    async def disputes(self, **search: str | int) -> list[Dispute]:
        """Disputes of this operator: role (home, visited), state. The issuer and auditors see all."""
        return await self._connection.get_all(Path.DISPUTES, Page[Dispute], search)

    async def dispute(self, dispute: UUID) -> Dispute:
        """One of those. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.DISPUTES}/{dispute}", Dispute, authorised=True)

    async def deals(self, **search: str | int) -> list[Deal]:
        """The own deals: state."""
        return await self._connection.get_all(Path.DEALS, Page[Deal], search)

    async def deal(self, deal: UUID) -> Deal:
        """One of those. Raises Rejected `not-found`."""
        return await self._connection.get(f"{Path.DEALS}/{deal}", Deal, authorised=True)

    async def deal_periods(self, deal: UUID) -> list[DealPeriod]:
        """What a deal came to, period by period; one without traffic that is not settled is not in it."""
        page = await self._connection.get(f"{Path.DEALS}/{deal}/periods", Page[DealPeriod], authorised=True)
        return list(page.items)

    async def record_document(
        self, digest: str, kind: str, *, counterparty: str | None = None, period: str | None = None
    ) -> Receipt:
        """Put a document's SHA-256 (hex) on the ledger."""
        fields = {"counterparty": counterparty, "period": period}
        return await self.submit(self.make(RecordDocument, digest=digest, kind=kind, **fields))

    async def find_document(self, digest: str) -> list[Recorded]:
        """Entries that record a document's SHA-256 (hex), oldest first."""
        return await self._connection.find(f"{Path.DOCUMENTS}/{digest}", list[Recorded]) or []

    async def attestations(self) -> list[Attestation]:
        """What was stated of the deposits behind the SDRt, newest first."""
        page = await self._connection.get(Path.ATTESTATIONS, Page[Attestation])
        return list(page.items)

    async def entries(self, *, after: int = -1, limit: int = api.PAGE) -> list[Entry]:
        """A page of the entries this operator sent or is named by, in order."""
        page = await self._connection.get(Path.ENTRIES, Page[Entry], {"after": after, "limit": limit}, authorised=True)
        return list(page.items)

    async def follow(self, *, after: int = -1) -> AsyncIterator[Entry]:
        """Those entries for ever, as they become durable, over server-sent events; goes on after a lost connection."""
        while True:
            with contextlib.suppress(httpx.TransportError, Unreachable):
                async with contextlib.aclosing(self._connection.events(Path.EVENTS, {"after": after})) as events:
                    async for event in events:
                        entry = _entry_decoder.decode(event)
                        after = entry.index
                        yield entry
            await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter

    # sealed payloads, beside the log

    async def put_payload(self, ciphertext: bytes) -> str:
        """Lay a sealed payload beside the log; returns its digest, which an accept then names."""
        digest = sha256(ciphertext).hexdigest()
        await self._connection.ask("PUT", f"{Path.PAYLOADS}/{digest}", content=ciphertext, authorised=True)
        return digest

    async def payload(self, digest: str) -> bytes:
        """Fetch a sealed payload; its digest is checked. Raises Rejected `not-found`, Untrusted."""
        ciphertext = await self._connection.ask("GET", f"{Path.PAYLOADS}/{digest}", authorised=True)
        if sha256(ciphertext).hexdigest() != digest:
            raise Untrusted(f"the payload {digest} has other octets than its digest")
        return ciphertext

    async def erase_payload(self, digest: str) -> None:
        """Erase a payload that this operator sent or received."""
        await self._connection.call("DELETE", f"{Path.PAYLOADS}/{digest}", authorised=True)

    def _check_leaf(self, raw: bytes, receipt: Receipt) -> None:
        if merkle.leaf_hash(leaf_data(receipt.time, raw)).hex() != receipt.leaf:
            raise Untrusted(f"the receipt of {receipt.id} is for other octets than were sent")


_answer_decoder = msgspec.json.Decoder(Answer)
_entry_decoder = msgspec.json.Decoder(Entry)


def message_of(entry: Entry) -> Message:
    """The message of an entry that was read. Its signature is the ledger's and the auditor's to check."""
    return parse(entry.envelope.encode()).message
