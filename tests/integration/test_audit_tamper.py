"""Whatever is done to an export, its audit notices: by a thief of the files, and by the ledger itself."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from settlement.ledger import checkpoint
from settlement.ledger.audit import AuditError, AuditReport, audit
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.envelope import Signer, parse
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash, root
from settlement.ledger.messages import CloseRequest, Mint, StateDigest
from settlement.ledger.note import Signer as NoteSigner
from tests.ledger_model import DAY, ORIGIN, SDRT, World, bundle, data, export_from_entries, seed_of, terms
from tests.market_story import tell_story

ORIGIN_SIGNER = NoteSigner(ORIGIN, seed_of("origin"))
Entries = list[tuple[int, bytes]]


def check(folder: Path, note: bytes | None = None) -> AuditReport:
    return audit(folder, ORIGIN_SIGNER.verifier, checkpoint=note, workers=0)


def refuse(folder: Path, what: str | None = None, note: bytes | None = None) -> AuditError:
    with pytest.raises(AuditError, match=what) as caught:
        check(folder, note)
    return caught.value


def note_of(entries: Entries, signer: NoteSigner = ORIGIN_SIGNER) -> bytes:
    leaves = [leaf_hash(leaf_data(*entry)) for entry in entries]
    return checkpoint.sign(Checkpoint(ORIGIN, len(leaves), root(leaves)), signer)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def small_log() -> World:
    """A dozen entries: founded, funded, ordered, used, closed."""
    world = World()
    home, visited = world.admit("home", funds=100 * SDRT), world.admit("visited")
    request = world.active(home, visited, world.publish(visited, terms(bundle())))
    world.report(visited, request, 1, data(world.minute, 1_000))
    world.must(visited, CloseRequest, request=request)
    return world


def large_log() -> World:
    """Some 600 entries: three tiles of leaves, one of them above."""
    world = World()
    home, visited = world.admit("home", funds=10_000 * SDRT), world.admit("visited")
    offer = world.publish(visited, terms(bundle(SDRT)))
    for number in range(118):
        request = world.active(home, visited, offer)
        world.report(visited, request, 1, data(world.minute, number))
        world.must(visited, CloseRequest, request=request)
        world.wait(1)
    world.digest()
    return world


@pytest.fixture(scope="module")
def large() -> World:
    return large_log()


@pytest.fixture
def folder(tmp_path: Path, large: World) -> Path:
    """An export of the large log, to be spoilt."""
    export_from_entries(large.entries, ORIGIN_SIGNER, tmp_path / "log")
    return tmp_path / "log"


def flips(folder: Path, step: int) -> Iterator[tuple[Path, int]]:
    """Every `step`-th octet of every file, flipped while the caller looks."""
    for path in files_of(folder):
        whole = path.read_bytes()
        for at in range(0, len(whole), step):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << at % 8
            path.write_bytes(flipped)
            yield path, at
        path.write_bytes(whole)


def test_every_octet_of_a_small_export_counts(tmp_path: Path) -> None:
    export_from_entries(small_log().entries, ORIGIN_SIGNER, tmp_path / "log")
    check(tmp_path / "log")
    for path, at in flips(tmp_path / "log", 1):
        try:
            check(tmp_path / "log")
        except AuditError:
            continue
        pytest.fail(f"octet {at} of {path} was flipped, and the audit passed")
    check(tmp_path / "log")


def test_sampled_octets_of_a_larger_export_count(folder: Path) -> None:
    check(folder)
    for path, at in flips(folder, 1_999):
        try:
            check(folder)
        except AuditError:
            continue
        pytest.fail(f"octet {at} of {path} was flipped, and the audit passed")


def test_a_ledger_that_signs_altered_envelopes_is_found_out(tmp_path: Path) -> None:
    """Tiles and checkpoint are made anew by the ledger's own key: what senders signed still does not fit."""
    entries = tell_story().entries
    place = tmp_path / "log"
    for index, (time, raw) in enumerate(entries):
        for at in range(index % 29, len(raw), 97):
            altered = raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :]
            export_from_entries([*entries[:index], (time, altered), *entries[index + 1 :]], ORIGIN_SIGNER, place)
            assert refuse(place).index == index
    export_from_entries(entries, ORIGIN_SIGNER, place)
    check(place)


# what the ledger itself could do, with good signatures on it


def spoil(tmp_path: Path, entries: Entries, what: str) -> AuditError:
    export_from_entries(entries, ORIGIN_SIGNER, tmp_path / "spoilt")
    return refuse(tmp_path / "spoilt", what)


def test_entries_left_out_are_missed_by_the_rules(tmp_path: Path, large: World) -> None:
    mint = next(index for index, (_, raw) in enumerate(large.entries) if isinstance(parse(raw).message, Mint))
    error = spoil(tmp_path, [*large.entries[:mint], *large.entries[mint + 1 :]], "insufficient-funds")
    assert error.sender == "home"


def test_reordered_entries_are_refused(tmp_path: Path, large: World) -> None:
    entries = list(large.entries)
    entries[300], entries[301] = (entries[300][0], entries[301][1]), (entries[301][0], entries[300][1])
    assert spoil(tmp_path, entries, "wrong-state").index == 301, "usage after the close"


