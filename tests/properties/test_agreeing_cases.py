"""Whatever members of staff, runs and the ledger do to a case: nobody confirms alone, and its history is all of it."""

from contextlib import suppress
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.agreeing import model, records
from marketplace.agreeing.model import Case, Event, Proposal, Sighting
from marketplace.agreeing.records import read_upload
from marketplace.operator_problems import Refusal
from settlement.ledger.ids import new_id
from settlement.reconciliation.model import ReconciliationError

STAFF = st.sampled_from(["anna", "ben", "carla"])
AMOUNTS = st.integers(0, 5)


def sight(ours: int = 3, theirs: int = 5, mark: str = "m") -> Sighting:
    return Sighting(
        mark=mark,
        partner="bravo",
        source="reconciliation",
        basis="own-records/ledger",
        kind="amount",
        key="K-1",
        time_ms=1_790_000_000_000,
        request=UUID(int=7),
        at_stake_usdr=abs(ours - theirs),
        ours_usdr=ours,
        theirs_usdr=theirs,
        records={"ours": {"amount": ours}, "theirs": {"amount": theirs}},
    )


PROPOSALS = st.builds(
    Proposal,
    resolution=st.sampled_from(model.RESOLUTIONS),
    reason=st.sampled_from(model.REASONS),
    text=st.text(max_size=20),
    amount_usdr=st.none() | AMOUNTS,
)
STEPS = st.one_of(
    st.tuples(st.just("propose"), STAFF, PROPOSALS),
    st.tuples(st.just("confirm"), STAFF, st.text(max_size=5)),
    st.tuples(st.just("reopen"), STAFF, st.text(max_size=5)),
    st.tuples(st.just("dispute"), STAFF, st.none()),
    st.tuples(st.just("clear"), st.just("run"), st.none()),
    st.tuples(st.just("again"), st.just("run"), st.tuples(AMOUNTS, AMOUNTS)),
    st.tuples(
        st.just("follow"),
        st.just("ledger"),
        st.sampled_from(["raised", "rejected", "escalated", "upheld", "dismissed", "withdrawn", "refused:too-much"]),
    ),
)


def take(case: Case, what: str, by: str, more: object, at: int) -> Event | None:
    match what, more:
        case "propose", Proposal():
            return model.propose(case, more, by=by, at_ms=at)
        case "confirm", str():
            return model.confirm(case, by=by, at_ms=at, text=more)
        case "reopen", str():
            return model.reopen(case, by=by, at_ms=at, text=more)
        case "dispute", _:
            return model.dispute(case, new_id(), by=by, at_ms=at)
        case "clear", _:
            return model.clear(case, by=by, at_ms=at)
        case "again", (int() as ours, int() as theirs):
            return model.find_again(case, sight(ours, theirs), by=by, at_ms=at)
        case "follow", str():
            ended = more in ("upheld", "dismissed", "withdrawn")
            return model.follow(case, more, 2 if more == "upheld" else 0, at_ms=at, ended=ended)
    raise AssertionError(what)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_no_case_is_confirmed_by_its_proposer_and_its_history_is_complete(
    steps: list[tuple[str, str, object]],
) -> None:
    history = [model.find(UUID(int=1), sight(), by="run", at_ms=1000)]
    case = model.replay(history)
    for at, (what, by, more) in enumerate(steps, 1001):
        try:
            event = take(case, what, by, more, at)
        except Refusal:
            continue
        if event is None:
            continue
        history.append(event)
        case = model.apply(case, event)
        assert model.replay(history) == case
        assert [event.number for event in history] == list(range(1, len(history) + 1))
        if case.state in ("confirmed", "disputed"):
            assert case.proposed_by
            assert case.confirmed_by
            assert case.proposed_by != case.confirmed_by
        if case.state == "open":
            assert (case.resolution, case.proposed_by, case.confirmed_by, case.agreed_usdr) == (None,) * 4
        if case.resolution == "split":
            assert case.agreed_usdr is not None
            assert min(case.ours_usdr or 0, case.theirs_usdr or 0) <= case.agreed_usdr
            assert case.agreed_usdr <= max(case.ours_usdr or 0, case.theirs_usdr or 0)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["a.csv", "a.parquet", "../a.csv", "a", "a.xlsx", "/"]), st.binary(max_size=200))
def test_any_octets_are_records_or_refused_in_words(name: str, octets: bytes) -> None:
    with suppress(ReconciliationError):
        assert read_upload(name, octets).height >= 0


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=25) | st.from_regex(r"\d{4}-\d\d(-\d\d/\d{4}-\d\d-\d\d)?", fullmatch=True))
def test_any_text_is_a_period_or_refused(text: str) -> None:
    with suppress(Refusal):
        begin, end = records.read_period(text)
        assert 0 <= begin < end


@given(st.text(max_size=60))
def test_any_text_is_a_key_of_the_ledger_or_none(text: str) -> None:
    parsed = records.parse_key(text)
    assert parsed is None or len(parsed) == 3
