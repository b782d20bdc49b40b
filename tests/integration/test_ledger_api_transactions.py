"""Writing: receipts that prove themselves, repetition, conflict, sequences, and refusals in the one shape."""

from tests.integration.ledger_world import LedgerWorld


async def test_an_offer_is_ordered_and_accepted_and_money_waits_in_escrow(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=5_000_000) as home, ledger.operator() as visited:
        offer = await visited.publish()
        request = await home.order(offer)
        await visited.accept(request)
        assert (await home.client.request(request)).state == "accepted"
        account = await home.client.account()
        assert (account.available, account.escrow) == (4_000_000, 1_000_000)
