"""Reading: searches and pages, events as they become durable, and a log that anybody can check from outside."""

import asyncio
import itertools
from contextlib import aclosing
from typing import Any

import httpx
import msgspec
import pytest

from settlement.ledger.api import Entry, History, OperatorView, Page, Path, Problem, Proof
from settlement.ledger.client import message_of
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import inclusion_proof, leaf_hash, root, verify_inclusion
from settlement.ledger.messages import PublishOffer, WithdrawOffer
from settlement.ledger.state import Offer, Request
from settlement.ledger.tiles import ENTRIES, TileReader, decode_bundle, inclusion_tiles, tile_at, tile_path
from settlement.usage.tariff import Bundle, Code, Metered
from tests.integration.ledger_world import DAY_MS, PRICE, LedgerWorld, Member, decode, make_terms, now_ms

pytestmark = pytest.mark.usefixtures("ledger")


async def search(member: Member, publisher: Member, **terms: Any) -> list[Any]:
    return [offer.id for offer in await member.client.offers(publisher=publisher.id, **terms)]


async def test_offers_are_found_by_what_they_sell_where_and_for_how_much(ledger: LedgerWorld) -> None:
    async with ledger.operator() as seller, ledger.operator() as buyer:
        data = await seller.publish()
        voice = await seller.publish(Metered(first_price=100, cap=500_000), countries=("FR", "ES"), plmns=())
        insurance = await seller.publish(
            Code(price=2_000_000),
            category="insurance",
            delivery="code",
            countries=(),
            plmns=(),
            name={"en": "Travel insurance", "ru": "Страховка в поездке"},
        )
        assert await search(buyer, seller) == [data, voice, insurance]
        assert await search(buyer, seller, country="ES") == [data, voice]
        assert await search(buyer, seller, country="FR") == [voice]
        assert await search(buyer, seller, plmn="21401") == [data]
        assert await search(buyer, seller, category="insurance") == [insurance]
        assert await search(buyer, seller, service="data") == [data, voice]
        assert await search(buyer, seller, service="voice") == [voice]
        assert await search(buyer, seller, service="code") == [insurance]
        assert await search(buyer, seller, max_price=PRICE) == [data, voice]
        assert await search(buyer, seller, max_price=PRICE - 1) == [voice]
        assert await search(buyer, seller, q="СТРАХОВКА") == [insurance]
        assert await search(buyer, seller, q="in spain", country="FR") == [voice]
        assert await search(buyer, seller, valid_at=now_ms() + 6 * DAY_MS) == []
        assert decode(await buyer.get(f"{Path.OFFERS}/{data}"), Offer).terms.tariff == Bundle(
            price=PRICE, octets=1_000_000_000, hours=72, renewals=5
        )


async def test_a_whitelist_hides_an_offer_from_all_others(ledger: LedgerWorld) -> None:
    async with ledger.operator() as seller, ledger.operator() as friend, ledger.operator() as stranger:
        offer = await seller.publish(whitelist=(friend.id,))
        assert await search(friend, seller) == await search(seller, seller) == [offer]
        assert await search(stranger, seller) == []
        assert (await friend.get(f"{Path.OFFERS}/{offer}")).status_code == 200
        assert (await stranger.get(f"{Path.OFFERS}/{offer}")).status_code == 404


async def test_closed_offers_are_shown_to_their_publisher_alone(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=2 * PRICE) as buyer, ledger.operator() as seller:
        withdrawn, sold = await seller.publish(), await seller.publish(stock=1)
        await seller.client.submit(seller.client.make(WithdrawOffer, offer=withdrawn))
        await buyer.order(sold)
        assert await search(buyer, seller) == []
        assert await search(buyer, seller, status="all") == []
        assert await search(seller, seller, status="all") == [withdrawn, sold]


