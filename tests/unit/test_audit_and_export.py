"""Export and audit of a whole market's log: what passes, what the report says, and what an export refuses."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from settlement.ledger import checkpoint
from settlement.ledger.audit import AuditError, audit
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.export import ExportError, write_export
from settlement.ledger.ids import IdRegister, new_id
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash, root
from settlement.ledger.messages import CloseRequest
from settlement.ledger.note import SignatureKind, append_signatures
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, encode_bundle
from tests.ledger_model import ORIGIN, SDRT, World, bundle, data, export_from_entries, seed_of, terms

ORIGIN_SIGNER = NoteSigner(ORIGIN, seed_of("origin"))


def busy_world(requests: int) -> World:
    """A log with every kind of thing in it; some six entries a request."""
    world = World()
    home, visited = world.admit("home", funds=1_000_000 * SDRT), world.admit("visited")
    offer = world.publish(visited, terms(bundle(SDRT, renewals=1)))
    for number in range(requests):
        request = world.active(home, visited, offer, renewals=number % 2)
        world.wait(60_000)
        world.report(visited, request, 1, data(world.minute, 1_500_000_000))
        world.must(visited, CloseRequest, request=request)
        if number % 10 == 0:
            world.digest()
    return world


def note_of(world: World, size: int | None = None) -> bytes:
    """The checkpoint of the log, or of its beginning."""
    leaves = [leaf_hash(leaf_data(*entry)) for entry in world.entries[:size]]
    return checkpoint.sign(Checkpoint(ORIGIN, len(leaves), root(leaves)), ORIGIN_SIGNER)


def fetch_from(world: World) -> Callable[[Tile], Awaitable[bytes]]:
    async def fetch(tile: Tile) -> bytes:
        assert tile.level == ENTRIES
        first = tile.number * TILE_WIDTH
        return encode_bundle([leaf_data(*entry) for entry in world.entries[first : first + tile.width]])

    return fetch


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("requests", [0, 42, 60])
async def test_an_export_is_the_files_of_the_log_and_its_audit_passes(tmp_path: Path, requests: int) -> None:
    world = busy_world(requests)
    seen: list[tuple[int, int]] = []
    await write_export(
        tmp_path / "a", note_of(world), fetch_from(world), world.key, progress=lambda *at: seen.append(at)
    )
    export_from_entries(world.entries, ORIGIN_SIGNER, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert seen[-1] == (len(world.entries), len(world.entries))

    report = audit(tmp_path / "a", world.key, workers=0)
    assert report.entries == len(world.entries)
    assert report.chain == world.execution.chain.hex()
    assert report.minted == 1_000_000 * SDRT
    assert sum(row.available + row.escrow + row.held for row in report.balances) == report.minted - report.burned
    assert report.digests == -(-requests // 10)
    assert report.last_time == world.time


def test_an_empty_log_passes(tmp_path: Path) -> None:
    export_from_entries([], ORIGIN_SIGNER, tmp_path / "log")
    assert audit(tmp_path / "log", World().key).entries == 0


def test_verifying_in_other_processes_finds_the_same(tmp_path: Path) -> None:
    world = busy_world(60)
    export_from_entries(world.entries, ORIGIN_SIGNER, tmp_path / "good")
    assert audit(tmp_path / "good", world.key, workers=1).entries == len(world.entries)

    time, raw = world.entries[100]
    world.entries[100] = (time, raw[:-5] + b"AAAAA")
    world.entries[300] = (world.entries[300][0] - 10**6, world.entries[300][1])
    export_from_entries(world.entries, ORIGIN_SIGNER, tmp_path / "bad")
    for workers in (0, 1):
        with pytest.raises(AuditError, match="signature") as caught:
            audit(tmp_path / "bad", world.key, workers=workers)
        assert caught.value.index == 100, "the first bad entry, though time goes back in a later one"
        assert caught.value.sender in ("home", "visited")


@pytest.mark.parametrize("size", [0, 1, 5, 255, 256, 257])
def test_a_log_continues_its_own_earlier_checkpoints(tmp_path: Path, size: int) -> None:
    world = busy_world(60)
    export_from_entries(world.entries, ORIGIN_SIGNER, tmp_path / "log")
    assert audit(tmp_path / "log", world.key, checkpoint=note_of(world, size), workers=0).continues == size


async def test_an_export_stands_nowhere_unless_it_is_whole(tmp_path: Path) -> None:
    world = busy_world(10)
    fetch = fetch_from(world)

    async def fetch_other(tile: Tile) -> bytes:
        return (await fetch(tile)).replace(b"e", b"f", 1)

    async def fail(_tile: Tile) -> bytes:
        raise OSError("lost")

    with pytest.raises(ExportError, match="lead to root"):
        await write_export(tmp_path / "log", note_of(world), fetch_other, world.key)
    with pytest.raises(OSError, match="lost"):
        await write_export(tmp_path / "log", note_of(world), fail, world.key)
    forged = NoteSigner(ORIGIN, seed_of("somebody")).verifier
    with pytest.raises(ExportError, match="no signature"):
        await write_export(tmp_path / "log", note_of(world), fetch, forged)
    assert os.listdir(tmp_path) == []
    await write_export(tmp_path / "log", note_of(world), fetch, world.key)
    with pytest.raises(ExportError, match="there already"):
        await write_export(tmp_path / "log", note_of(world), fetch, world.key)


async def test_an_export_leaves_out_what_others_signed(tmp_path: Path) -> None:
    world = busy_world(1)
    validator = NoteSigner("validator.example", seed_of("validator"), SignatureKind.COSIGNATURE)
    own = note_of(world)
    head = checkpoint.verify(own, world.key)
    note = append_signatures(own, [checkpoint.cosign(head, validator, time_s=1)])
    await write_export(tmp_path / "log", note, fetch_from(world), world.key)
    assert (tmp_path / "log" / "checkpoint").read_bytes() == own
    assert audit(tmp_path / "log", world.key, checkpoint=note, workers=0).continues == head.size


def test_the_first_repetition_of_an_id_is_found_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for in_memory in (1 << 20, 100):
        monkeypatch.setattr(IdRegister, "IN_MEMORY", in_memory)
        register, ids = IdRegister(), [new_id() for _ in range(1_000)]
        for index, each in enumerate(ids):
            register.add("alfa", each, index)
        register.add("bravo", ids[0], 1_000)
        assert register.find_repeated() is None, "another sender may use the same id"
        register.add("alfa", ids[7], 1_001)
        register.add("alfa", ids[3], 1_002)
        register.add("alfa", ids[7], 1_003)
        assert register.find_repeated() == (7, 1_001)
