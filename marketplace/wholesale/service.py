"""The visited operator's and the service provider's side: offers published, requests answered, their ends kept.

A request that the follower brings becomes a task `answer` at once (policy `auto`) or when staff accept it. The task
takes a profile from the pool (or a code), enters it in the HLR, seals it to the home's delivery key and stores the
accept; each step finds what an earlier attempt left. When the request ends, a task `retire` bars the profile in the
HLR and quarantines it, or, if it never left this node, gives it back.
"""

import hashlib
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.codes.service import CodePool
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.outbox import Outbox, now_ms
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.networks.hlr import HlrClient
from marketplace.operator_database import Database
from marketplace.operator_problems import Refusal
from marketplace.profiles.service import ProfilePool
from marketplace.usage.service import UsageReports
from marketplace.wholesale import repository
from marketplace.wholesale.schemas import NewBidRequest, NewOffer, OfferView, Registration, RequestView, Taken
from ota.sealing import SealContext, SealPublicKey, seal
from settlement.ledger.api import Entry, Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import (
    AcceptRequest,
    ActivateRequest,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    ExpireRequest,
    Message,
    PlaceRequest,
    PublishOffer,
    RequestBids,
    WithdrawBids,
    WithdrawOffer,
)
from settlement.ledger.rejections import Rejection
from settlement.ledger.state import Request

MINUTE_MS = 60_000


