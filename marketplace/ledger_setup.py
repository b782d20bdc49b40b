"""Founding a ledger: its database, its keys, its first entry.

    vkey = initialise(settings, "ledger.example/landfall", issuer)      # once; returns the key others verify with

The origin's key signs genesis, checkpoints and digests; it lives in the keystore of the data folder and nowhere else.
"""

import asyncio
import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import psycopg
from msgspec import Struct

from landfall.errors import LandfallError
from landfall.keystore import Keystore
from landfall.migrations import upgrade
from landfall.postgres import open_database
from landfall.settings import Settings
from settlement import ledger
from settlement.ledger.envelope import Signer
from settlement.ledger.ids import new_id
from settlement.ledger.messages import MAX_TIME, Genesis, Parameters, Party
from settlement.ledger.note import NoteError
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import VERSIONS
from settlement.ledger.sequencer import Sequencer
from settlement.ledger.store import LedgerStore

DATABASE: Final = "ledger"
KEY_SIZE: Final = 32
NOT_FOUNDED: Final = "there is no ledger here yet: found it with landfall market init --origin NAME --issuer FILE"
MIGRATIONS: Final = Path(ledger.__path__[0]) / "migrations"

S = TypeVar("S", bound=Struct)


class LedgerKeys(Struct, frozen=True):
    """What a ledger node keeps secret. `origin`: Ed25519 seed. `token`: HMAC key of access tokens, of all workers."""

    origin: bytes
    token: bytes

    def __repr__(self) -> str:
        return "LedgerKeys(…)"


def open_keys(settings: Settings) -> LedgerKeys:
    """Read the node's keys, making them at first. Raises LandfallError without a (fitting) key-encryption key."""
    keystore = Keystore.open(settings.data_dir / "keys", settings.require_kek())

    def read(name: str, purpose: str) -> bytes:
        return keystore.get_or_create(name, lambda: os.urandom(KEY_SIZE), purpose=purpose)

    return LedgerKeys(
        origin=read("origin", "signs genesis, checkpoints and digests"),
        token=read("token", "authenticates access tokens"),
    )


def prepare_database(settings: Settings) -> str:
    """Start or reach the ledger's database and bring it to the newest schema; returns its DSN."""
    dsn = open_database(settings.database_url, settings.data_dir, DATABASE)
    upgrade(dsn, MIGRATIONS)
    return dsn


def initialise(settings: Settings, origin: str, issuer: Party, parameters: Parameters | None = None) -> str:
    """Found the ledger `origin` and return its verifier key (C2SP). Again with the same origin: the same key.

    Raises LandfallError where the data folder holds another ledger or the issuer cannot be taken.
    """
    keys = open_keys(settings)
    try:
        vkey = str(NoteSigner(origin, keys.origin).verifier)
    except NoteError as error:
        raise LandfallError(f"--origin {origin!r}: {error}") from None
    asyncio.run(_write_genesis(prepare_database(settings), keys.origin, origin, issuer, parameters or Parameters()))
    return vkey


async def read_origin(store: LedgerStore) -> str | None:
    """The name of the ledger in this database, None before its genesis."""
    name: str | None = await store.pool.fetchval("SELECT origin FROM ledger")
    return name


def require_founded(dsn: str) -> str:
    """The name of the ledger in this database. Raises LandfallError before its genesis."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT origin FROM ledger").fetchone()
    if row is None:
        raise LandfallError(NOT_FOUNDED)
    return str(row[0])


async def _write_genesis(dsn: str, seed: bytes, origin: str, issuer: Party, parameters: Parameters) -> None:
    async with LedgerStore.open(dsn) as store:
        founded = await read_origin(store)
        if founded is not None:
            if founded != origin:
                raise LandfallError(f"this data folder holds the ledger {founded!r}: use another one for {origin!r}")
            return
        genesis = Genesis(
            id=new_id(),
            aud=origin,
            exp=MAX_TIME,
            rules_version=max(VERSIONS),
            issuer=issuer,
            parameters=parameters,
        )
        sequencer = Sequencer(store, seed=seed, origin=origin)
        await sequencer.start()
        try:
            [answer] = await sequencer.submit([Signer(seed).sign(genesis)])
        finally:
            await sequencer.stop()
        if isinstance(answer, Rejection):
            raise LandfallError(f"the genesis of {origin!r} was refused ({answer.code}): {answer.detail}")


def read_party(file: Path) -> Party:
    """Read a party from a JSON file. Raises LandfallError."""
    return _read(file, Party)


def read_parameters(file: Path | None) -> Parameters:
    """Read a ledger's parameters from a JSON file, or take the defaults. Raises LandfallError."""
    return Parameters() if file is None else _read(file, Parameters)


def _read(file: Path, shape: type[S]) -> S:
    try:
        return msgspec.json.decode(file.read_bytes(), type=shape)
    except OSError as error:
        raise LandfallError(f"{file} cannot be read ({error.strerror}): name an existing file") from None
    except msgspec.MsgspecError as error:
        raise LandfallError(f"{file} is no {shape.__name__.lower()} ({error}): see docs/protocol.md") from None
