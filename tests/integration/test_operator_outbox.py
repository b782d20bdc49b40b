"""The outbox and the follower against a real ledger: nothing lost, nothing doubled."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy.ext.asyncio import AsyncConnection

from landfall.keystore import Keystore
from landfall.migrations import upgrade
from marketplace.ledger_link.follower import Follower
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import Outbox
from marketplace.ledger_link.service import Membership
from marketplace.ledger_link.tasks import Later, Tasks
from marketplace.operator_database import Database, scalar
from marketplace.operator_node import MIGRATIONS
from settlement.ledger.api import Entry, Receipt
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import AddKey, Message, PublishOffer, WithdrawOffer
from settlement.ledger.rejections import Rejection
from settlement.ledger.state import Key, Request
from tests.integration.ledger_world import Keys, LedgerWorld, Member, make_terms


class Node:
    """The ledger link of one operator, without the rest of a node."""

    def __init__(self, database: Database, member: Member) -> None:
        self.database, self.member = database, member
        self.outbox = Outbox(database, member.client)
        self.answers: list[tuple[str, Receipt | Rejection]] = []
        self.seen: list[int] = []
        for kind in (PublishOffer, WithdrawOffer):
            self.outbox.on_answer(kind, self.note_answer)

    async def note_answer(self, _: AsyncConnection, subject: str, __: Message, answer: Receipt | Rejection) -> None:
        self.answers.append((subject, answer))

    async def enqueue(self, message: Message, subject: str) -> bool:
        async with self.database.begin() as connection:
            return await self.outbox.enqueue(connection, message, subject=subject)

    def make_offer(self, **fields: Any) -> PublishOffer:
        return self.member.client.make(PublishOffer, terms=make_terms(), **fields)


@pytest.fixture
async def db(database: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(upgrade, database, MIGRATIONS)
    opened = Database(database)
    yield opened
    await opened.close()


@pytest.fixture
async def node(ledger: LedgerWorld, db: Database) -> AsyncIterator[Node]:
    async with ledger.operator() as member:
        yield Node(db, member)


async def test_of_one_purpose_and_subject_one_message_stands(node: Node) -> None:
    first = node.make_offer()
    assert await node.enqueue(first, "summer")
    assert not await node.enqueue(node.make_offer(), "summer")
    assert await node.outbox.flush()
    assert not await node.outbox.flush()
    assert not await node.enqueue(node.make_offer(), "summer")
    assert [offer.id for offer in await node.member.client.offers(publisher=node.member.id)] == [first.id]


async def test_a_message_whose_transaction_fails_is_never_sent(node: Node) -> None:
    async def cause() -> None:
        async with node.database.begin() as connection:
            await node.outbox.enqueue(connection, node.make_offer(), subject="one")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        await cause()
    assert not await node.outbox.flush()


async def test_an_answer_that_was_lost_is_learnt_by_sending_the_same_octets_again(node: Node) -> None:
    message = node.make_offer()
    await node.enqueue(message, "one")
    async with node.database.read() as connection:
        stored = await node.outbox.get(connection, message.id)
    assert stored is not None
    lost = await node.member.client.send(stored.envelope)
    assert await node.outbox.flush()
    ((subject, answer),) = node.answers
    assert isinstance(answer, Receipt)
    assert (subject, answer.index) == ("one", lost.index)


async def test_an_envelope_that_expired_while_waiting_is_signed_anew_under_its_id(node: Node) -> None:
    late = structs.replace(node.make_offer(), exp=time.time_ns() // 1_000_000 - 1)
    await node.enqueue(late, "one")
    await node.outbox.flush()
    assert node.answers == []
    await node.outbox.flush()
    ((_, answer),) = node.answers
    assert isinstance(answer, Receipt)
    assert answer.id == late.id


async def test_an_envelope_that_expired_after_it_was_accepted_is_not_sent_as_another(node: Node) -> None:
    message = structs.replace(node.make_offer(), exp=time.time_ns() // 1_000_000 + 500)
    await node.enqueue(message, "one")
    async with node.database.read() as connection:
        stored = await node.outbox.get(connection, message.id)
    assert stored is not None
    first = await node.member.client.send(stored.envelope)
    await asyncio.sleep(0.6)
    while not node.answers:
        await node.outbox.flush()
    ((_, answer),) = node.answers
    assert isinstance(answer, Receipt)
    assert answer.index == first.index


async def test_a_rejection_is_told_and_leaves_room_for_another_attempt(node: Node) -> None:
    offer = node.make_offer()
    wrong = node.member.client.make(WithdrawOffer, offer=offer.id)
    await node.enqueue(wrong, "withdraw")
    await node.outbox.flush()
    assert isinstance(node.answers[0][1], Rejection)
    await node.enqueue(offer, "publish")
    assert await node.enqueue(node.member.client.make(WithdrawOffer, offer=offer.id), "withdraw")
    await node.outbox.flush()
    assert [type(answer) for _, answer in node.answers[1:]] == [Receipt, Receipt]


async def test_before_its_operator_is_admitted_a_message_waits(ledger: LedgerWorld, db: Database) -> None:
    name, keys = f"late-{secrets.token_hex(3)}", Keys()
    async with ledger.client(name, keys.signer) as client:
        node = Node(db, Member(name, keys, client))
        await node.enqueue(node.make_offer(), "one")
        assert not await node.outbox.flush()
        assert node.answers == []
        await ledger.admit(name, keys=keys)
        assert await node.outbox.flush()
        assert isinstance(node.answers[0][1], Receipt)


async def test_a_request_to_a_key_nobody_has_is_rejected_and_holds_nothing_up(node: Node) -> None:
    order = node.member.make_order(node.make_offer().id, delivery_key="A" * 43)
    await node.enqueue(node.member.client.make(AddKey, purpose="seal", key="A" * 43, replaces="B" * 43), "key")
    await node.enqueue(order, "order")
    await node.enqueue(node.make_offer(), "offer")
    while await node.outbox.flush():
        pass
    async with node.database.read() as connection:
        states = [
            await scalar(connection, "SELECT state FROM outbox WHERE subject = :s", s=subject)
            for subject in ("key", "order", "offer")
        ]
    assert states == ["rejected", "rejected", "accepted"]


async def test_entries_are_taken_once_whoever_reads_them_again(node: Node) -> None:
    seen: list[int] = []

    async def see(_: AsyncConnection, entry: Entry, __: Message, ___: Request | None) -> None:
        seen.append(entry.index)

    for _ in range(3):
        await node.member.publish()
    entries = await node.member.client.entries()
    for _ in range(2):
        follower = Follower(node.database, node.member.client)  # as after a crash: it does not know what it took
        follower.on(PublishOffer, see)
        for entry in entries:
            await follower.take(entry)
    assert len(seen) == len(set(seen)) == 3
    async with node.database.read() as connection:
        assert await scalar(connection, "SELECT cursor FROM follower") == entries[-1].index


async def test_an_effect_that_fails_leaves_the_cursor_where_it_was(node: Node) -> None:
    fail = True

    async def see(_: AsyncConnection, __: Entry, ___: Message, ____: Request | None) -> None:
        if fail:
            raise RuntimeError("power cut")

    await node.member.publish()
    follower = Follower(node.database, node.member.client)
    follower.on(PublishOffer, see)
    entry = (await node.member.client.entries())[-1]
    with pytest.raises(RuntimeError):
        await follower.take(entry)
    async with node.database.read() as connection:
        assert await scalar(connection, "SELECT cursor FROM follower") == -1
    fail = False
    await follower.take(entry)
    assert follower.cursor == entry.index


async def test_a_signing_key_is_rotated_twice_and_signs_each_time(
    ledger: LedgerWorld, db: Database, tmp_path: Path
) -> None:
    keys = OperatorKeys(Keystore.open(tmp_path / "keys", secrets.token_bytes(32)))
    keys.create()
    name = f"turn-{secrets.token_hex(3)}"
    await ledger.admit(name, keys=Keys(signer=keys.signer()))
    async with ledger.client(name, keys.signer()) as client:
        outbox = Outbox(db, client)
        membership = Membership(db, client, outbox, keys)
        await membership.introduce()
        used = {keys.signer().kid}
        for _ in range(2):
            rotated = await membership.rotate("sign")
            assert client.signer is not None
            assert client.signer.kid in used
            await outbox.flush()
            assert client.signer.kid == rotated.kid == keys.signer().kid
            used.add(rotated.kid)
            await client.submit(client.make(PublishOffer, terms=make_terms()))
        assert len(used) == 3
        sealed_to = keys.seal_key()
        await membership.rotate("seal")
        await membership.rotate("seal")
        await outbox.flush()
        assert keys.seal_key_of(sealed_to.public_key().key_id) == sealed_to
        on_ledger = {key.kid for key in await client.operator_keys(name) if key.purpose == "seal"}
        assert keys.seal_key().public_key().key_id in on_ledger


async def test_a_task_runs_until_it_succeeds_and_once(db: Database) -> None:
    tasks, runs = Tasks(db), []

    async def work(subject: str) -> None:
        runs.append(subject)
        if len(runs) == 1:
            raise Later(0.01, "not yet")
        if len(runs) == 2:
            raise ValueError("a mishap")

    tasks.on("work", work)
    for _ in range(2):
        async with db.begin() as connection:
            await tasks.add(connection, "work", "one")
    running = asyncio.create_task(tasks.run())
    async with asyncio.timeout(10):
        while await tasks.list_open():  # noqa: ASYNC110 - asks the database
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    running.cancel()
    assert runs == ["one"] * 3


async def test_who_is_admitted_between_an_answer_and_a_look_at_its_keys_is_not_given_up(
    ledger: LedgerWorld, db: Database
) -> None:
    name, keys = f"late-{secrets.token_hex(4)}", Keys()

    class Client(LedgerClient):
        admitted = False

        async def operator_keys(self, operator: str) -> tuple[Key, ...]:
            if not self.admitted:
                self.admitted = True
                await ledger.admit(name, keys=keys)
            return await super().operator_keys(operator)

    async with Client(ledger.url, log=ledger.log, signer=keys.signer, operator=name) as client:
        node = Node(db, Member(name, keys, client))
        offer = node.make_offer()
        await node.enqueue(offer, "summer")
        while not await node.outbox.flush():
            pass
        [(_, answer)] = node.answers
    assert isinstance(answer, Receipt), answer
