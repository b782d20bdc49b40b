"""What a run is against: nodes that are started for it and ended with it, or a ledger that is there."""

import asyncio
import base64
import binascii
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from landfall.keystore import Keystore
from landfall.postgres import ensure_server
from landfall.settings import read_settings
from loadtests.generator import fill
from loadtests.load.locust_settings import LOGS
from loadtests.load.plan import NODE_ROLES, HomeNode, Key, PlanError, Role, Trader
from loadtests.load.setting import admit, admit_auditor, enter, find_node
from loadtests.nodes import serve_ledger
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_settings import KEYS_FOLDER
from settlement.ledger.client import LedgerClient
from settlement.ledger.messages import Party
from settlement.ledger.note import NoteError, VerifierKey

SEED: Final = 32
Tell = Callable[[str], None]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is against: the ledger, its traders, who may read all of it, and the node of a home operator."""

    url: str
    log: str
    traders: tuple[Trader, ...]
    overseer: Key | None
    node: HomeNode | None
    first: int
    processes: dict[str, int] = {}


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger that is there, and how the run may use it: as its issuer, who admits `operators`, or as operators by
    their keys (`id=FILE`); a home operator's node, if the mix needs one.
    """

    url: str
    key: str
    issuer: bool
    operators: int
    operator_keys: list[str]
    auditor_key: str
    node_url: str
    node_token: str

    def __repr__(self) -> str:
        return f"Elsewhere({self.url})"


@asynccontextmanager
async def start_target(
    folder: Path, mix: dict[Role, int], *, operators: int, workers: int, opened: int = 0, tell: Tell
) -> AsyncIterator[Target]:
    """PostgreSQL and a ledger for this run; operators on it; a node, where the mix has users of one.

    `opened`: requests that are open before the run begins.
    """
    async with AsyncExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="nodes-")))
        server = ensure_server(place / "data")
        stack.callback(server.stop)
        server.create_database("ledger")
        tell(f"a ledger of {workers} processes …")
        serving = serve_ledger(place / "node", server.dsn("ledger"), workers=workers)
        ledger = await asyncio.to_thread(serving.__enter__)  # it has an event loop of its own inside
        stack.push_async_callback(asyncio.to_thread, serving.__exit__, None, None, None)
        client = await stack.enter_async_context(ledger.client())
        tell(f"{operators} operators …")
        traders = await admit(client, ledger.issuer, operators)
        node = None
        if any(role in mix for role in NODE_ROLES):
            from loadtests.load.home import open_home

            tell("a home operator's node, an insurer's, and cards …")
            node = await stack.enter_async_context(open_home(place, server, ledger, client, logs=folder / LOGS))
        overseer = await admit_auditor(client, ledger.issuer)
        if opened:
            tell(f"{opened:,} requests, to be open before the clock runs …")
            await fill(client, [trader.actor for trader in traders], opened, tell=tell)
        first = (await client.checkpoint()).size
        yield Target(
            url=ledger.url,
            log=str(ledger.log),
            traders=traders,
            overseer=overseer,
            node=node,
            first=first,
            processes={"ledger": ledger.pid, "postgresql": server.pid},
        )


async def join_target(there: Elsewhere, mix: dict[Role, int]) -> Target:
    """Traders on a ledger that is there. Raises PlanError."""
    try:
        log = VerifierKey.parse(there.key)
    except NoteError as error:
        raise PlanError(f"--ledger-key {there.key!r}: {error}; see the vkey of `landfall market init`") from None
    if there.issuer == bool(there.operator_keys):
        raise PlanError("on a ledger elsewhere give either --issuer, or --operator-key twice or more")
    own = _read_issuer() if there.issuer else None
    overseer = _read_key(there.auditor_key) if there.auditor_key else None
    if Role.AUDITOR in mix and not (overseer or own):
        raise PlanError("the mix has auditors: give --auditor-key id=FILE, or take another --mix")
    if any(role in mix for role in NODE_ROLES) and not (there.node_url and there.node_token):
        raise PlanError("the mix has users of a node: give --node and --node-token, or take another --mix")
    async with LedgerClient(
        there.url, log=log, signer=own.signer if own else None, operator=own.operator if own else ""
    ) as client:
        keys = [_read_key(one) for one in there.operator_keys]
        traders = await admit(client, own.signer, there.operators) if own else await enter(client, keys)
        overseer = await admit_auditor(client, own.signer) if own and not overseer else overseer
        node = await find_node(there.node_url, there.node_token) if there.node_token else None
        first = (await client.checkpoint()).size
    return Target(url=there.url, log=str(log), traders=traders, overseer=overseer, node=node, first=first)


def _read_issuer() -> Key:
    from marketplace.issuer_cli import PARTY_FILE

    settings = read_settings()
    file = settings.data_dir / PARTY_FILE
    if not file.exists():
        raise PlanError(
            f"{file} is missing: --issuer takes the folder that `landfall issuer init` made, LANDFALL_DATA_DIR"
        )
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    return Key(msgspec.json.decode(file.read_bytes(), type=Party).id, keys.signer().key.seed)


def _read_key(given: str) -> Key:
    """Read `id=FILE`."""
    operator, _, name = given.partition("=")
    if not operator or not name:
        raise PlanError(f"the key {given!r} is not id=FILE, such as alfa=alfa.seed")
    try:
        text = Path(name).read_text().strip()
        seed = bytes.fromhex(text) if len(text) == 2 * SEED else base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except OSError as error:
        raise PlanError(f"{name}: {error.strerror}") from None
    except (ValueError, binascii.Error):
        seed = b""
    if len(seed) != SEED:
        raise PlanError(f"{name} has no signing key: it is to be {SEED} octets, in hex or base64url")
    return Key(operator, seed)
