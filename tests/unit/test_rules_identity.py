"""Who takes part and with which keys: genesis, admission, rotation with overlap, revocation, recovery."""

from typing import Any

import pytest
from msgspec import structs

from settlement.ledger.envelope import Signer, parse
from settlement.ledger.execution import Execution
from settlement.ledger.keys import prove_possession, seal_key_id, thumbprint, to_base64url
from settlement.ledger.messages import AddKey, Admit, Genesis, Mint, Parameters, Recover, Redeem, RevokeKey
from settlement.ledger.rules import Effects
from settlement.ledger.state import Account, Key, Operator, State
from tests.ledger_model import HOUR, MINUTE, ORIGIN, START, Member, World, refused, seed_of

NEW = Signer(seed_of("new"))
NEWER = Signer(seed_of("newer"))

SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""Points of order 1, 2, 4, 8 and non-canonical spellings: with them a signature can fit any message."""


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alfa(world: World) -> Member:
    return world.admit("alfa", funds=100)


def new_key(signer: Signer, operator: str = "alfa", **fields: Any) -> dict[str, Any]:
    """Fields of a good add-key."""
    proof = prove_possession(signer.key, ORIGIN, operator)
    return {"purpose": "sign", "key": to_base64url(signer.public), "proof": proof, **fields}


def may_sign(world: World, sender: Member | Signer) -> bool:
    """Whether a key may sign now: a redemption of too much is refused only after that was decided."""
    answer = world.send(sender, Redeem, amount=10**9, payout="-")
    assert answer in (refused("insufficient-funds"), refused("key-not-valid"), refused("unknown-key"))
    return answer == refused("insufficient-funds")


# genesis


def found(**changes: Any) -> Any:
    origin, issuer = Signer(seed_of("origin")), Member("issuer").party("issuer")
    fields = {"aud": ORIGIN, "exp": START, "rules_version": 1, "issuer": issuer, "parameters": Parameters(), **changes}
    signer = fields.pop("signer", origin)
    envelope = parse(signer.sign(Genesis(id=World().new_id(), **fields)))
    return Execution(ORIGIN, origin.public, State()).run(envelope, START)


def test_a_genesis_founds_the_ledger_and_its_issuer() -> None:
    world = World()
    assert world.state.get(Account, "issuer") == Account(operator="issuer", available=0, escrow=0, held=0)
    assert may_sign(world, world.issuer)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("unknown-key", {"signer": NEW}),
        ("wrong-audience", {"aud": "ledger.example/other"}),
        ("invalid-terms", {"rules_version": 99}),
        ("invalid-terms", {"issuer": Member("issuer").party("operator")}),
        ("already-exists", {"issuer": Member("ledger").party("issuer")}),
        ("already-exists", {"issuer": Member("origin").party("issuer")}),
    ],
)
def test_a_genesis_that_does_not_fit_is_refused(code: str, changes: dict[str, Any]) -> None:
    assert found(**changes) == refused(code)


def test_the_first_entry_is_a_genesis_and_no_other_is(world: World) -> None:
    envelope = parse(NEW.sign(world.make(Mint, to="alfa", amount=1, deposit="-")))
    assert Execution(ORIGIN, world.origin.public, State()).run(envelope, START) == refused("wrong-state")
    again = {"rules_version": 1, "issuer": world.issuer.party("issuer"), "parameters": Parameters()}
    assert world.send(world.origin, Genesis, **again) == refused("key-not-valid")
    assert world.send(world.issuer, Genesis, **again) == refused("not-permitted")


# admission


def test_admission_makes_an_operator_with_two_keys_and_an_empty_account(world: World) -> None:
    world.must(world.issuer, Admit, party=Member("bravo").party())
    assert world.state.get(Operator, "bravo") is not None
    assert world.state.get(Account, "bravo") == Account(operator="bravo", available=0, escrow=0, held=0)
    assert may_sign(world, Member("bravo"))


def test_only_the_issuer_admits(world: World, alfa: Member) -> None:
    assert world.send(alfa, Admit, party=Member("bravo").party()) == refused("not-permitted")


@pytest.mark.parametrize(
    ("code", "party"),
    [
        ("already-exists", Member("alfa").party()),
        ("already-exists", Member("ledger").party()),
        ("invalid-terms", Member("bravo").party("issuer")),
    ],
)
def test_an_id_is_admitted_once_and_there_is_one_issuer(world: World, alfa: Member, code: str, party: Any) -> None:
    assert world.send(world.issuer, Admit, party=party) == refused(code)


def test_a_party_with_anothers_key_is_refused(world: World, alfa: Member) -> None:
    thief = Member("thief")
    thief.signer = alfa.signer
    assert world.send(world.issuer, Admit, party=thief.party()) == refused("already-exists")
    thief.signer = thief.recovery
    assert world.send(world.issuer, Admit, party=thief.party()) == refused("already-exists")


# weak keys


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_small_order_key_is_refused_everywhere(world: World, alfa: Member, point: str) -> None:
    weak, good = to_base64url(bytes.fromhex(point)), to_base64url(NEW.public)
    proof = prove_possession(NEW.key, ORIGIN, "alfa")
    bravo = Member("bravo").party()
    for party in ({"key": weak, "recovery_key": good}, {"key": good, "recovery_key": weak}):
        assert world.send(world.issuer, Admit, party=structs.replace(bravo, **party)) == refused("weak-key")
    assert world.send(alfa, AddKey, purpose="sign", key=weak, proof=proof) == refused("weak-key")
    for keys in ({"key": weak, "recovery_key": good}, {"key": good, "recovery_key": weak}):
        assert world.send(alfa.recovery, Recover, proof=proof, **keys) == refused("weak-key")


# rotation


def test_a_key_is_rotated_with_overlap(world: World, alfa: Member) -> None:
    world.must(alfa, AddKey, **new_key(NEW, replaces=alfa.signer.kid, until=world.time + HOUR))
    assert may_sign(world, alfa)
    assert may_sign(world, NEW)
    world.wait(HOUR - 1)
    assert may_sign(world, alfa)
    world.wait(1)
    assert not may_sign(world, alfa)
    assert may_sign(world, NEW)


def test_a_key_replaced_without_overlap_ends_at_once(world: World, alfa: Member) -> None:
    world.must(alfa, AddKey, **new_key(NEW, replaces=alfa.signer.kid))
    assert not may_sign(world, alfa)


def test_an_overlap_is_never_lengthened(world: World, alfa: Member) -> None:
    world.must(alfa, AddKey, **new_key(NEW, replaces=alfa.signer.kid, until=world.time + MINUTE))
    world.must(NEW, AddKey, **new_key(NEWER, replaces=alfa.signer.kid, until=world.time + HOUR))
    world.wait(MINUTE)
    assert not may_sign(world, alfa)


@pytest.mark.parametrize(
    "proof",
    [
        None,
        prove_possession(NEWER.key, ORIGIN, "alfa"),
        prove_possession(NEW.key, ORIGIN, "bravo"),
        prove_possession(NEW.key, "ledger.example/other", "alfa"),
        "A" * 86,
    ],
)
def test_a_new_signing_key_proves_its_possession(world: World, alfa: Member, proof: str | None) -> None:
    assert world.send(alfa, AddKey, **{**new_key(NEW), "proof": proof}) == refused("bad-signature")


def test_a_key_on_the_ledger_cannot_be_added_again_by_anybody(world: World, alfa: Member) -> None:
    bravo = world.admit("bravo")
    world.must(alfa, AddKey, **new_key(NEW))
    assert world.send(alfa, AddKey, **new_key(NEW)) == refused("already-exists")
    assert world.send(bravo, AddKey, **new_key(NEW, "bravo")) == refused("already-exists")
    world.must(alfa, RevokeKey, kid=NEW.kid)
    assert world.send(alfa, AddKey, **new_key(NEW)) == refused("already-exists"), "a revoked key never comes back"


def test_a_key_replaces_only_an_own_open_key_of_its_purpose(world: World, alfa: Member) -> None:
    bravo = world.admit("bravo")
    for replaces, code in (
        (bravo.signer.kid, "unknown-key"),
        ("A" * 43, "unknown-key"),
        (alfa.delivery_key, "invalid-terms"),
        (alfa.recovery.kid, "invalid-terms"),
    ):
        assert world.send(alfa, AddKey, **new_key(NEW, replaces=replaces)) == refused(code)


@pytest.mark.parametrize("signer", ["delivery", "recovery"])
def test_only_signing_keys_sign(world: World, alfa: Member, signer: str) -> None:
    public = Signer(seed_of("alfa seal"))
    world.must(alfa, AddKey, purpose="seal", key=to_base64url(public.public))
    if signer == "recovery":
        assert not may_sign(world, alfa.recovery)
    else:
        assert seal_key_id(public.public) != thumbprint(public.public), "a seal key has another name"
        assert not may_sign(world, public)


def test_a_seal_key_cannot_take_the_name_of_a_signing_key_to_be(world: World, alfa: Member) -> None:
    jwk = b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % to_base64url(NEW.public).encode()
    assert seal_key_id(jwk) == NEW.kid
    assert world.send(alfa, AddKey, purpose="seal", key=to_base64url(jwk)) == refused("malformed")


@pytest.mark.parametrize("key", ["A" * 42 + "=", "A" * 45, "+" * 44, "é" * 44])
def test_a_seal_key_is_canonical_base64url(world: World, alfa: Member, key: str) -> None:
    assert world.send(alfa, AddKey, purpose="seal", key=key) == refused("malformed")


# revocation


def test_a_revoked_key_signs_nothing_more(world: World, alfa: Member) -> None:
    world.must(alfa, AddKey, **new_key(NEW))
    world.must(NEW, RevokeKey, kid=alfa.signer.kid)
    assert not may_sign(world, alfa)
    assert world.send(NEW, RevokeKey, kid=alfa.signer.kid) == refused("key-not-valid")


def test_an_envelope_signed_before_a_revocation_but_sequenced_after_it_is_refused(world: World, alfa: Member) -> None:
    early = alfa.signer.sign(world.make(Redeem, amount=1, payout="-"))
    in_time = alfa.signer.sign(world.make(Redeem, amount=1, payout="-"))
    assert isinstance(world.send_raw(in_time), Effects)
    world.must(alfa.recovery, RevokeKey, kid=alfa.signer.kid)
    assert world.send_raw(early) == refused("key-not-valid"), "in the same millisecond too"
    assert world.balance(alfa).held == 1


def test_a_revocation_cuts_an_overlap_short(world: World, alfa: Member) -> None:
    world.must(alfa, AddKey, **new_key(NEW, replaces=alfa.signer.kid, until=world.time + HOUR))
    world.must(NEW, RevokeKey, kid=alfa.signer.kid)
    assert not may_sign(world, alfa)


def test_a_thief_of_a_signing_key_cannot_lock_out_the_recovery_key(world: World, alfa: Member) -> None:
    for signer in (alfa.signer, alfa.recovery):
        assert world.send(signer, RevokeKey, kid=alfa.recovery.kid) == refused("not-permitted")
    world.must(alfa.recovery, RevokeKey, kid=alfa.signer.kid)
    assert not may_sign(world, alfa)


def test_nobody_revokes_anothers_key(world: World, alfa: Member) -> None:
    bravo = world.admit("bravo")
    for kid in (alfa.signer.kid, world.origin.kid):
        assert world.send(bravo, RevokeKey, kid=kid) == refused("unknown-key")


# recovery


def recovery(**changes: Any) -> dict[str, Any]:
    return {
        "key": to_base64url(NEW.public),
        "proof": prove_possession(NEW.key, ORIGIN, "alfa"),
        "recovery_key": to_base64url(NEWER.public),
        **changes,
    }


def test_a_recovery_ends_every_signing_key_and_installs_new_ones(world: World, alfa: Member) -> None:
    stolen = Signer(seed_of("added by a thief"))
    world.must(alfa, AddKey, **new_key(stolen))
    world.must(alfa.recovery, Recover, **recovery())
    assert not may_sign(world, alfa)
    assert not may_sign(world, stolen)
    assert may_sign(world, NEW)
    assert world.send(alfa.recovery, RevokeKey, kid=NEW.kid) == refused("key-not-valid"), "it was replaced"
    world.must(NEWER, RevokeKey, kid=NEW.kid)
    seal = world.state.get(Key, alfa.delivery_key)
    assert seal is not None
    assert seal.until is None, "what was sealed is not the thief's"


def test_a_recovery_leaves_other_operators_alone(world: World, alfa: Member) -> None:
    bravo = world.admit("bravo")
    world.must(alfa.recovery, Recover, **recovery())
    assert may_sign(world, bravo)


def test_only_the_recovery_key_recovers(world: World, alfa: Member) -> None:
    assert world.send(alfa, Recover, **recovery()) == refused("key-not-valid")


def test_a_recovery_with_known_or_equal_keys_or_no_possession_is_refused(world: World, alfa: Member) -> None:
    own = {"key": to_base64url(alfa.signer.public), "proof": prove_possession(alfa.signer.key, ORIGIN, "alfa")}
    for code, changes in (
        ("already-exists", own),
        ("already-exists", {"recovery_key": to_base64url(alfa.recovery.public)}),
        ("already-exists", {"recovery_key": to_base64url(NEW.public)}),
        ("bad-signature", {"proof": prove_possession(NEWER.key, ORIGIN, "alfa")}),
    ):
        assert world.send(alfa.recovery, Recover, **recovery(**changes)) == refused(code)
