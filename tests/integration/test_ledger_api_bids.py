"""Buyers say what they look for, bids are for their eyes alone, and how an operator served is on record."""

import pytest

from settlement.ledger.client import Rejected, message_of
from settlement.ledger.messages import DeclineRequest, PublishOffer, RequestBids, Wanted, WithdrawBids
from tests.integration.ledger_world import DAY_MS, LedgerWorld, make_terms, now_ms

WANTED = Wanted(description={"en": "a season for 40 phones"}, category="telecom", countries=("IS",), quantity=40)


async def test_a_bid_reaches_its_buyer_and_nobody_else(ledger: LedgerWorld) -> None:
    async with ledger.operator() as buyer, ledger.operator() as bidder, ledger.operator() as third:
        asked = buyer.client.make(RequestBids, wanted=WANTED, until=now_ms() + DAY_MS)
        await buyer.client.submit(asked)
        [found] = await bidder.client.requests_for_bids(country="IS", buyer=buyer.id)
        assert (found.id, found.wanted) == (asked.id, WANTED)
        assert await bidder.client.requests_for_bids(country="FR", buyer=buyer.id) == []
        terms = make_terms(countries=("IS",), plmns=(), whitelist=(buyer.id,))
        await bidder.client.submit(bidder.client.make(PublishOffer, terms=terms, bid_for=found.id))
        [bid] = await buyer.client.offers(country="IS", publisher=bidder.id)
        assert await third.client.offers(country="IS", publisher=bidder.id) == []
        [told] = [entry for entry in await buyer.client.entries() if entry.sender == bidder.id]
        assert message_of(told).id == bid.id
        await buyer.client.submit(buyer.client.make(WithdrawBids, bids=asked.id))
        assert await bidder.client.requests_for_bids(buyer=buyer.id) == []
        with pytest.raises(Rejected, match="offer-closed"):
            await bidder.client.submit(bidder.client.make(PublishOffer, terms=terms, bid_for=found.id))


async def test_what_became_of_requests_is_an_operators_record(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=10**9) as home, ledger.operator() as visited:
        offer = await visited.publish()
        orders = [await home.order(offer) for _ in range(4)]
        await visited.accept(orders[0])
        for request, cause in zip(orders[1:3], ("no-capacity", "no-capacity"), strict=True):
            await visited.client.submit(visited.client.make(DeclineRequest, request=request, cause=cause))
        async with ledger.client() as anybody:
            record = await anybody.quality(visited.id)
            assert record.requests == {"accepted": 1, "declined": 2, "requested": 1}
            assert record.causes == {"declined": {"no-capacity": 2}}
            assert (await anybody.quality(home.id, days=1)).requests == {}
            with pytest.raises(Rejected, match="unknown-operator"):
                await anybody.quality("nobody-here")
