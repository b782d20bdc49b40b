"""Go's checksum database code (sumdb/note, sumdb/tlog) reads our log, and we read its note."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from settlement.ledger.checkpoint import Checkpoint, cosign, sign, verify
from settlement.ledger.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash, root
from settlement.ledger.note import SignatureKind, Signer, VerifierKey, append_signatures
from settlement.ledger.tiles import ENTRIES, Tile, TileReader, encode_bundle, new_tiles

PACKAGES = "golang-go golang-golang-x-mod-dev"
GO_PATH = Path("/usr/share/gocode")
SOURCE = Path(__file__).parent / "go" / "check_log.go"
GO_TIMEOUT_S = 120
"""A first build compiles Go's own standard library."""

LOG = Signer("landfall.example/ledger", bytes(range(32)))
WITNESS = Signer("validator.example/one", bytes(range(32, 64)), SignatureKind.COSIGNATURE)


@pytest.fixture(scope="module")
def go_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("go")


@pytest.fixture
def check_log(program: Callable[..., Path], go_cache: Path) -> Path:
    """The Go program, built."""
    go = program("go", package=PACKAGES)
    if not (GO_PATH / "src/golang.org/x/mod/sumdb/note").is_dir():
        pytest.skip(f"golang.org/x/mod is missing: apt-get install {PACKAGES}")
    binary = go_cache / "check_log"
    if not binary.exists():
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(go_cache / "cache")}
        build = [str(go), "build", "-o", str(binary), str(SOURCE)]
        subprocess.run(build, env=environment | {"GOFLAGS": ""}, check=True, timeout=GO_TIMEOUT_S)
    return binary


def write_log(directory: Path, entries: list[bytes]) -> tuple[Checkpoint, TileReader]:
    """Write a log's checkpoint, tiles and entry bundles as a publisher does."""
    levels: list[list[bytes]] = [[leaf_hash(entry) for entry in entries], [], [], []]
    frontier, rows = Frontier().extend(levels[0])
    for row in rows:
        levels[row.level] += row.hashes

    def tile_data(tile: Tile) -> bytes:
        return b"".join(levels[tile.level][tile.number * 256 :][: tile.width])

    for tile in new_tiles(0, len(entries)):
        files = {tile: tile_data(tile)}
        if tile.level == 0:
            files[tile._replace(level=ENTRIES)] = encode_bundle(entries[tile.number * 256 :][: tile.width])
        for name, data in files.items():
            path = directory / name.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    head = Checkpoint(LOG.verifier.name, len(entries), frontier.root())
    note = append_signatures(sign(head, LOG), [cosign(head, WITNESS, time_s=1_800_000_000)])
    (directory / "checkpoint").write_bytes(note)
    return head, TileReader(tile_data, head.size)


@pytest.mark.parametrize(
    ("size", "index", "old_size"),
    [(1, 0, 1), (7, 6, 3), (256, 255, 255), (300, 299, 256), (70_000, 12_345, 65_537), (70_000, 69_999, 512)],
)
def test_go_reads_our_log_and_agrees_on_every_proof(
    size: int, index: int, old_size: int, check_log: Path, tmp_path: Path
) -> None:
    entries = [b"entry %d" % number for number in range(size)]
    head, reader = write_log(tmp_path, entries)
    claims = {
        "log_key": str(LOG.verifier),
        "cosigner_name": WITNESS.verifier.name,
        "cosigner_public": WITNESS.verifier.public_key,
        "cosigned_at": 1_800_000_000,
        "index": index,
        "inclusion_proof": inclusion_proof(index, size, reader.node),
        "old_size": old_size,
        "old_root": root([leaf_hash(entry) for entry in entries[:old_size]]),
        "consistency_proof": consistency_proof(old_size, size, reader.node),
        "bundle": index // 256,
    }
    checked = subprocess.run(
        [str(check_log), str(tmp_path)], input=msgspec.json.encode(claims), capture_output=True, timeout=GO_TIMEOUT_S
    )
    assert checked.returncode == 0, checked.stderr.decode()
    key, _, note = checked.stdout.partition(b"\n")
    assert verify(note, VerifierKey.parse(key.decode())) == Checkpoint("go.example/log", size, head.root)


def test_go_refuses_our_checkpoint_once_it_is_altered(check_log: Path, tmp_path: Path) -> None:
    write_log(tmp_path, [b"only entry"])
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"\n1\n", b"\n2\n", 1))
    claims = {"log_key": str(LOG.verifier), "cosigner_name": "x", "cosigner_public": bytes(32)}
    refused = subprocess.run(
        [str(check_log), str(tmp_path)], input=msgspec.json.encode(claims), capture_output=True, timeout=GO_TIMEOUT_S
    )
    assert refused.returncode == 1
    assert b"note: " in refused.stderr