async def test_listings_come_in_pages_without_gap_or_repetition(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=10 * PRICE) as home, ledger.operator() as visited:
        offers = [visited.client.make(PublishOffer, terms=make_terms()) for _ in range(5)]
        await visited.client.submit_all(offers)
        orders = [home.make_order(offers[0].id) for _ in range(5)]
        await home.client.submit_all(orders)

        async def pages(member: Member, path: str, shape: Any, **params: Any) -> list[list[Any]]:
            found: list[list[Any]] = []
            after: dict[str, str] = {}
            while True:
                page = decode(await member.get(path, limit=2, **after, **params), Page[shape])
                found.append([getattr(item, "id", None) or getattr(item, "index", None) for item in page.items])
                if page.next is None:
                    return found
                after = {"after": page.next}

        ids = sorted(message.id for message in offers)
        expected = [ids[0:2], ids[2:4], ids[4:]]
        assert await pages(home, Path.OFFERS, Offer, publisher=visited.id) == expected
        ids = [order.id for order in orders]  # in the log's order
        assert await pages(home, Path.REQUESTS, Request) == [ids[0:2], ids[2:4], ids[4:]]
        assert await pages(visited, Path.REQUESTS, Request, role="visited") == [ids[0:2], ids[2:4], ids[4:]]
        assert await pages(visited, Path.REQUESTS, Request, role="home") == [[]]
        assert await pages(home, Path.REQUESTS, Request, state="active") == [[]]
        assert await pages(home, Path.REQUESTS, Request, offer=str(offers[1].id)) == [[]]
        strange = await home.get(Path.REQUESTS, after=str(offers[0].id))
        assert (strange.status_code, decode(strange, Problem).code) == (404, "not-found")
        entries = [index for page in await pages(visited, Path.ENTRIES, Entry) for index in page]
        assert entries == sorted(set(entries))
        assert len(entries) == 12  # admission, seal key, five offers, five requests on them


