"""Turns of a card, the throttle of a campaign, and what an import decides."""

import asyncio

import pytest

from marketplace.campaigns.sending import WINDOW, Throttle
from ota.key_import import Result, Standing, decide
from ota.keysets import CardKeys
from ota.scp80 import KeyByte, KeySet
from ota.turns import CardTurns

ICCID = "8970199000000000017"


def card(index: int = 1, fill: int = 0) -> CardKeys:
    byte = KeyByte(index, 2)
    return CardKeys(
        iccid=ICCID, keys=KeySet(kic=byte, kid=byte, kic_key=bytes([fill]) * 16, kid_key=bytes([fill]) * 16)
    )


async def test_a_card_is_one_senders_at_a_time_in_the_order_they_came() -> None:
    turns, told = CardTurns(), list[int]()

    async def send(number: int) -> None:
        async with turns.turn(ICCID):
            told.append(number)
            await asyncio.sleep(0)
            told.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(send(number))
    assert told == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(turns) == 0, "nothing is kept of a card nobody sends to"


async def test_a_sender_that_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    turns = CardTurns()
    async with turns.turn(ICCID), turns.turn("another card"):
        waiting = asyncio.create_task(turns.turn(ICCID).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), turns.turn(ICCID):
        assert len(turns) == 1


def test_a_throttle_gives_no_more_than_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    throttle, begun = Throttle(), 0
    for _ in range(600):
        now += 0.1
        allowed = throttle.allow(120)
        throttle.spend(allowed)
        begun += allowed
    assert 119 <= begun <= 121
    assert Throttle().allow(None) == WINDOW
    now += 3600
    assert throttle.allow(120) == 2, "an idle hour is not saved up"


@pytest.mark.parametrize(
    ("given", "counter", "replace", "result", "after"),
    [
        (card(), None, False, Result.KNOWN, 7),
        (card(), 7, False, Result.KNOWN, 7),
        (card(), 6, False, Result.REFUSED, 7),
        (card(), 6, True, Result.REFUSED, 7),
        (card(), 9, False, Result.RAISED, 9),
        (card(fill=1), None, False, Result.REFUSED, 7),
        (card(fill=1), 0, True, Result.REPLACED, 7),
        (card(2), None, True, Result.REPLACED, 20),
        (card(3), 5, True, Result.REPLACED, 5),
        (card(), 1 << 40, False, Result.REFUSED, 0),
    ],
)
def test_an_import_never_lowers_a_counter_nor_replaces_keys_unasked(
    given: CardKeys, counter: int | None, replace: bool, result: Result, after: int
) -> None:
    finding = decide(given, Standing(card(), 7, {1: 7, 2: 20}, False), counter, replace=replace)
    assert (finding.result, finding.counter) == (result, after)
    assert (finding.words is not None) == (result is Result.REFUSED)


def test_an_import_keeps_out_of_a_rotation() -> None:
    finding = decide(card(fill=1), Standing(card(), 7, {}, True), None, replace=True)
    assert finding.result is Result.REFUSED
    assert "being rotated" in (finding.words or "")
    assert decide(card(), None, None, replace=False).result is Result.ADDED
