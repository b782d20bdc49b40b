"""Drafts of deals: a file says what was meant, what is wrong is refused in words, what passes the ledger takes."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.deals.draft import check_draft, direct
from marketplace.deals.schemas import NewDeal, NewDirection
from marketplace.operator_cli.calling import plain, read_file
from marketplace.operator_problems import Refusal
from settlement.ledger.rules import Effects
from settlement.ledger.settling import ProposeDeal
from settlement.usage.deals import Commitment, Rate
from settlement.usage.tariff import Bundle, Metered, Tariff
from tests.ledger_model import DAY, START, World, terms

services = st.sampled_from(("data", "voice", "message"))
tariffs: st.SearchStrategy[Tariff] = st.sampled_from(
    (Metered(block_price=1), Bundle(price=5, octets=100, hours=24), Bundle(price=1, hours=1))
)
times = st.integers(-40, 900).map(lambda days: START + days * DAY)
homes = st.sampled_from(("alfa", "alfa", "bravo", "charly"))


@st.composite
def directions(draw: st.DrawFn) -> NewDirection:
    home = draw(homes)
    return NewDirection(
        home=home,
        terms=terms(
            draw(tariffs), valid_until=draw(times), whitelist=draw(st.sampled_from(((), (), (home,), ("xray",))))
        ),
        revenue=draw(st.integers(0, 100)),
        volumes=tuple(
            draw(st.lists(st.builds(Commitment, service=services, price=st.just(1), units=st.just(9)), max_size=3))
        ),
        credit_limit=draw(st.sampled_from((0, 0, 50))),
    )


drafts = st.builds(
    NewDeal,
    partner=st.sampled_from(("bravo", "bravo", "bravo", "alfa")),
    directions=st.lists(directions(), min_size=1, max_size=2).map(tuple),
    balanced=st.lists(st.builds(Rate, service=services, price=st.just(1)), max_size=2).map(tuple),
    starts=times,
    ends=times,
    months=st.integers(1, 12),
)


@settings(max_examples=60)
@given(drafts)
def test_a_draft_that_passes_is_taken_by_the_ledger_and_no_other_is(draft: NewDeal) -> None:
    world = World()
    alfa, _ = (world.admit(name, funds=10_000) for name in ("alfa", "bravo"))
    until = START + DAY
    passed = False
    with contextlib.suppress(Refusal):
        check_draft(draft, "alfa", START)
        passed = True
    named = ("partner", "balanced", "starts", "ends", "months")
    fields: dict[str, Any] = {name: getattr(draft, name) for name in named}
    sent = tuple(direct(one) for one in draft.directions)
    answer = world.send(alfa, ProposeDeal, id=world.new_id(), directions=sent, until=until, **fields)
    if passed:
        assert isinstance(answer, Effects) or draft.ends <= until, answer
    elif all(one.terms.whitelist in ((), (one.home,)) for one in draft.directions):  # `direct` mends the others
        assert not isinstance(answer, Effects), draft


@settings(max_examples=40)
@given(drafts)
def test_a_file_says_the_draft_that_was_meant(draft: NewDeal) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deal.json"
        file.write_bytes(msgspec.json.encode(draft))
        assert msgspec.convert(read_file(file), NewDeal) == draft


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(drafts, st.data())
def test_a_field_of_nonsense_is_refused_and_nothing_else_happens(draft: NewDeal, data: st.DataObject) -> None:
    table = plain(msgspec.json.decode(msgspec.json.encode(draft)))
    table[data.draw(st.sampled_from(sorted(table)))] = data.draw(json)
    with contextlib.suppress(msgspec.ValidationError, Refusal):
        check_draft(msgspec.json.decode(msgspec.json.encode(table), type=NewDeal), "alfa", START)
