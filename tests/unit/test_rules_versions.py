"""A ledger is founded under a version of the rules and goes up by an entry of its issuer."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from settlement.ledger.messages import Message, Mint, Parameters, SettlementParameters, UpgradeRules
from settlement.ledger.rules import VERSIONS
from settlement.ledger.settling import Change, Direction
from settlement.ledger.state import Ledger
from settlement.usage.tariff import Metered
from tests.ledger_model import ORIGIN, World, refused, terms

NEW = [kind for kind in VERSIONS[2] if kind not in VERSIONS[1]]
"""Messages that version 2 brings."""


def version(world: World) -> int:
    ledger = world.state.get(Ledger, ORIGIN)
    assert ledger is not None
    return ledger.rules_version


def test_the_issuer_upgrades_a_ledger_of_version_1() -> None:
    world = World(version=1)
    world.admit("alfa")
    world.must(world.issuer, UpgradeRules, version=2)
    assert version(world) == 2
    world.must(world.issuer, Mint, to="alfa", amount=1, deposit="-")


def test_nobody_else_upgrades() -> None:
    world = World(version=1)
    assert world.send(world.admit("alfa"), UpgradeRules, version=2) == refused("not-permitted")
    assert version(world) == 1


@pytest.mark.parametrize(("asked", "code"), [(2, "wrong-state"), (99, "newer-rules")])
def test_versions_only_go_up_and_only_to_what_the_program_knows(asked: int, code: str) -> None:
    world = World()
    assert world.send(world.issuer, UpgradeRules, version=asked) == refused(code)
    assert version(world) == 2


def example(kind: type[Message], world: World) -> dict[str, Any]:
    """Some value for each field that a message must have: under version 1 it is not looked at."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in ("id", "aud", "exp"):
            values[field.name] = EXAMPLES[field.name]
    return values


EXAMPLES: dict[str, Any] = {
    "dispute": UUID(int=7 << 76 | 2 << 62),
    "evidence": "00" * 32,
    "award": 1,
    "entry": 1,
    "leaf": "00" * 32,
    "request": UUID(int=7 << 76 | 2 << 62),
    "cause": "no",
    "deal": UUID(int=7 << 76 | 2 << 62),
    "period": 0,
    "partner": "alfa",
    "directions": (Direction(home="alfa", offer=UUID(int=1), terms=terms(Metered())),),
    "starts": 1,
    "ends": 2,
    "kind": "invoice",
    "digest": "00" * 32,
    "as_of": 1,
    "deposits": 1,
    "method": "setoff",
    "changes": (Change(UUID(int=7 << 76 | 2 << 62), 1, 1),),
    "proposal": "00" * 32,
    "document": "00" * 32,
    "reason": "no",
    "debtor": "alfa",
    "amount": 1,
    "due": 1,
    "until": 1,
    "obligation": UUID(int=7 << 76 | 2 << 62),
}


@pytest.mark.parametrize("kind", NEW)
def test_version_1_refuses_what_it_does_not_know(kind: type[Message]) -> None:
    world = World(version=1)
    alfa = world.admit("alfa", funds=1)
    assert world.send(alfa, kind, **example(kind, world)) == refused("newer-rules")


def test_a_ledger_of_version_1_has_no_parameters_of_version_2() -> None:
    with pytest.raises(AssertionError, match="newer-rules"):
        World(Parameters(settlement=SettlementParameters()), version=1)
    assert World(Parameters(settlement=SettlementParameters(answer_days=1))).execution.size == 1
