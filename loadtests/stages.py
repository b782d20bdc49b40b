"""Where the time of a request goes on its way through one process: each stage timed on one batch, on real parts."""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from landfall.migrations import upgrade
from loadtests.cast import BUNDLE, PRICE, Actor, admit_cast, make_cast, now_ms
from marketplace.ledger_setup import MIGRATIONS
from settlement.ledger.api import Receipt
from settlement.ledger.envelope import Signer, parse
from settlement.ledger.execution import Execution
from settlement.ledger.ids import new_id
from settlement.ledger.keys import thumbprint, to_base64url
from settlement.ledger.log import leaf_data
from settlement.ledger.merkle import leaf_hash
from settlement.ledger.messages import MAX_TIME, Genesis, Message, Parameters, Party, PlaceRequest
from settlement.ledger.rejections import Rejection
from settlement.ledger.rules import Effects
from settlement.ledger.sequencer import Sequencer
from settlement.ledger.store import LedgerStore
from settlement.ledger.turn import StoredEntry

BATCH: Final = 500
BATCHES: Final = 10
ORIGIN: Final = "ledger.example/stages"
SEED: Final = 1


class _Direct:
    """The sequencer in the place of a client: what the set-up needs of one, without HTTP."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self.origin = sequencer.origin

    def make(self, kind: type[Message], **fields: Any) -> Message:
        return kind(**{"id": new_id(), "exp": MAX_TIME, **fields}, aud=self.origin)

    async def send_all(self, envelopes: list[bytes]) -> list[Receipt | Rejection]:
        return await self._sequencer.submit(envelopes)


async def measure_stages(dsn: str) -> dict[str, float]:
    """Seconds a request spends in each stage, on the empty database `dsn`."""
    upgrade(dsn, MIGRATIONS)
    seed, issuer = secrets.token_bytes(32), Signer(secrets.token_bytes(32))
    cast = make_cast(SEED, 200, now_ms())
    spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        spent[name] += time.perf_counter() - begin

    async with LedgerStore.open(dsn) as store:
        sequencer = Sequencer(store, seed=seed, origin=ORIGIN)
        await sequencer.start()
        try:
            await sequencer.submit([_genesis(seed, issuer)])
            await admit_cast(_Direct(sequencer), issuer, SEED, cast)  # type: ignore[arg-type]
        finally:
            await sequencer.stop()
        public = Signer(seed).public
        keys = {thumbprint(actor.signer.public): actor.signer.public for actor in cast}
        for _ in range(BATCHES):
            with stage("sign (the sender's)"):
                raw = [_order(cast) for _ in range(BATCH)]
            with stage("decode"):
                envelopes = [parse(one) for one in raw]
            with stage("verify the signature"):
                for envelope in envelopes:
                    envelope.verify(keys[envelope.kid])
            with stage("SQL: commit"):  # what is measured inside is taken off below
                async with store.turn() as turn:
                    with stage("SQL: load"):
                        await turn.earlier(envelopes)
                        state = await turn.load(ORIGIN, envelopes)
                    head = turn.head
                    execution = Execution(ORIGIN, public, state, size=head.size, chain=head.chain)
                    with stage("rules and effects chain"):
                        effects = [execution.run(envelope, turn.clock) for envelope in envelopes]
                    with stage("hash"):
                        leaves = [leaf_hash(leaf_data(turn.clock, one)) for one in raw]
                        frontier, tree_rows = head.frontier.extend(leaves)
                        frontier.root()
                    entries = [
                        StoredEntry(number, turn.clock, "", envelope.id, _party(done), 0, None, leaf, envelope.raw)
                        for number, (envelope, leaf, done) in enumerate(
                            zip(envelopes, leaves, effects, strict=True), head.size
                        )
                    ]
                    with stage("SQL: store"):
                        await turn.write(entries, tree_rows, state)
                        await turn.move_head(turn.clock, execution.chain, frontier, head.digested)
    inside = ("SQL: load", "rules and effects chain", "hash", "SQL: store")
    spent["SQL: commit"] -= sum(spent[name] for name in inside)
    return {name: seconds / (BATCH * BATCHES) for name, seconds in spent.items()}


def _party(done: Effects | Rejection) -> str | None:
    assert isinstance(done, Effects), f"a request of the benchmark was refused: {done}"
    return done.counterparty


def _genesis(seed: bytes, issuer: Signer) -> bytes:
    party = Party(
        id="issuer",
        name="Issuer",
        country="CH",
        role="issuer",
        key=to_base64url(issuer.public),
        recovery_key=to_base64url(Signer(secrets.token_bytes(32)).public),
    )
    return Signer(seed).sign(
        Genesis(id=new_id(), aud=ORIGIN, exp=MAX_TIME, rules_version=1, issuer=party, parameters=Parameters())
    )


def _order(cast: list[Actor]) -> bytes:
    home, visited = secrets.SystemRandom().sample(cast, 2)
    assert BUNDLE.price == PRICE
    message = PlaceRequest(
        id=new_id(),
        aud=ORIGIN,
        exp=MAX_TIME,
        offer=visited.bundle,
        user_id=secrets.token_hex(16),
        delivery_key=home.seal_key,
        escrow=PRICE,
        ends=now_ms() + 10**8,
    )
    return home.signer.sign(message)
