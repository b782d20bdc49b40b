"""What breaks while a world goes on: nodes killed, the ledger silent, the database restarted, a key revoked.

Faults strike in the step their hour falls into, while that step is under way. Nobody is warned: whoever talks to what
is down tries again, and what they say again must not count twice.
"""

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

from settlement.ledger.envelope import Signer
from settlement.ledger.keys import prove_possession, to_base64url
from settlement.ledger.messages import AddKey, RevokeKey
from simulator.scenario import FaultPlan
from simulator.site import Site, Tell

if TYPE_CHECKING:
    from simulator.engine import Engine

LEAD_S: Final = 0.15
"""A step is let begin before it is struck."""


def spare_seed(site: Site, operator: str) -> bytes:
    """The seed of the key an operator has in reserve, should its first be revoked."""
    return hashlib.blake2b(f"spare/{operator}".encode(), key=site.keys.seeds["recovery"], digest_size=32).digest()


def revoked_operators(site: Site) -> list[int]:
    """Operators whose key a fault revokes, in the order of the desk's spare keys."""
    ids = {fault.target for fault in site.world.scenario.faults if fault.kind == "revoke-key"}
    return [operator.number for operator in site.world.operators if operator.id in ids]


class Faults:
    """Strikes, and tells of it."""

    def __init__(self, site: Site, engine: "Engine", tell: Tell) -> None:
        self._site, self._engine, self._tell = site, engine, tell
        self._step_hours = site.world.scenario.step_hours
        spares = revoked_operators(site)
        engine.spares = {number: len(site.world.operators) + 1 + place for place, number in enumerate(spares)}
        for fault in site.world.scenario.faults:
            if fault.kind == "revoke-key" and self._step_of(fault) < engine.step:
                self._use_spare(fault)

    def _step_of(self, fault: FaultPlan) -> int:
        return fault.at_hour // self._step_hours

    async def prepare(self, step: int) -> None:
        """What strikes before a step begins: keys are revoked, and their owner's machines do not know it yet."""
        for fault in self._site.world.scenario.faults:
            if fault.kind == "revoke-key" and self._step_of(fault) == step:
                await self._revoke(fault)

    async def strike(self, step: int) -> None:
        """What strikes within a step."""
        for fault in self._site.world.scenario.faults:
            if self._step_of(fault) == step and fault.kind != "revoke-key":
                await asyncio.sleep(LEAD_S)
                self._tell(f"fault: {fault.kind} {fault.target} for {fault.seconds:g} s")
                await self._strike(fault)
                self._tell(f"fault over: {fault.kind} {fault.target}")

    async def _strike(self, fault: FaultPlan) -> None:
        match fault.kind:
            case "kill-node":
                await self._site.kill(fault.target, fault.seconds)
            case "stop-ledger":
                await self._site.freeze("ledger", fault.seconds)
            case "restart-database":
                await self._site.restart_database(fault.seconds)
            case "revoke-key":
                raise AssertionError("keys are revoked before the step")

    async def _revoke(self, fault: FaultPlan) -> None:
        """A further key, made known by the old one, and the old one revoked by the new."""
        site, engine = self._site, self._engine
        operator = next(one for one in site.world.operators if one.id == fault.target)
        old, new = site.signers[operator.number], Signer(spare_seed(site, operator.id))
        add = AddKey(
            **engine.book.fields(f"spare/{operator.number}"),
            purpose="sign",
            key=to_base64url(new.public),
            proof=prove_possession(new.key, site.log_key.name, operator.id),
        )
        revoke = RevokeKey(**engine.book.fields(f"revoke/{operator.number}"), kid=old.kid)
        await engine.desk.send("add-key", [(operator.number, add)])
        await engine.desk.send("revoke-key", [(engine.spares[operator.number], revoke)])
        site.signers[operator.number] = new
        self._tell(f"fault: the key of {operator.id} is revoked")

    def _use_spare(self, fault: FaultPlan) -> None:
        operator = next(one for one in self._site.world.operators if one.id == fault.target)
        self._site.signers[operator.number] = Signer(spare_seed(self._site, operator.id))
        self._engine.signers[operator.number] = self._engine.spares[operator.number]
