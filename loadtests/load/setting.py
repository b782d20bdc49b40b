"""What a run is set in: a ledger, traders on it, and the plan that says so.

    traders = await admit(ledger, issuer, 1000)     # a ledger whose issuer's key one has
    traders = await enter(ledger, keys)             # operators that are admitted already, by their keys
    node = await find_node(url, token)              # the node of a home operator that runs already

All through the SDK and the API: seal keys registered, two offers published by each trader. Admitted operators are also
funded; those of one's own must have SDRt.
"""

import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from loadtests.cast import BUNDLE, METERED, admit_cast, draw, expect_receipts, make_cast, now_ms, terms
from loadtests.load.node import NodeError, call, open_node
from loadtests.load.plan import HomeNode, Key, PlanError, Trader
from settlement.ledger.client import LedgerClient, Rejected
from settlement.ledger.envelope import Signer
from settlement.ledger.ids import new_id
from settlement.ledger.keys import seal_key_id, to_base64url
from settlement.ledger.messages import AddKey, Admit, Party, PublishOffer

FEWEST: Final = 2
"""Traders: nobody buys from oneself."""


async def admit(ledger: LedgerClient, issuer: Signer, operators: int) -> tuple[Trader, ...]:
    """Admit, fund and equip `operators` new operators, with keys made for this run, as the issuer can."""
    if operators < FEWEST:
        raise PlanError(f"--operators {operators}: a market has at least {FEWEST}")
    seed = secrets.randbits(128)
    prefix = f"load-{secrets.token_hex(4)}"
    cast = make_cast(seed, operators, now_ms())
    for number, actor in enumerate(cast):
        actor.id = f"{prefix}-{number}"
    try:
        await admit_cast(ledger, issuer, seed, cast)
    except RuntimeError as error:
        raise PlanError(f"{error}; is the key the issuer's?") from None
    return tuple(
        Trader(Key(actor.id, draw(seed, f"sign/{number}")), actor.seal_key, actor.bundle, actor.metered)
        for number, actor in enumerate(cast)
    )


async def admit_auditor(ledger: LedgerClient, issuer: Signer) -> Key:
    """Admit an auditor for this run, so that the issuer's key stays with the issuer."""
    key = Key(f"load-auditor-{secrets.token_hex(4)}", secrets.token_bytes(32))
    party = Party(
        id=key.operator,
        name="Auditor of a load test",
        country="DE",
        role="auditor",
        key=to_base64url(key.signer.public),
        recovery_key=to_base64url(Signer(secrets.token_bytes(32)).public),
    )
    await expect_receipts(ledger, [issuer.sign(ledger.make(Admit, party=party))])
    return key


async def enter(ledger: LedgerClient, keys: Sequence[Key]) -> tuple[Trader, ...]:
    """Operators that are admitted and funded: a seal key and two offers each. Raises PlanError."""
    if len(keys) < FEWEST:
        raise PlanError(f"{len(keys)} --operator-key: a market has at least {FEWEST}, give one more operator's")
    traders = []
    for key in keys:
        signer, seal = key.signer, b"\x01" + secrets.token_bytes(32)
        bundle, metered = new_id(), new_id()
        envelopes = [
            signer.sign(ledger.make(AddKey, purpose="seal", key=to_base64url(seal))),
            *(
                signer.sign(ledger.make(PublishOffer, id=id_, terms=terms(tariff)))
                for id_, tariff in ((bundle, BUNDLE), (metered, METERED))
            ),
        ]
        try:
            await expect_receipts(ledger, envelopes)
        except (RuntimeError, Rejected) as error:
            raise PlanError(f"{key.operator}: {error}") from None
        traders.append(Trader(key, seal_key_id(seal), bundle, metered))
    return tuple(traders)


async def find_node(url: str, token: str) -> HomeNode:
    """A home operator's node that runs already: its subscribers and packages on sale. Raises PlanError."""
    bare = HomeNode("", url, token, (), (), ())
    async with open_node(bare) as http:
        try:
            operator = (await call(http, "GET", "/operator"))["operator"]
            subscribers = await call(http, "GET", "/subscribers")
            packages = [one for one in await call(http, "GET", "/packages") if one["state"] == "on-sale"]
        except NodeError as error:
            raise PlanError(f"the node does not answer as one: {error}") from None
    if not subscribers or not packages:
        raise PlanError(
            f"{operator} has {len(subscribers)} subscribers and {len(packages)} packages on sale: it needs both"
        )
    return HomeNode(
        operator,
        url,
        token,
        tuple(UUID(one["id"]) for one in subscribers),
        tuple(UUID(one["id"]) for one in packages),
        tuple(one["iccid"] for one in subscribers),
    )
