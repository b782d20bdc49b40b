"""The embedded HLR and AuC."""

from __future__ import annotations

import pytest

from simcard.uicc.algorithms import choose_algorithm, require_aka
from simcard.uicc.authentication import SLOTS, Authenticated, ResyncNeeded, SequenceArray, answer_challenge
from simcard.uicc.comp128 import Comp128
from simcard.uicc.milenage import Milenage, xor
from simulator.hlr import VECTORS, Cause, EmbeddedHlr, HlrRefusalError, SubscriberConflictError

IMSI, K, OPC = "262011234567890", bytes(range(16)), bytes(range(16, 32))


@pytest.fixture
async def hlr() -> EmbeddedHlr:
    made = EmbeddedHlr()
    await made.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn=None)
    return made


async def test_every_vector_is_new_and_good_for_the_card(hlr: EmbeddedHlr) -> None:
    array = SequenceArray()
    vectors = await hlr.send_auth_info(IMSI) + await hlr.send_auth_info(IMSI)
    assert len({vector.rand for vector in vectors}) == 2 * VECTORS
    for vector in vectors:
        answer = answer_challenge(Milenage(K, OPC), array, vector.rand, vector.autn)
        assert isinstance(answer, Authenticated)
        assert (answer.res, answer.ck, answer.ik, answer.kc) == (vector.res, vector.ck, vector.ik, vector.kc)


async def test_resynchronisation_takes_the_cards_number_over(hlr: EmbeddedHlr) -> None:
    array = SequenceArray()
    array.accept(5000 << 5 | 3)
    stale = (await hlr.send_auth_info(IMSI))[1]
    array.seq[2] = 5000
    answer = answer_challenge(Milenage(K, OPC), array, stale.rand, stale.autn)
    assert isinstance(answer, ResyncNeeded)
    fresh = (await hlr.send_auth_info(IMSI, (stale.rand, answer.auts)))[0]
    assert isinstance(answer_challenge(Milenage(K, OPC), array, fresh.rand, fresh.autn), Authenticated)


async def test_an_hlr_too_far_ahead_comes_back_to_the_card(hlr: EmbeddedHlr) -> None:
    subscriber = hlr.find(IMSI)
    assert subscriber is not None
    subscriber.seq = 1 << 40
    array = SequenceArray()
    ahead = (await hlr.send_auth_info(IMSI))[0]
    answer = answer_challenge(Milenage(K, OPC), array, ahead.rand, ahead.autn)
    assert isinstance(answer, ResyncNeeded)
    fresh = (await hlr.send_auth_info(IMSI, (ahead.rand, answer.auts)))[0]
    assert isinstance(answer_challenge(Milenage(K, OPC), array, fresh.rand, fresh.autn), Authenticated)


async def test_a_forged_auts_moves_nothing(hlr: EmbeddedHlr) -> None:
    vector = (await hlr.send_auth_info(IMSI))[0]
    sqn = (77 << 5).to_bytes(6, "big")
    forged = xor(sqn, Milenage(K, OPC).f5star(vector.rand)) + bytes(8)
    with pytest.raises(HlrRefusalError) as refused:
        await hlr.send_auth_info(IMSI, (vector.rand, forged))
    assert refused.value.cause is Cause.MAC_FAILURE
    subscriber = hlr.find(IMSI)
    assert subscriber is not None
    assert subscriber.seq == VECTORS


async def test_unknown_barred_and_deleted_subscribers_have_their_causes(hlr: EmbeddedHlr) -> None:
    await hlr.update_location(IMSI)
    await hlr.bar(IMSI)
    for cause, imsi in ((Cause.ROAMING_NOT_ALLOWED, IMSI), (Cause.IMSI_UNKNOWN, "262010000000000")):
        with pytest.raises(HlrRefusalError) as refused:
            await hlr.send_auth_info(imsi)
        assert refused.value.cause is cause
        assert imsi not in str(refused.value)
    await hlr.delete(IMSI)
    await hlr.delete(IMSI)
    with pytest.raises(HlrRefusalError, match="cause 2, IMSI unknown in HLR"):
        await hlr.update_location(IMSI)


async def test_other_keys_for_a_known_imsi_are_a_conflict_and_the_same_are_not(hlr: EmbeddedHlr) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn="+491701234567")
    with pytest.raises(SubscriberConflictError):
        await hlr.create_subscriber(IMSI, k=OPC, opc=OPC, algorithm="milenage", msisdn=None)


async def test_an_algorithm_it_does_not_have_is_named(hlr: EmbeddedHlr) -> None:
    with pytest.raises(ValueError, match="'a5'"):
        await hlr.create_subscriber("262010000000001", k=K, opc=OPC, algorithm="a5", msisdn=None)


@pytest.mark.parametrize(("algorithm", "opc"), [("tuak", bytes(32)), ("xor", b"")])
async def test_other_algorithm_sets_authenticate_and_resynchronise_alike(algorithm: str, opc: bytes) -> None:
    hlr = EmbeddedHlr()
    await hlr.create_subscriber(IMSI, k=K, opc=opc, algorithm=algorithm, msisdn=None)
    aka, array = require_aka(choose_algorithm(algorithm, K, opc)), SequenceArray([100] * SLOTS)
    stale = (await hlr.send_auth_info(IMSI))[0]
    answer = answer_challenge(aka, array, stale.rand, stale.autn)
    assert isinstance(answer, ResyncNeeded)
    fresh = (await hlr.send_auth_info(IMSI, (stale.rand, answer.auts)))[0]
    authenticated = answer_challenge(aka, array, fresh.rand, fresh.autn)
    assert isinstance(authenticated, Authenticated)
    assert (authenticated.res, authenticated.kc) == (fresh.res, fresh.kc)


async def test_a_subscriber_with_comp128_gets_triplets_and_has_nothing_to_resynchronise() -> None:
    hlr = EmbeddedHlr()
    await hlr.create_subscriber(IMSI, k=K, opc=b"", algorithm="comp128v3", msisdn=None)
    vector = (await hlr.send_auth_info(IMSI))[0]
    assert (vector.autn, vector.res) == (b"", b"")
    assert (vector.sres, vector.kc) == Comp128(3, K).a3a8(vector.rand)
    with pytest.raises(HlrRefusalError):
        await hlr.send_auth_info(IMSI, (vector.rand, bytes(14)))
