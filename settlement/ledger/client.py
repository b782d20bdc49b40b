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
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import UUID

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
    Problem,
    Proof,
    Quality,
    Receipt,
    Recorded,
)
from settlement.ledger.checkpoint import Checkpoint
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

EXPIRY_S: Final = 300
"""How long an envelope may wait for acceptance: longer than all retries together."""
ATTEMPTS: Final = 8
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 10.0
"""Retries after a lost connection or 503: 0.1 s, doubled each time with jitter, at most 10 s: some 25 s in all."""
ASSERTION_S: Final = 60
"""Lifetime of a client assertion; it is used at once."""

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class Rejected(Exception):  # noqa: N818 - what it says is that the ledger rejected
    """The ledger's answer was no: `rejection.code` is one of docs/rejections.md."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(f"{rejection.code}: {rejection.detail}")
        self.rejection = rejection


class Unreachable(Exception):  # noqa: N818
    """The ledger did not answer in all attempts: whether a transaction was taken is unknown; send the same again."""


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
        self.signer = signer
        self._trust = Trust(log, self._fetch_history, seen)
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0, limits=limits)
        self._token: tuple[str, float] = ("", 0.0)

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
        await self._http.aclose()

    @property
    def seen(self) -> Checkpoint | None:
        """The newest checkpoint believed; set it at first to what an earlier run believed."""
        return self._trust.seen

    @seen.setter
    def seen(self, believed: Checkpoint) -> None:
        self._trust.seen = believed

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
        return await self.send(self._signer().sign(message))

    async def send(self, raw: bytes) -> Receipt:
        """Send one signed envelope until it is answered. Raises Rejected, Unreachable, Untrusted."""
        response = await self._call("POST", Path.TRANSACTIONS, content=raw, headers={"content-type": JOSE})
        receipt = _read(response, Receipt)
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
        signer = self._signer()
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
        response = await self._call(
            "POST", Path.TRANSACTIONS, content=b"\n".join(envelopes), headers={"content-type": JOSE_SEQUENCE}
        )
        if response.status_code >= 400:
            raise Rejected(_problem(response))
        lines = [_answer_decoder.decode(line) for line in response.content.splitlines()]
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
        response = await self._call("GET", f"{Path.TRANSACTIONS}/{transaction}", authorised=True)
        return None if response.status_code == 404 else _read(response, Receipt)

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
                history = await self._get(Path.HISTORY, History, {"sizes": sizes[first : first + MAX_HISTORY]})
                proofs += history.proofs
        except Rejected:  # an older ledger proves two at a time
            pairs = [{"old": old, "new": new} for old, new in itertools.pairwise(sizes)]
            proofs = [(await self._get(Path.CONSISTENCY, Proof, pair)).hashes for pair in pairs]
        return [[bytes.fromhex(node) for node in proof] for proof in proofs]

    async def settle(self) -> None:
        """Wait until every checkpoint shown so far is proven to be one history. Raises Untrusted, Unreachable."""
        await self._trust.settle()

    async def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, verified."""
        response = await self._call("GET", Path.CHECKPOINT)
        return await self.see(response.text)

    async def note(self) -> bytes:
        """The newest checkpoint as the signed note it came in, verified."""
        response = await self._call("GET", Path.CHECKPOINT)
        await self.see(response.text)
        return response.content

    async def bundle(self, tile: Tile) -> bytes:
        """An entry bundle, for issuer and auditors; it proves nothing yet (`export`). Raises Rejected."""
        response = await self._call("GET", f"/{tile.path}", authorised=True)
        if response.status_code >= 400:
            raise Rejected(_problem(response))
        return response.content

    async def hash_tile(self, tile: Tile) -> bytes:
        """A hash tile, for everybody; what is made from it must lead to a signed root. Raises Rejected `not-found`."""
        response = await self._call("GET", f"/{tile.path}")
        if response.status_code >= 400:
            raise Rejected(_problem(response))
        return response.content

    async def find_operator(self, operator: str) -> Operator:
        """What everybody may know of an operator. Raises Rejected `not-found`."""
        view = await self._get(f"{Path.OPERATORS}/{operator}", api.OperatorView)
        return view.operator

    async def operator_keys(self, operator: str) -> tuple[Key, ...]:
        """The keys of an operator that are valid now."""
        view = await self._get(f"{Path.OPERATORS}/{operator}", api.OperatorView)
        return view.keys

    async def account(self) -> Account:
        """The own balances."""
        return await self._get(Path.ACCOUNT, Account, authorised=True)

    async def offers(self, **search: str | int) -> list[Offer]:
        """Every offer that fits: country, plmn, category, service, publisher, max_price, valid_at (API page)."""
        return await self._all(Path.OFFERS, Page[Offer], search)

    async def offer(self, offer: UUID) -> Offer:
        """One offer this operator may see. Raises Rejected `not-found`."""
        return await self._get(f"{Path.OFFERS}/{offer}", Offer, authorised=True)

    async def requests_for_bids(self, **search: str | int) -> list[BidRequest]:
        """What buyers look for now: buyer, country, plmn, category."""
        return await self._all(Path.BIDS, Page[BidRequest], search)

    async def quality(self, operator: str, *, days: int = 90) -> Quality:
        """An operator's service record."""
        return await self._get(f"{Path.OPERATORS}/{operator}/quality", Quality, {"days": days})

    async def requests(self, **search: str | int) -> list[Request]:
        """The own requests: role (home, visited), state, offer."""
        return await self._all(Path.REQUESTS, Page[Request], search)

    async def request(self, request: UUID) -> Request:
        """One request this operator is a party of. Raises Rejected `not-found`."""
        return await self._get(f"{Path.REQUESTS}/{request}", Request, authorised=True)

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
        return await self._all(Path.PROPOSALS, Page[Proposal], search)

    async def proposal(self, leaf: str) -> Proposal:
        """One of those. Raises Rejected `not-found`."""
        return await self._get(f"{Path.PROPOSALS}/{leaf}", Proposal, authorised=True)

    async def cycle(self, cycle: UUID) -> Cycle:
        """A netting cycle this operator is a party of. Raises Rejected `not-found`."""
        return await self._get(f"{Path.CYCLES}/{cycle}", Cycle, authorised=True)

    async def obligations(self, **search: str | int) -> list[Obligation]:
        """What this operator owes and is owed: role (debtor, creditor), state. The issuer and auditors see all."""
        return await self._all(Path.OBLIGATIONS, Page[Obligation], search)

    async def obligation(self, obligation: UUID) -> Obligation:
        """One of those. Raises Rejected `not-found`."""
        return await self._get(f"{Path.OBLIGATIONS}/{obligation}", Obligation, authorised=True)

    async def disputes(self, **search: str | int) -> list[Dispute]:
        """Disputes of this operator: role (home, visited), state. The issuer and auditors see all."""
        return await self._all(Path.DISPUTES, Page[Dispute], search)

    async def dispute(self, dispute: UUID) -> Dispute:
        """One of those. Raises Rejected `not-found`."""
        return await self._get(f"{Path.DISPUTES}/{dispute}", Dispute, authorised=True)

    async def deals(self, **search: str | int) -> list[Deal]:
        """The own deals: state."""
        return await self._all(Path.DEALS, Page[Deal], search)

    async def deal(self, deal: UUID) -> Deal:
        """One of those. Raises Rejected `not-found`."""
        return await self._get(f"{Path.DEALS}/{deal}", Deal, authorised=True)

    async def deal_periods(self, deal: UUID) -> list[DealPeriod]:
        """What a deal came to, period by period; one without traffic that is not settled is not in it."""
        page = await self._get(f"{Path.DEALS}/{deal}/periods", Page[DealPeriod], authorised=True)
        return list(page.items)

    async def record_document(
        self, digest: str, kind: str, *, counterparty: str | None = None, period: str | None = None
    ) -> Receipt:
        """Put a document's SHA-256 (hex) on the ledger."""
        fields = {"counterparty": counterparty, "period": period}
        return await self.submit(self.make(RecordDocument, digest=digest, kind=kind, **fields))

    async def find_document(self, digest: str) -> list[Recorded]:
        """Entries that record a document's SHA-256 (hex), oldest first."""
        response = await self._call("GET", f"{Path.DOCUMENTS}/{digest}")
        return [] if response.status_code == 404 else _read(response, list[Recorded])

    async def attestations(self) -> list[Attestation]:
        """What was stated of the deposits behind the SDRt, newest first."""
        page = await self._get(Path.ATTESTATIONS, Page[Attestation])
        return list(page.items)

    async def entries(self, *, after: int = -1, limit: int = api.PAGE) -> list[Entry]:
        """A page of the entries this operator sent or is named by, in order."""
        page = await self._get(Path.ENTRIES, Page[Entry], {"after": after, "limit": limit}, authorised=True)
        return list(page.items)

    async def follow(self, *, after: int = -1) -> AsyncIterator[Entry]:
        """Those entries for ever, as they become durable, over server-sent events; goes on after a lost connection."""
        while True:
            try:
                headers = {"authorization": f"Bearer {await self._bearer()}", "accept": "text/event-stream"}
                params = {"after": after}
                async with self._http.stream(
                    "GET", Path.EVENTS, params=params, headers=headers, timeout=30.0
                ) as stream:
                    if stream.status_code == 401:
                        self._token = ("", 0.0)
                    async for line in stream.aiter_lines():
                        if line.startswith("data:"):
                            entry = _entry_decoder.decode(line[5:].encode())
                            after = entry.index
                            yield entry
            except (httpx.TransportError, Unreachable):
                pass
            await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter

    # sealed payloads, beside the log

    async def put_payload(self, ciphertext: bytes) -> str:
        """Lay a sealed payload beside the log; returns its digest, which an accept then names."""
        digest = sha256(ciphertext).hexdigest()
        response = await self._call("PUT", f"{Path.PAYLOADS}/{digest}", content=ciphertext, authorised=True)
        if response.status_code >= 400:
            raise Rejected(_problem(response))
        return digest

    async def payload(self, digest: str) -> bytes:
        """Fetch a sealed payload; its digest is checked. Raises Rejected `not-found`, Untrusted."""
        response = await self._call("GET", f"{Path.PAYLOADS}/{digest}", authorised=True)
        if response.status_code >= 400:
            raise Rejected(_problem(response))
        if sha256(response.content).hexdigest() != digest:
            raise Untrusted(f"the payload {digest} has other octets than its digest")
        return response.content

    async def erase_payload(self, digest: str) -> None:
        """Erase a payload that this operator sent or received."""
        await self._call("DELETE", f"{Path.PAYLOADS}/{digest}", authorised=True)

    # the wire

    def _signer(self) -> Signer:
        assert self.signer is not None, "this client was made for reading: it has no signer"
        return self.signer

    def _check_leaf(self, raw: bytes, receipt: Receipt) -> None:
        if merkle.leaf_hash(leaf_data(receipt.time, raw)).hex() != receipt.leaf:
            raise Untrusted(f"the receipt of {receipt.id} is for other octets than were sent")

    async def _bearer(self) -> str:
        token, until = self._token
        if time.monotonic() < until:
            return token
        signer, now = self._signer(), int(time.time())
        claims = {
            "iss": self.operator,
            "sub": self.operator,
            "aud": self.origin,
            "iat": now,
            "exp": now + ASSERTION_S,
            "jti": str(new_id()),
        }
        key = Ed25519PrivateKey.from_private_bytes(signer.key.seed)
        assertion = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": signer.kid})
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        response = await self._call("POST", Path.TOKEN, data=form)
        granted = _read(response, api.Token)
        self._token = (granted.access_token, time.monotonic() + granted.expires_in * 0.8)
        return granted.access_token

    async def _call(self, method: str, path: str, *, authorised: bool = False, **options: Any) -> httpx.Response:
        """One call, again after a lost connection, a 503 or a token that has run out. Raises Unreachable."""
        pause, last = FIRST_PAUSE_S, "no attempt"
        for _ in range(ATTEMPTS):
            try:
                if authorised:
                    token = await self._bearer()
                    options["headers"] = {**options.get("headers", {}), "authorization": f"Bearer {token}"}
                response = await self._http.request(method, path, **options)
                if response.status_code == 401 and authorised:
                    self._token = ("", 0.0)
                elif response.status_code < 500:
                    return response
                last = f"HTTP {response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                last = f"{type(error).__name__} {error}"
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, MAX_PAUSE_S)
        raise Unreachable(f"{method} {self._http.base_url}{path}: {ATTEMPTS} attempts failed, the last with {last}")

    async def _get(
        self, path: str, shape: type[T], params: Mapping[str, Any] | None = None, *, authorised: bool = False
    ) -> T:
        return _read(await self._call("GET", path, params=params or {}, authorised=authorised), shape)

    async def _all(self, path: str, shape: type[Page[T]], search: Mapping[str, str | int]) -> list[T]:
        items: list[T] = []
        params = dict(search)
        while True:
            page: Page[T] = await self._get(path, shape, params, authorised=True)
            items.extend(page.items)
            if page.next is None:
                return items
            params["after"] = page.next


_answer_decoder = msgspec.json.Decoder(Answer)
_entry_decoder = msgspec.json.Decoder(Entry)


def message_of(entry: Entry) -> Message:
    """The message of an entry that was read. Its signature is the ledger's and the auditor's to check."""
    return parse(entry.envelope.encode()).message


def _problem(response: httpx.Response) -> Rejection:
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        return Rejection("not-found", f"HTTP {response.status_code}: {response.text[:200]}")
    return Rejection(problem.code, problem.detail)


def _read(response: httpx.Response, shape: type[T]) -> T:
    if response.status_code >= 400:
        raise Rejected(_problem(response))
    return msgspec.json.decode(response.content, type=shape)