class Wholesale:
    """What this operator sells to others."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerClient,
        outbox: Outbox,
        follower: Follower,
        tasks: Tasks,
        pool: ProfilePool,
        codes: CodePool,
        usage: UsageReports,
        hlrs: dict[str, HlrClient],
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._outbox = outbox
        self._tasks = tasks
        self._pool = pool
        self._codes = codes
        self._usage = usage
        self._hlrs = hlrs
        outbox.on_answer(PublishOffer, self._see_published)
        follower.on(PublishOffer, self._see_offer)
        follower.on(WithdrawOffer, self._see_withdrawn)
        follower.on(PlaceRequest, self._see_request)
        follower.on(ActivateRequest, self._see_active)
        for kind in (CancelRequest, DeclineRequest, ExpireRequest, CloseRequest):
            follower.on(kind, self._see_end)
        tasks.on("answer", self.answer)
        tasks.on("close", self.finish)
        tasks.on("retire", self.retire)

    # offers

    async def publish(self, new: NewOffer) -> OfferView:
        """Store an offer and send it to the ledger."""
        message = self._ledger.make(PublishOffer, terms=new.terms, supersedes=new.supersedes, bid_for=new.bid_for)
        async with self._database.begin() as connection:
            await repository.put_offer(
                connection,
                offer=message.id,
                publisher=self._ledger.operator,
                terms=new.terms,
                policy=new.policy,
                state="publishing",
            )
            await self._outbox.enqueue(connection, message, subject=str(message.id))
            view = await repository.find_offer(connection, message.id)
        assert view is not None, "it was just put there"
        return view

    async def request_bids(self, new: NewBidRequest) -> Taken:
        """Tell the market what this operator looks for; bids come as offers that only it can find."""
        message = self._ledger.make(RequestBids, wanted=new.wanted, until=new.until)
        async with self._database.begin() as connection:
            await self._outbox.enqueue(connection, message, subject=str(message.id))
        return Taken(message.id, "publishing")

    async def withdraw_bids(self, bids: UUID) -> Taken:
        """Take no further bids; those made stay offers."""
        async with self._database.begin() as connection:
            await self._outbox.enqueue(connection, self._ledger.make(WithdrawBids, bids=bids), subject=str(bids))
        return Taken(bids, "withdrawing")

    async def withdraw(self, offer: UUID) -> OfferView:
        """Take no new requests on an own offer. Raises Refusal."""
        async with self._database.begin() as connection:
            view = await repository.find_offer(connection, offer)
            if view is None or view.publisher != self._ledger.operator:
                raise Refusal("not-found", f"there is no own offer {offer}")
            if view.deal is not None:
                raise Refusal("wrong-state", f"offer {offer} is part of deal {view.deal}, which both agreed on")
            if view.state != "open":
                raise Refusal("wrong-state", f"offer {offer} is {view.state}, only an open one is withdrawn")
            await self._outbox.enqueue(connection, self._ledger.make(WithdrawOffer, offer=offer), subject=str(offer))
        return view

    async def _see_published(
        self, connection: AsyncConnection, subject: str, _: Message, answer: Receipt | Rejection
    ) -> None:
        if isinstance(answer, Rejection):
            await repository.set_offer_state(
                connection, UUID(subject), "rejected", cause=f"{answer.code}: {answer.detail}"
            )

    async def _see_offer(self, connection: AsyncConnection, entry: Entry, message: Message, _: Request | None) -> None:
        assert isinstance(message, PublishOffer)
        await repository.put_offer(
            connection,
            offer=message.id,
            publisher=entry.sender,
            terms=message.terms,
            policy="hold",  # published with this key but not by this node: its staff decide
            state="open",
        )
        await repository.set_offer_state(connection, message.id, "open", published_ms=entry.time)
        if message.supersedes is not None:
            await repository.set_offer_state(connection, message.supersedes, "superseded")

    async def _see_withdrawn(self, connection: AsyncConnection, _: Entry, message: Message, __: Request | None) -> None:
        assert isinstance(message, WithdrawOffer)
        await repository.set_offer_state(connection, message.offer, "withdrawn")

    # requests

    async def _see_request(self, connection: AsyncConnection, _: Entry, __: Message, request: Request | None) -> None:
        assert request is not None
        if request.visited != self._ledger.operator:
            return
        offer = await repository.find_offer(connection, request.offer)
        if offer is not None and offer.policy == "auto":
            await self._tasks.add(connection, "answer", str(request.id))

    async def accept(self, request: UUID) -> RequestView:
        """Staff accept a held request. Raises Refusal."""
        async with self._database.begin() as connection:
            row = await self._serving(connection, request, "requested")
            await self._tasks.add(connection, "answer", str(request))
        return row

    async def decline(self, request: UUID, cause: str) -> RequestView:
        """Staff decline a request. Raises Refusal."""
        async with self._database.begin() as connection:
            row = await self._serving(connection, request, "requested")
            if await self._outbox.find(connection, "accept", str(request)):
                raise Refusal("wrong-state", f"request {request} is being accepted")
            await self._decline(connection, request, cause)
        return row

    async def close(self, request: UUID) -> RequestView:
        """No more use is to come: what was taken in is reported first. Raises Refusal."""
        async with self._database.begin() as connection:
            row = await self._serving(connection, request, "active")
            await self._tasks.add(connection, "close", str(request))
        return row

    async def finish(self, subject: str) -> None:
        """Task: close a request once all its usage is settled."""
        request = UUID(subject)
        await self._usage.report()
        async with self._database.begin() as connection:
            if (await repository.get_request(connection, request)).state != "active":
                return
            if await self._usage.has_unsettled(connection, request):
                raise Later(0.3, "usage is still being reported")
            await self._outbox.enqueue(connection, self._ledger.make(CloseRequest, request=request), subject=subject)

    async def _serving(self, connection: AsyncConnection, request: UUID, state: str) -> RequestView:
        row = await repository.get_request(connection, request)
        if row.role != "visited":
            raise Refusal("wrong-state", f"this operator is the home of request {request}")
        if row.state != state:
            raise Refusal("wrong-state", f"request {request} is {row.state}, it must be {state}")
        return row

    async def answer(self, subject: str) -> None:
        """Task: accept a request with what its offer delivers, or decline for want of it."""
        request_id = UUID(subject)
        async with self._database.begin() as connection:
            request = await repository.get_request(connection, request_id)
            offer = await repository.find_offer(connection, request.offer)
            if request.state != "requested" or await self._outbox.find(connection, "accept", subject):
                return
            assert offer is not None, "offers are followed before their requests"
            secret, profile = b"", None
            if offer.terms.delivery == "profile":
                profile = await self._pool.assign(connection, request_id, offer.terms)
                if profile is None:
                    await self._decline(connection, request_id, "no-profile-free")
                    return
                secret = profile.encode()
            elif offer.terms.delivery == "code":
                secret = (await self._codes.assign(connection, request_id, offer.id)).encode()
            else:
                await self._decline(connection, request_id, "delivery-not-supported")
                return
        if profile is not None:
            await self._hlr(profile.imsi).provision(profile)
        sealed = await self._seal(request, secret)
        if sealed is None:
            async with self._database.begin() as connection:
                await self._decline(connection, request_id, "unknown-delivery-key")
            return
        async with self._database.begin() as connection:
            if profile is not None and not await self._pool.mark_sent(connection, request_id):
                return  # the request ended meanwhile and the profile is somebody else's to have
            accept = self._ledger.make(AcceptRequest, request=request_id, payload=hashlib.sha256(sealed).hexdigest())
            await self._outbox.enqueue(connection, accept, subject=subject, payload=sealed)

    async def _seal(self, request: RequestView, secret: bytes) -> bytes | None:
        keys = await self._ledger.operator_keys(request.home)
        key = next((key for key in keys if key.kid == request.delivery_key and key.purpose == "seal"), None)
        if key is None:
            return None
        context = SealContext(origin=self._ledger.origin, visited=self._ledger.operator, request=str(request.id))
        return seal(secret, recipient=SealPublicKey.from_bytes(key.public), info=context)

    async def _decline(self, connection: AsyncConnection, request: UUID, cause: str) -> None:
        message = self._ledger.make(DeclineRequest, request=request, cause=cause)
        await self._outbox.enqueue(connection, message, subject=str(request))

    def _hlr(self, imsi: str) -> HlrClient:
        return self._hlrs[self._pool.network_of(imsi).plmn]

    # activation

    async def register(self, registration: Registration) -> None:
        """A network tells a first registration: the request is active from that minute. Unknown IMSIs are ignored."""
        async with self._database.begin() as connection:
            profile = await self._pool.find_by_imsi(connection, registration.imsi)
            if profile is None or profile.request is None or profile.state != "assigned":
                return
            await self._pool.set_active(connection, profile.id)
            await self._activate(connection, profile.request, registration.time_ms)

    async def redeem(self, code: str) -> UUID:
        """Redeem an SP code; the request it was for. Raises Refusal."""
        async with self._database.begin() as connection:
            request = await self._codes.redeem(connection, code)
            await self._activate(connection, request, now_ms())
        return request

    async def _activate(self, connection: AsyncConnection, request: UUID, time_ms: int) -> None:
        message = self._ledger.make(ActivateRequest, request=request, at=time_ms // MINUTE_MS)
        await self._outbox.enqueue(connection, message, subject=str(request))

    async def _see_active(self, connection: AsyncConnection, _: Entry, __: Message, request: Request | None) -> None:
        """A redeemed code leaves nothing to report: the request closes."""
        assert request is not None
        if request.visited != self._ledger.operator:
            return
        offer = await repository.find_offer(connection, request.offer)
        if offer is not None and offer.terms.delivery == "code":
            message = self._ledger.make(CloseRequest, request=request.id, cause="redeemed")
            await self._outbox.enqueue(connection, message, subject=str(request.id))

    # ends

    async def _see_end(self, connection: AsyncConnection, _: Entry, __: Message, request: Request | None) -> None:
        assert request is not None
        if request.visited == self._ledger.operator:
            await self._tasks.add(connection, "retire", str(request.id))

    async def retire(self, subject: str) -> None:
        """Task: end the life of what served a request."""
        request = UUID(subject)
        async with self._database.begin() as connection:
            await self._codes.void(connection, request)
            profile = await self._pool.find_by_request(connection, request)
            if profile is None or profile.state == "quarantined":
                return
            if not profile.sent:
                if await self._pool.give_back(connection, profile.id):
                    return
                raise Later(0.1, "the profile was sent in this moment")
        await self._hlr(profile.imsi).bar(profile.imsi)
        async with self._database.begin() as connection:
            await self._pool.quarantine(connection, profile.id)
