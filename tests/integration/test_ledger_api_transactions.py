"""Writing: receipts that prove themselves, repetition, conflict, sequences, and refusals in the one shape."""

import asyncio
from uuid import UUID

import httpx
import msgspec
import pytest

from settlement.ledger.api import JOSE, JOSE_SEQUENCE, MAX_SEQUENCE, Answer, Path, Problem, Receipt
from settlement.ledger.client import Rejected
from settlement.ledger.envelope import MAX_RAW, Signer
from settlement.ledger.ids import new_id
from settlement.ledger.messages import ActivateRequest, CancelRequest, PublishOffer, WithdrawOffer
from settlement.ledger.rejections import CODES, Rejection
from tests.integration.ledger_world import LedgerWorld, Member, make_terms, now_ms


async def send(ledger: LedgerWorld, body: bytes, content_type: str = JOSE) -> httpx.Response:
    async with httpx.AsyncClient(base_url=ledger.url, timeout=60) as http:
        return await http.post(Path.TRANSACTIONS, content=body, headers={"content-type": content_type})


def read_problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    problem = msgspec.json.decode(response.content, type=Problem)
    assert problem.status == response.status_code
    assert problem.type == f"/docs/rejections#{problem.code}"
    assert problem.remedy == CODES[problem.code].remedy
    return problem


def read_answers(response: httpx.Response) -> list[Answer]:
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [msgspec.json.decode(line, type=Answer) for line in response.content.splitlines()]


def sign_offer(member: Member, **fields: object) -> bytes:
    return member.keys.signer.sign(member.client.make(PublishOffer, terms=make_terms(), **fields))


async def test_an_offer_is_ordered_accepted_and_used_and_money_moves_from_escrow(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=5_000_000) as home, ledger.operator() as visited:
        request = await home.order(await visited.publish())
        await visited.accept(request)
        assert (await home.client.request(request)).state == "accepted"
        account = await home.client.account()
        assert (account.available, account.escrow) == (4_000_000, 1_000_000)
        minute = now_ms() // 60_000
        receipt = await visited.client.submit(visited.client.make(ActivateRequest, request=request, at=minute))
        assert receipt.settled == 1_000_000
        assert (await visited.client.account()).available == 1_000_000


