"""A client believes one history of a log, and finds out when it is told two."""

import asyncio
import hashlib
import itertools
from collections.abc import Sequence

import pytest

from settlement.ledger import checkpoint, merkle
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.note import Signer
from settlement.ledger.trust import Trust, Untrusted

ORIGIN = "ledger.example/trust"
SIGNER = Signer(ORIGIN, b"7" * 32)


class Log:
    """A log of `size` leaves that can show itself at every smaller size; `name` makes its leaves its own."""

    def __init__(self, size: int, name: str = "one", shared: int = 0) -> None:
        self.leaves = [
            merkle.leaf_hash(hashlib.sha256(f"{'one' if index < shared else name}/{index}".encode()).digest())
            for index in range(size)
        ]
        self.asked = 0
        self.begun = asyncio.Event()

    def note(self, size: int, signer: Signer = SIGNER) -> str:
        return checkpoint.sign(Checkpoint(ORIGIN, size, merkle.root(self.leaves[:size])), signer).decode()

    async def prove(self, sizes: Sequence[int]) -> list[list[bytes]]:
        self.asked += 1
        self.begun.set()
        await asyncio.sleep(0)
        return [merkle.consistency_proof(old, new, self._node) for old, new in itertools.pairwise(sizes)]

    def _node(self, height: int, index: int) -> bytes:
        return merkle.root(self.leaves[index << height : (index + 1) << height])


def trust_in(log: Log) -> Trust:
    return Trust(SIGNER.verifier, log.prove)


async def show_all(trust: Trust, notes: Sequence[str]) -> None:
    for note in notes:
        trust.show(note)
    await trust.settle()


async def test_checkpoints_of_one_history_are_believed_in_any_order() -> None:
    log = Log(300)
    trust = trust_in(log)
    await show_all(trust, [log.note(size) for size in (7, 260, 3, 260, 299, 1)])
    assert trust.seen == Checkpoint(ORIGIN, 299, merkle.root(log.leaves[:299]))


async def test_a_checkpoint_older_than_the_newest_is_linked_too() -> None:
    log, fork = Log(100), Log(100, "other", shared=50)
    trust = trust_in(log)
    await show_all(trust, [log.note(100)])
    with pytest.raises(Untrusted, match="not one history"):
        await show_all(trust, [fork.note(60)])


async def test_a_fork_shown_while_a_proof_is_under_way_is_found() -> None:
    log, fork = Log(100), Log(100, "other", shared=50)
    trust = trust_in(log)
    with pytest.raises(Untrusted, match="not one history"):
        await show_all(trust, [log.note(40), fork.note(70), log.note(90)])


async def test_two_trees_of_one_size_are_evidence_while_a_proof_is_under_way() -> None:
    log, fork = Log(100), Log(100, "other", shared=50)
    trust = trust_in(log)
    trust.show(log.note(40))
    trust.show(log.note(100))
    settling = asyncio.create_task(trust.settle())
    await log.begun.wait()
    trust.show(fork.note(100))
    await settling
    with pytest.raises(Untrusted, match="not one history"):
        await trust.settle()


async def test_what_is_shown_within_a_moment_is_linked_by_one_call() -> None:
    log = Log(300)
    trust = trust_in(log)
    for size in range(1, 200):
        trust.show(log.note(size))
        await asyncio.sleep(0)
    await trust.settle()
    assert (log.asked, trust.seen and trust.seen.size) == (1, 199)


async def test_two_trees_of_one_size_are_evidence_at_once() -> None:
    log, fork = Log(10), Log(10, "other")
    trust = trust_in(log)
    await show_all(trust, [log.note(10)])
    with pytest.raises(Untrusted, match="two trees of 10 entries"):
        trust.show(fork.note(10))


async def test_after_a_finding_nothing_is_believed_any_more() -> None:
    log, fork = Log(10), Log(10, "other")
    trust = trust_in(log)
    trust.show(log.note(10))
    with pytest.raises(Untrusted):
        trust.show(fork.note(10))
    with pytest.raises(Untrusted, match="two trees"):
        trust.show(log.note(9))


async def test_a_checkpoint_by_another_key_is_refused() -> None:
    with pytest.raises(Untrusted, match="does not verify"):
        trust_in(Log(5)).show(Log(5).note(5, Signer(ORIGIN, b"8" * 32)))


async def test_a_proof_that_cannot_be_had_now_is_asked_for_again() -> None:
    log = Log(30)

    async def fail_once(sizes: Sequence[int]) -> list[list[bytes]]:
        if not log.asked:
            log.asked += 1
            raise ConnectionError("the ledger is away")
        return await log.prove(sizes)

    trust = Trust(SIGNER.verifier, fail_once)
    trust.show(log.note(10))
    trust.show(log.note(20))
    with pytest.raises(ConnectionError):
        await trust.settle()
    await show_all(trust, [log.note(20)])
    assert trust.seen is not None
    assert trust.seen.size == 20, "also where the log has not grown since"


async def test_who_settles_does_not_wait_for_what_is_shown_later() -> None:
    log = Log(300)
    trust, size = trust_in(log), iter(range(1, 300))
    trust.show(log.note(next(size)))

    async def go_on() -> None:
        while True:
            trust.show(log.note(next(size)))
            await asyncio.sleep(0)

    busy = asyncio.create_task(go_on())
    await asyncio.wait_for(trust.settle(), 5)
    assert trust.seen is not None
    assert trust.seen.size < 100
    busy.cancel()
