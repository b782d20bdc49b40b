"""The memory of a run's processes is seen to stay, and to grow."""

import asyncio
import os

import pytest

from loadtests import memory
from loadtests.memory import MemoryWatch

MIB = 2**20


async def test_what_grows_is_told_for_the_second_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "EVERY_S", 0.2)
    held: list[bytes] = []
    async with MemoryWatch({"this": os.getpid()}) as watch:
        await asyncio.sleep(2)
        held.append(b"\1" * (64 * MIB))
        await asyncio.sleep(1)
    assert 55 <= watch.growth_mib <= 90
    assert f"this {watch.first['this']:,.0f}" in str(watch)
    assert watch.last["this"] > watch.first["this"] + 50
    assert held


async def test_what_stays_is_flat_and_a_process_that_went_counts_nothing() -> None:
    async with MemoryWatch({"this": os.getpid()}) as watch:
        await asyncio.sleep(0.5)
    assert abs(watch.growth_mib) < 20