async def test_the_same_octets_again_give_the_first_receipt(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        raw = sign_offer(member)
        first = await member.client.send(raw)
        again = await member.client.send(raw)
        assert (again.index, again.time, again.leaf) == (first.index, first.time, first.leaf)
        assert again.checkpoint
        assert again.proof is not None


async def test_the_same_octets_sent_to_all_workers_at_once_are_one_entry(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        raw = sign_offer(member)
        responses = await asyncio.gather(*(send(ledger, raw) for _ in range(20)))
        assert {msgspec.json.decode(response.content, type=Receipt).index for response in responses} == {
            (await member.client.entries())[-1].index
        }


async def test_an_id_used_for_other_octets_is_a_conflict(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        used = new_id()
        await member.client.send(sign_offer(member, id=used))
        with pytest.raises(Rejected) as refused:
            await member.client.submit(
                member.client.make(PublishOffer, id=used, terms=make_terms(name={"en": "Other"}))
            )
        assert refused.value.rejection.code == "conflict"


async def test_a_lost_answer_is_learnt_by_id_and_only_by_the_sender(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, ledger.operator() as stranger:
        message = member.client.make(PublishOffer, terms=make_terms())
        sent = await member.client.submit(message)
        learnt = await member.client.receipt(message.id)
        assert learnt is not None
        assert (learnt.index, learnt.leaf) == (sent.index, sent.leaf)
        assert learnt.proof is not None
        assert await stranger.client.receipt(message.id) is None
        assert await member.client.receipt(new_id()) is None


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda raw: raw[:-4] + b"AAAA", "bad-signature"),
        (lambda raw: raw.replace(b".", b"", 1), "malformed"),
        (lambda raw: b"", "malformed"),
        (lambda raw: b"\x00\xff" * 50, "malformed"),
        (lambda raw: raw + b"A" * MAX_RAW, "too-large"),
    ],
)
async def test_a_spoilt_envelope_is_a_problem_with_its_code(ledger: LedgerWorld, spoil: object, code: str) -> None:
    async with ledger.operator() as member:
        assert callable(spoil)
        problem = read_problem(await send(ledger, spoil(sign_offer(member))))
        assert (problem.code, problem.status) == (code, CODES[code].status)


async def test_a_key_nobody_has_is_unknown(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        raw = Signer(b"7" * 32).sign(member.client.make(PublishOffer, terms=make_terms()))
        assert read_problem(await send(ledger, raw)).code == "unknown-key"


async def test_bad_ones_amid_good_ones_get_their_own_lines(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member:
        good = [sign_offer(member) for _ in range(4)]
        stale = member.keys.signer.sign(member.client.make(PublishOffer, terms=make_terms(), exp=1))
        overlong = b"A" * (MAX_RAW * 3)
        lines = [good[0], b"nonsense", good[1], overlong, good[2], b"", stale, good[0], good[3]]
        *answers, last = read_answers(await send(ledger, b"\n".join(lines) + b"\n", JOSE_SEQUENCE))
        codes = [answer.problem.code if answer.problem else "ok" for answer in answers]
        assert codes == ["ok", "malformed", "ok", "too-large", "ok", "malformed", "expired", "ok", "ok"]
        assert answers[7].receipt == answers[0].receipt
        places = [answers[place].receipt for place in (0, 2, 4, 8)]
        indices = [receipt.index for receipt in places if receipt]
        assert indices == sorted(set(indices))
        assert last.checkpoint
        shown = await member.client.see(last.checkpoint)
        assert shown.size > indices[-1]


async def test_a_sequence_keeps_its_order_through_all_pieces(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=700_000_000) as home, ledger.operator() as visited:
        offer = await visited.publish()
        orders = [home.make_order(offer) for _ in range(600)]
        cancels = [home.client.make(CancelRequest, request=order.id) for order in orders]
        answers = await home.client.submit_all([*orders, *cancels])
        assert all(isinstance(answer, Receipt) for answer in answers)
        indices = [answer.index for answer in answers if isinstance(answer, Receipt)]
        assert indices == sorted(indices)
        account = await home.client.account()
        assert (account.available, account.escrow) == (700_000_000, 0)


async def test_many_sequences_at_once_conserve_what_was_minted(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=100_000_000) as home, ledger.operator() as visited:
        offer = await visited.publish()
        parts = [[home.make_order(offer) for _ in range(30)] for _ in range(5)]
        answers = [answer for part in await asyncio.gather(*map(home.client.submit_all, parts)) for answer in part]
        accepted = [answer for answer in answers if isinstance(answer, Receipt)]
        refused = {answer.code for answer in answers if isinstance(answer, Rejection)}
        assert (len(accepted), refused) == (100, {"insufficient-funds"})
        assert (await home.client.account()).escrow == 100_000_000


async def test_an_empty_sequence_is_answered_by_the_checkpoint_alone(ledger: LedgerWorld) -> None:
    [answer] = read_answers(await send(ledger, b"", JOSE_SEQUENCE))
    assert answer.checkpoint


async def test_lines_past_the_limit_are_not_read(ledger: LedgerWorld) -> None:
    body = b"x\n" * (MAX_SEQUENCE + 3)
    answers = read_answers(await send(ledger, body, JOSE_SEQUENCE))
    assert len(answers) == MAX_SEQUENCE + 2
    assert answers[-2].problem
    assert answers[-2].problem.code == "too-large"
    assert answers[-1].checkpoint


async def test_a_streamed_body_of_small_chunks_is_read_to_its_end(ledger: LedgerWorld) -> None:
    async with ledger.operator() as member, httpx.AsyncClient(base_url=ledger.url) as http:
        body = b"\n".join(sign_offer(member) for _ in range(5))

        async def drip() -> object:
            for at in range(0, len(body), 333):
                yield body[at : at + 333]

        headers = {"content-type": JOSE_SEQUENCE}
        answers = read_answers(await http.post(Path.TRANSACTIONS, content=drip(), headers=headers))  # type: ignore[arg-type]
        assert [answer.receipt is not None for answer in answers] == [True] * 5 + [False]


async def test_another_content_type_is_told_what_is_taken(ledger: LedgerWorld) -> None:
    problem = read_problem(await send(ledger, b"{}", "application/json"))
    assert (problem.status, problem.code) == (415, "malformed")
    assert JOSE in problem.detail


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("DELETE", Path.TRANSACTIONS, 405, "not-found"),
        ("GET", f"{Path.TRANSACTIONS}/not-a-uuid", 404, "not-found"),
        ("GET", Path.CONSISTENCY, 400, "malformed"),
        ("GET", f"{Path.CONSISTENCY}?old=x&new=2", 400, "malformed"),
        ("GET", f"{Path.HISTORY}?sizes=1", 400, "malformed"),
        ("GET", f"{Path.HISTORY}?sizes=0&sizes=1", 400, "malformed"),
        ("GET", f"{Path.HISTORY}?sizes=2&sizes=1", 404, "not-found"),
        ("GET", f"{Path.HISTORY}?" + "&".join(f"sizes={size}" for size in range(1, 66)), 400, "malformed"),
        ("GET", Path.ACCOUNT, 401, "unauthorized"),
        ("POST", Path.TOKEN, 400, "malformed"),
        ("GET", f"{Path.OPERATORS}/nobody", 404, "unknown-operator"),
        ("GET", f"{Path.OPERATORS}?limit=100000", 400, "malformed"),
    ],
)
async def test_every_refusal_has_the_one_shape(
    ledger: LedgerWorld, method: str, path: str, status: int, code: str
) -> None:
    async with httpx.AsyncClient(base_url=ledger.url) as http:
        problem = read_problem(await http.request(method, path))
        assert (problem.status, problem.code) == (status, code)
        assert "Traceback" not in problem.detail


async def test_withdrawn_offers_take_no_new_requests(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=5_000_000) as home, ledger.operator() as visited:
        offer: UUID = await visited.publish()
        await visited.client.submit(visited.client.make(WithdrawOffer, offer=offer))
        with pytest.raises(Rejected) as refused:
            await home.order(offer)
        assert refused.value.rejection.code == "offer-closed"
