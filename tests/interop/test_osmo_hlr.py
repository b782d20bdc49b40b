"""A real osmo-hlr behind our networks: its vectors, our card's answers (Debian package osmo-hlr)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ota.profile import MobileProfile
from simcard.readers import MemoryLink
from simcard.uicc import personalise
from simcard.uicc.algorithms import answer_gsm, choose_algorithm, require_aka
from simcard.uicc.authentication import SLOTS, Authenticated, ResyncNeeded, SequenceArray, answer_challenge
from simcard.uicc.milenage import xor
from simulator.field import Field, Network
from simulator.hlr import VECTORS, Cause, HlrRefusalError, SubscriberConflictError
from simulator.osmo_hlr import OsmoHlr, run_osmo_hlr

IMSI, UNKNOWN = "262011234567890", "262019999999999"
K, OPC = bytes(range(16)), bytes(range(16, 32))


@pytest.fixture
async def hlr(tmp_path: Path, program: Callable[..., Path]) -> AsyncIterator[OsmoHlr]:
    program("osmo-hlr", package="osmo-hlr")
    async with run_osmo_hlr(tmp_path / "osmo-hlr") as running:
        yield running


async def test_our_card_answers_its_vectors(hlr: OsmoHlr) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn="+491701234567")
    card, array = choose_algorithm("milenage", K, OPC), SequenceArray()
    vectors = [vector for _ in range(4) for vector in await hlr.send_auth_info(IMSI)]
    assert len({vector.rand for vector in vectors}) == 4 * VECTORS
    for vector in vectors:
        answer = answer_challenge(require_aka(card), array, vector.rand, vector.autn)
        assert isinstance(answer, Authenticated)
        assert (answer.res, answer.ck, answer.ik, answer.kc) == (vector.res, vector.ck, vector.ik, vector.kc)
        assert answer_gsm(card, vector.rand) == (vector.sres, vector.kc)


async def test_its_xor_is_ours(hlr: OsmoHlr) -> None:
    """All but the SQN, which libosmocore 1.7 leaves at 0 for XOR: a card that looks at it asks for another."""
    await hlr.create_subscriber(IMSI, k=K, opc=b"", algorithm="xor", msisdn=None)
    card = require_aka(choose_algorithm("xor", K, b""))
    for vector in await hlr.send_auth_info(IMSI):
        answer = card.f2345(vector.rand)
        assert (answer.res, answer.ck, answer.ik) == (vector.res, vector.ck, vector.ik)
        assert answer_gsm(choose_algorithm("xor", K, b""), vector.rand) == (vector.sres, vector.kc)
        sqn, amf = xor(vector.autn[:6], answer.ak), vector.autn[6:8]
        assert card.f1(vector.rand, sqn, amf) == vector.autn[8:]


@pytest.mark.parametrize("version", [1, 2, 3])
async def test_our_card_answers_its_triplets(hlr: OsmoHlr, version: int) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=b"", algorithm=f"comp128v{version}", msisdn=None)
    card = choose_algorithm(f"comp128v{version}", K, b"")
    for vector in await hlr.send_auth_info(IMSI):
        assert (vector.autn, vector.res) == (b"", b"")
        assert answer_gsm(card, vector.rand) == (vector.sres, vector.kc)


async def test_tuak_is_served_or_refused_by_name(hlr: OsmoHlr) -> None:
    topc, refusal = bytes(range(32)), ""
    try:
        await hlr.create_subscriber(IMSI, k=K, opc=topc, algorithm="tuak", msisdn=None)
    except ValueError as refused:  # libosmocore before 1.10
        refusal = str(refused)
    if refusal:
        assert refusal == "osmo-hlr does not take a subscriber with tuak: Unknown auth algorithm."
        with pytest.raises(HlrRefusalError, match="IMSI unknown"):
            await hlr.send_auth_info(IMSI)
        return
    card, array = require_aka(choose_algorithm("tuak", K, topc)), SequenceArray()
    for vector in await hlr.send_auth_info(IMSI):
        answer = answer_challenge(card, array, vector.rand, vector.autn)
        assert isinstance(answer, Authenticated)
        assert answer.res == vector.res


async def test_a_card_ahead_of_it_resynchronises_it(hlr: OsmoHlr) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn=None)
    card, array = require_aka(choose_algorithm("milenage", K, OPC)), SequenceArray([70_000] * SLOTS)
    stale = (await hlr.send_auth_info(IMSI))[0]
    refused = answer_challenge(card, array, stale.rand, stale.autn)
    assert isinstance(refused, ResyncNeeded)
    for fresh in await hlr.send_auth_info(IMSI, (stale.rand, refused.auts)):
        assert isinstance(answer_challenge(card, array, fresh.rand, fresh.autn), Authenticated)


async def test_a_forged_auts_is_refused_and_moves_nothing(hlr: OsmoHlr) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn=None)
    milenage = require_aka(choose_algorithm("milenage", K, OPC))
    vector = (await hlr.send_auth_info(IMSI))[0]
    before = (await hlr.describe(IMSI))["aud3g.sqn"]
    forged = xor((77 << 20).to_bytes(6, "big"), milenage.f5star(vector.rand)) + bytes(8)
    with pytest.raises(HlrRefusalError):
        await hlr.send_auth_info(IMSI, (vector.rand, forged))
    assert (await hlr.describe(IMSI))["aud3g.sqn"] == before


async def test_a_location_is_updated_its_data_inserted_and_purged_again(hlr: OsmoHlr) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn="+491701234567")
    await hlr.update_location(IMSI)
    seen = await hlr.describe(IMSI)
    assert (seen["msisdn"], seen["ms_purged_cs"]) == ("491701234567", "0")
    assert seen["vlr_number"] == "landfall"
    await hlr.purge(IMSI)
    assert (await hlr.describe(IMSI))["ms_purged_cs"] == "1"
    await hlr.update_location(IMSI)
    await hlr.purge(UNKNOWN)


async def test_unknown_barred_and_deleted_subscribers_have_their_causes(hlr: OsmoHlr) -> None:
    questions: list[Callable[[str], Awaitable[object]]] = [hlr.send_auth_info, hlr.update_location, hlr.bar]
    for ask in questions:
        with pytest.raises(HlrRefusalError) as refused:
            await ask(UNKNOWN)
        assert refused.value.cause is Cause.IMSI_UNKNOWN
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn=None)
    await hlr.bar(IMSI)
    with pytest.raises(HlrRefusalError) as refused:
        await hlr.update_location(IMSI)
    assert refused.value.cause is Cause.ROAMING_NOT_ALLOWED
    await hlr.delete(IMSI)
    await hlr.delete(IMSI)
    with pytest.raises(HlrRefusalError, match="cause 2, IMSI unknown in HLR"):
        await hlr.send_auth_info(IMSI)


async def test_other_keys_for_a_known_imsi_are_a_conflict_and_the_same_change_the_number(hlr: OsmoHlr) -> None:
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn=None)
    await hlr.create_subscriber(IMSI, k=K, opc=OPC, algorithm="milenage", msisdn="+491701234567")
    assert (await hlr.describe(IMSI))["msisdn"] == "491701234567"
    for algorithm, opc in (("milenage", K), ("comp128v1", b"")):
        with pytest.raises(SubscriberConflictError):
            await hlr.create_subscriber(IMSI, k=K, opc=opc, algorithm=algorithm, msisdn=None)


@pytest.mark.parametrize("imsi", ["26201 1", "1", "262011234567890\nSET 1 subscriber.create 262019"])
async def test_what_is_no_imsi_never_becomes_a_command(hlr: OsmoHlr, imsi: str) -> None:
    with pytest.raises(ValueError, match="6 to 15 digits"):
        await hlr.create_subscriber(imsi, k=K, opc=OPC, algorithm="milenage", msisdn=None)


async def test_phones_register_resynchronise_and_are_barred_with_it_behind_the_network(hlr: OsmoHlr) -> None:
    profile = MobileProfile(
        imsi=IMSI,
        k=secrets.token_bytes(16),
        opc=secrets.token_bytes(16),
        plmn="26201",
        spn="Osmo",
        acc=1,
        smsc="+491700000000",
        coverage=("262",),
    )
    keys = {"k": profile.k, "opc": profile.opc, "algorithm": "milenage", "msisdn": None}
    await hlr.create_subscriber(IMSI, **keys)  # type: ignore[arg-type]
    field = Field()
    network = field.add_network(Network("26201", "Osmo", hlr))
    card = personalise(iccid="8949000000000000017", home=profile, ota=[], adm="12345678")
    phone = await field.add_phone(MemoryLink(card), place="26201")
    assert phone.serving is network
    for _ in range(3):
        await phone.switch_off()
        await phone.switch_on()
        assert phone.serving is network
    await hlr.delete(IMSI)  # an HLR that lost its counters
    await hlr.create_subscriber(IMSI, **keys)  # type: ignore[arg-type]
    await phone.switch_off()
    await phone.switch_on()
    assert phone.serving is network
    await network.bar(IMSI)
    assert not await phone.settle()
    assert phone.refusal is Cause.ROAMING_NOT_ALLOWED