def test_time_that_goes_back_is_refused(tmp_path: Path, large: World) -> None:
    entries = list(large.entries)
    entries[300] = (entries[299][0] - 1, entries[300][1])
    assert spoil(tmp_path, entries, "its time").index == 300


def test_an_envelope_entered_twice_is_refused(tmp_path: Path) -> None:
    world = World()
    world.admit("home")
    for deposit in ("a", "b"):
        world.must(world.issuer, Mint, to="home", amount=1, deposit=deposit, id=world.new_id())
    twice = world.make(Mint, to="home", amount=1, deposit="c")
    reused = world.make(Mint, to="home", amount=1, deposit="d", id=twice.id)
    for message in (twice, reused):
        world.send_raw(world.issuer.signer.sign(message))
    assert spoil(tmp_path, world.entries, "used its id before, in entry").index == len(world.entries) - 1


def test_a_late_entry_after_its_expiry_is_refused(tmp_path: Path, large: World) -> None:
    entries = list(large.entries)
    last, raw = entries[-2]
    entries[-2:] = [(last + DAY, raw)]
    assert "expired" in spoil(tmp_path, entries, "expired").why


def test_a_digest_of_another_state_is_refused(tmp_path: Path) -> None:
    world = World()
    message = world.make(StateDigest, size=1, state="00" * 32)
    entries = [*world.entries, (world.time, world.origin.sign(message))]
    assert spoil(tmp_path, entries, "wrong-digest").index == 1


def test_an_entry_by_a_key_that_nobody_has_is_refused(tmp_path: Path) -> None:
    world = World()
    message = world.make(Mint, to="issuer", amount=1, deposit="a")
    entries = [*world.entries, (world.time, Signer(seed_of("nobody")).sign(message))]
    assert spoil(tmp_path, entries, "no operator had the key").index == 1


def test_a_log_of_another_origin_is_refused(tmp_path: Path, large: World) -> None:
    export_from_entries(large.entries, NoteSigner("other.example", seed_of("origin")), tmp_path / "log")
    other = NoteSigner("other.example", seed_of("origin")).verifier
    with pytest.raises(AuditError, match="wrong-audience") as caught:
        audit(tmp_path / "log", other, workers=0)
    assert caught.value.index == 0


# what a thief of the files could do


def test_a_truncated_export_is_refused(folder: Path, large: World) -> None:
    (folder / "tile/entries/002.p" / str(len(large.entries) - 512)).unlink()
    refuse(folder, "cannot be read|empty folder")


def test_an_export_cut_short_with_its_own_earlier_checkpoint_needs_a_newer_one_to_be_noticed(
    tmp_path: Path, large: World
) -> None:
    short = large.entries[:400]
    export_from_entries(short, ORIGIN_SIGNER, tmp_path / "log")
    check(tmp_path / "log")
    refuse(tmp_path / "log", "cut short", note_of(large.entries))


def test_a_swapped_bundle_is_refused(folder: Path) -> None:
    first, second = folder / "tile/entries/000", folder / "tile/entries/001"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert refuse(folder).index == 0


def test_swapped_bundles_with_their_tiles_are_refused_by_the_root(folder: Path) -> None:
    for level in ("entries", "0"):
        first, second = folder / f"tile/{level}/000", folder / f"tile/{level}/001"
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)
    refuse(folder)


def test_octets_behind_a_file_are_refused(folder: Path) -> None:
    for path in files_of(folder):
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        refuse(folder)
        path.write_bytes(whole[:-1])
        refuse(folder)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "stray", ["origin.vkey", "tile/0/003", "tile/0/001.p/7", "tile/2/000", "tile/entries/x000/000", "tile/.hidden"]
)
def test_a_stray_file_is_refused(folder: Path, stray: str) -> None:
    (folder / stray).parent.mkdir(parents=True, exist_ok=True)
    (folder / stray).write_bytes(b"\0" * 32)
    refuse(folder, "does not belong")


def test_a_link_and_an_empty_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "tile/0/000", tmp_path / "moved")
    (folder / "tile/0/000").symlink_to(tmp_path / "moved")
    refuse(folder, "no plain file")
    (folder / "tile/0/000").unlink()
    shutil.move(tmp_path / "moved", folder / "tile/0/000")
    (folder / "tile/5").mkdir()
    refuse(folder, "empty folder")


def test_a_later_checkpoint_forged_by_another_key_is_refused(folder: Path, large: World) -> None:
    thief = NoteSigner(ORIGIN, seed_of("thief"))
    forged = note_of(large.entries, thief)
    refuse(folder, "the other checkpoint", forged)
    (folder / "checkpoint").write_bytes(forged)
    refuse(folder, "no signature by")


def test_a_rewritten_history_does_not_continue_a_checkpoint_that_somebody_kept(folder: Path, large: World) -> None:
    kept = note_of([*large.entries[:99], large.entries[98]])
    refuse(folder, "one of the two histories is forged", kept)
    fork = note_of([*large.entries[:-1], large.entries[-2]])
    refuse(folder, "one of the two histories is forged", fork)


def test_a_second_signature_on_the_checkpoint_is_refused(folder: Path) -> None:
    note = (folder / "checkpoint").read_bytes()
    (folder / "checkpoint").write_bytes(note + NoteSigner("other", seed_of("other")).sign_line(b"x").encode())
    refuse(folder, "2 signatures")
