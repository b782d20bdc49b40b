"""A load test's plan, its journal, and the bridge between greenlets and the SDK's event loop."""

import asyncio
import os
import secrets
import time
from pathlib import Path
from uuid import UUID

import gevent
import pytest

from loadtests.load.bridge import Bridge
from loadtests.load.journal import Answered, Journal, JournalError, Opened, Sent, Unanswered, read_journal
from loadtests.load.plan import Key, Mixes, Plan, PlanError, Role, Trader
from settlement.ledger.api import Receipt
from settlement.ledger.ids import new_id
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.rejections import Rejection

IDS = [new_id() for _ in range(3)]
RECEIPT = Receipt(id=IDS[0], index=17, time=1, leaf="ab" * 32)


def make_plan(mix: str = "trade", shape: str = "steady", users: int = 20) -> Plan:
    mixes, id_ = Mixes.read(), new_id()
    trader = Trader(Key("op", secrets.token_bytes(32)), "seal", id_, id_)
    return Plan(
        url="http://127.0.0.1:1",
        log=str(NoteSigner("ledger.example/plan", b"1" * 32).verifier),
        traders=(trader,) * 10,
        overseer=None,
        node=None,
        first=5,
        mix_name=mix,
        mix=mixes.mix(mix),
        shape_name=shape,
        stages=mixes.shape(shape),
        users=users,
        seconds=60,
        workers=2,
        sequence=100,
    )


def test_every_shape_that_comes_along_stays_between_one_user_and_all() -> None:
    for shape in Mixes.read().shapes:
        plan = make_plan(shape=shape, users=50)
        counts = [plan.users_at(step / 100) for step in range(101)]
        assert min(counts) >= 1
        assert max(counts) <= 50
        assert max(counts) >= 35


def test_a_spike_rises_and_falls() -> None:
    plan = make_plan(shape="spike", users=100)
    assert [plan.users_at(share) for share in (0.2, 0.5, 0.8)] == [10, 100, 10]


def test_a_role_of_the_mix_has_a_user_however_few_there_are() -> None:
    plan = make_plan("everything", users=6)
    assert all(plan.count(role) >= 1 for role in Role)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[mixes.a]\npirate = 1\n[shapes.b]\nstages = [[0, 1], [1, 1]]", "pirate"),
        ("[mixes.a]\nbuyer = 0\n[shapes.b]\nstages = [[0, 1], [1, 1]]", "weights from 1"),
        ("[mixes.a]\nbuyer = 1\n[shapes.b]\nstages = [[0.5, 1], [0.2, 1]]", "go up from 0.0 to 1.0"),
        ("[mixes.a]\nbuyer = 1\n[shapes.b]\nstages = [[0, 1], [1, 2]]", "outside 0.0 to 1.0"),
        ("[mixes", "mixes.toml"),
    ],
)
def test_mixes_that_cannot_be_are_explained(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mixes.toml"
    path.write_text(text)
    with pytest.raises(PlanError, match=told):
        Mixes.read(path)


def test_an_unknown_mix_is_answered_by_those_there_are() -> None:
    with pytest.raises(PlanError, match="there is no mix 'tade': take one of transactions, trade"):
        Mixes.read().mix("tade")


def test_a_plan_is_for_its_owners_eyes_and_reads_back(tmp_path: Path) -> None:
    path, plan = tmp_path / "plan.json", make_plan()
    plan.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Plan.read(path) == plan
    assert str(plan.traders[0].key.seed) not in repr(plan)


def write_journal(path: Path) -> None:
    with Journal(path, "worker-1") as journal:
        number = journal.sent("op-1", "request", IDS)
        journal.answered(number, [RECEIPT, Rejection("no", "no"), RECEIPT])
        journal.unanswered(journal.sent("op-1", "usage report", IDS[:1], [600]), "gone", untrusted=False)


def test_a_journal_reads_back(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal")
    opened, sent, answered, report, unanswered = read_journal(tmp_path / "journal")
    assert opened == Opened("worker-1")
    assert isinstance(sent, Sent)
    assert sent.ids == b"".join(one.bytes for one in IDS)
    assert isinstance(answered, Answered)
    assert answered.codes == ("no",)
    assert isinstance(report, Sent)
    assert report.records == (600,)
    assert unanswered == Unanswered(2, "gone", False)


def test_a_journal_that_was_cut_edited_or_continued_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write_journal(path)
    whole = path.read_bytes()
    for damaged in (
        whole[:-5],
        whole[:60],
        whole.replace(b"op-1", b"op-2"),
        whole + b"\0",
        whole[: whole.index(b"gone")],
    ):
        path.write_bytes(damaged)
        with pytest.raises(JournalError):
            list(read_journal(path))


def test_greenlets_go_on_while_one_awaits_a_coroutine() -> None:
    bridge, order = Bridge(), []

    async def slow() -> UUID:
        await asyncio.sleep(0.2)
        return IDS[0]

    def wait() -> None:
        assert bridge.run(slow()) == IDS[0]
        order.append("awaited")

    def other() -> None:
        order.append("other")

    begun = time.monotonic()
    gevent.joinall([*(gevent.spawn(wait) for _ in range(50)), gevent.spawn(other)], raise_error=True)
    assert time.monotonic() - begun < 5  # fifty times 0.2 s, one after the other, are ten
    assert order[0] == "other"
    assert len(order) == 51
    bridge.close()


def test_the_bridge_raises_what_the_coroutine_raised() -> None:
    bridge = Bridge()

    async def fail() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        bridge.run(fail())
    bridge.close()


def test_a_greenlet_that_is_killed_leaves_its_coroutine_to_end() -> None:
    bridge, done = Bridge(), []

    async def finish() -> None:
        await asyncio.sleep(0.3)
        done.append(os.getpid())

    waiting = gevent.spawn(bridge.run, finish())
    gevent.sleep(0.05)
    waiting.kill()
    assert bridge.settle(5) == 0
    assert done == [os.getpid()]
    bridge.close()