async def test_a_page_of_large_entries_is_short_and_tells_the_next(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        long = {f"a{letter}": "x" * 2000 for letter in "abcdefghijklmnop"}
        offers = [member.client.make(PublishOffer, terms=make_terms(description=long)) for _ in range(110)]
        await member.client.submit_all(offers)
        page = decode(await member.get(Path.ENTRIES, limit=1000), Page[Entry])
        assert sum(len(entry.envelope) for entry in page.items) < 4 * 1024 * 1024 + 65_536
        assert page.next is not None
        rest = decode(await member.get(Path.ENTRIES, limit=1000, after=page.next), Page[Entry])
        assert rest.next is None
        assert len(page.items) + len(rest.items) == 112


async def test_everybody_may_know_who_takes_part_and_with_which_keys(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, ledger.client() as anybody:
        keys = {key.kid: key.purpose for key in await anybody.operator_keys(member.id)}
        assert keys == {
            member.keys.signer.kid: "sign",
            member.keys.recovery.kid: "recovery",
            member.keys.seal.public_key().key_id: "seal",
        }
        async with httpx.AsyncClient(base_url=ledger.url) as http:
            page = decode(await http.get(Path.OPERATORS, params={"limit": 1}), Page[OperatorView])
            assert page.next == page.items[0].operator.id


async def test_events_come_as_they_become_durable_and_go_on_where_they_were_left(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, ledger.operator() as other:
        arriving: asyncio.Queue[Entry] = asyncio.Queue()

        async def follow() -> None:
            async for entry in member.client.follow():
                arriving.put_nowait(entry)

        task = asyncio.create_task(follow())
        async with asyncio.timeout(10):
            seen = [await arriving.get() for _ in range(2)]  # what was there: admission and seal key
            await other.publish()
            offers = [await member.publish() for _ in range(3)]
            seen += [await arriving.get() for _ in range(3)]
        task.cancel()
        assert [message_of(entry).id for entry in seen[2:]] == offers
        assert all(member.id in (entry.sender, entry.counterparty) for entry in seen)
        async with aclosing(member.client.follow(after=seen[-2].index)) as again:  # type: ignore[type-var]
            assert (await anext(again)).index == seen[-1].index


async def test_a_browser_resumes_by_last_event_id(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        await member.publish()
        first, *_, last = await member.client.entries()
        token = await member.client._connection.bearer()
        headers = {"authorization": f"Bearer {token}", "last-event-id": str(last.index - 1)}
        url = f"{ledger.url}{Path.EVENTS}?after={first.index}"
        async with httpx.AsyncClient() as http, http.stream("GET", url, headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for line in stream.aiter_lines():
                if line.startswith("id:"):
                    assert int(line[3:]) == last.index
                    return


async def test_the_tree_of_the_public_tiles_is_the_one_the_checkpoint_signs(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, ledger.operator(role="auditor") as auditor:
        offers = [member.client.make(PublishOffer, terms=make_terms()) for _ in range(300)]
        answers = await member.client.submit_all(offers)
        head = await member.client.checkpoint()
        async with httpx.AsyncClient(base_url=ledger.url) as http:
            leaves: list[bytes] = []
            for number in range(-(-head.size // 256)):
                tile = tile_at(0, number, head.size)
                response = await http.get(f"/{tile.path}")
                assert ("immutable" in response.headers["cache-control"]) == (tile.width == 256)
                hashes = response.content
                leaves += [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
                entries = tile._replace(level=ENTRIES)
                bundle = decode_bundle((await auditor.get(f"/{entries.path}")).content, tile.width)
                assert [leaf_hash(entry) for entry in bundle] == leaves[-tile.width :]
            assert root(leaves) == head.root
            index = answers[-1].index  # type: ignore[union-attr]
            wanted = {tile: (await http.get(f"/{tile.path}")).content for tile in inclusion_tiles([index], head.size)}
            proof = inclusion_proof(index, head.size, TileReader(wanted.__getitem__, head.size).node)
            verify_inclusion(leaves[index], index, head.size, proof, head.root)
            for absent in (tile_path(0, 10_000), tile_path(5, 0), "tile/0/0", "tile/-1/000", "tile/entries/000.p/1"):
                assert (await http.get(f"/{absent}")).status_code in (401, 404)


async def test_an_entry_of_ones_own_is_proven_in_any_later_tree(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        await member.publish()
        entry = (await member.client.entries())[-1]
        leaf = leaf_hash(leaf_data(entry.time, entry.envelope.encode()))
        await member.publish()
        head = await member.client.checkpoint()
        for size in range(entry.index + 1, head.size + 1):
            proof = decode(await member.get(Path.INCLUSION, index=entry.index, size=size), Proof)
            shown = await member.client.see(proof.checkpoint)
            assert shown.size == size
            hashes = [bytes.fromhex(node) for node in proof.hashes]
            verify_inclusion(leaf, entry.index, size, hashes, shown.root)
        beyond = await member.get(Path.INCLUSION, index=entry.index, size=head.size + 1_000_000)
        assert beyond.status_code == 404


async def test_several_checkpoints_are_proven_one_history_in_one_answer(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, httpx.AsyncClient(base_url=ledger.url) as http:
        await member.publish()
        sizes = list(range(1, (await member.client.checkpoint()).size + 1))[-64:]
        history = decode(await http.get(Path.HISTORY, params={"sizes": sizes}), History)
        pairs = list(itertools.pairwise(sizes))
        alone = [decode(await http.get(Path.CONSISTENCY, params={"old": old, "new": new}), Proof) for old, new in pairs]
        assert history.proofs == tuple(proof.hashes for proof in alone)
        assert history.checkpoint == alone[-1].checkpoint


async def test_the_node_tells_its_health_its_numbers_and_its_api(ledger: LedgerWorld) -> None:
    async with ledger.operator(), httpx.AsyncClient(base_url=ledger.url) as http:
        assert (await http.get("/health/live")).status_code == 200
        assert msgspec.json.decode((await http.get("/health/ready")).content)["checks"] == {"ledger": "ok"}
        metrics = (await http.get("/metrics")).text
        assert 'landfall_ledger_envelopes_total{answer="accepted"}' in metrics
        assert "landfall_ledger_durable_seconds_bucket" in metrics
        page = (await http.get("/docs")).text
        assert "//" not in page.replace("<!doctype", "")
        assert (await http.get("/docs/static/rapidoc/rapidoc-min.js")).status_code == 200
        assert 'id="insufficient-funds"' in (await http.get("/docs/rejections")).text
        api = msgspec.json.decode((await http.get("/docs/openapi.json")).content)
        operations = [operation for path in api["paths"].values() for operation in path.values()]
        assert len(operations) >= 18
        assert all(operation["summary"] and "Example:" in operation["description"] for operation in operations)
