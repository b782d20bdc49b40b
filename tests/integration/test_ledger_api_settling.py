"""Agreeing and owing over HTTP: proposals, obligations, and who may read them."""

import asyncio
from hashlib import sha256

import pytest

from settlement.documents.verify import find_on_ledger
from settlement.ledger.api import Entry, Recorded
from settlement.ledger.client import Rejected, message_of
from settlement.ledger.cycles import cycle_of
from settlement.ledger.ids import new_id
from settlement.ledger.messages import ActivateRequest, ReportUsage, UsageGroup, UsageRecord
from settlement.ledger.settling import (
    AcceptDispute,
    AttestReserves,
    Consent,
    Direction,
    ProposeCycle,
    ProposeDeal,
    ProposeInvoice,
    RaiseDispute,
    SettleDeal,
)
from settlement.netting import Debt, Method, net
from settlement.usage.tariff import Metered
from tests.integration.ledger_world import DAY_MS, PRICE, LedgerWorld, Member, make_terms, now_ms

DOCUMENT = "ab" * 32


async def test_an_invoice_is_proposed_read_agreed_and_paid(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=PRICE) as debtor, ledger.operator() as creditor, ledger.operator() as other:
        terms = {"debtor": debtor.id, "amount": PRICE, "due": now_ms() + DAY_MS, "document": DOCUMENT}
        leaf = await creditor.client.propose(ProposeInvoice, until=now_ms() + DAY_MS, **terms)
        [asked] = await debtor.client.proposals(state="open", kind="invoice")
        assert (asked.leaf, asked.proposer, asked.parties) == (leaf, creditor.id, (debtor.id,))
        assert (await debtor.client.obligation(asked.subject)).state == "proposed"
        await debtor.client.consent(leaf)
        assert (await creditor.client.proposal(leaf)).state == "effective"
        [owed] = await creditor.client.obligations(role="creditor", state="open")
        await debtor.client.pay(owed.id, PRICE // 4)
        assert (await creditor.client.obligation(owed.id)).remaining == PRICE - PRICE // 4
        assert (await creditor.client.account()).available == PRICE // 4
        assert await creditor.client.obligations(role="debtor") == []

        assert await other.client.proposals() == []
        assert await other.client.obligations() == []
        for path in (f"/v1/proposals/{leaf}", f"/v1/obligations/{owed.id}"):
            assert (await other.get(path)).status_code == 404
            assert (await creditor.get(path)).status_code == 200
        kinds = [type(message_of(entry)) for entry in await creditor.client.entries()]
        assert Consent in kinds, "who proposed reads the consent"


async def test_a_refused_proposal_tells_why(ledger: LedgerWorld) -> None:
    async with ledger.operator() as debtor, ledger.operator() as creditor:
        terms = {"debtor": debtor.id, "amount": 1, "due": now_ms() + DAY_MS, "document": DOCUMENT}
        leaf = await creditor.client.propose(ProposeInvoice, until=now_ms() + DAY_MS, **terms)
        await debtor.client.refuse(leaf, "no-such-service")
        ended = await creditor.client.proposal(leaf)
        assert (ended.state, ended.refused_by, ended.reason) == ("refused", debtor.id, "no-such-service")
        with pytest.raises(Rejected, match="wrong-state"):
            await debtor.client.consent(leaf)


async def test_a_ring_of_debts_is_set_off_with_everybodys_consent(ledger: LedgerWorld) -> None:
    async with (
        ledger.operator() as first,
        ledger.operator() as second,
        ledger.operator() as third,
        ledger.operator() as other,
        ledger.issuer_client() as issuer,
    ):
        ring = [first, second, third]
        names = {member.id for member in ring}
        for debtor, creditor in ((first, second), (second, third), (third, first)):
            terms = {"debtor": debtor.id, "amount": 7, "due": now_ms() + DAY_MS, "document": DOCUMENT}
            leaf = await creditor.client.propose(ProposeInvoice, until=now_ms() + DAY_MS, **terms)
            await debtor.client.consent(leaf)
        owed = [row for row in await issuer.obligations(state="open") if row.debtor in names]
        netting = net((Debt(row.debtor, row.creditor, row.remaining) for row in owed), Method.SETOFF)
        leaf = await issuer.propose(ProposeCycle, until=now_ms() + DAY_MS, **cycle_of(owed, netting))
        for member in ring:
            [asked] = await member.client.proposals(state="open")
            cycle = await member.client.cycle(asked.subject)
            assert len(cycle.changes) == 3
            kinds = [type(message_of(entry)) for entry in await member.client.entries()]
            assert kinds[-1] is ProposeCycle, "all parties may read the proposing entry"
            await member.client.consent(leaf)
        assert (await issuer.proposal(leaf)).state == "effective"
        for member in ring:
            assert await member.client.obligations(state="open") == []
            assert isinstance(message_of((await member.client.entries())[-1]), Consent)
        assert (await other.get(f"/v1/cycles/{cycle.id}")).status_code == 404
        assert (await other.get("/v1/cycles/" + "0" * 36)).status_code == 404


async def test_a_charge_is_disputed_by_its_receipt_and_conceded(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=PRICE) as home, ledger.operator() as visited, ledger.operator() as other:
        offer = await visited.publish(Metered(block=1_000_000, block_price=10))
        request = await home.order(offer, escrow=PRICE)
        await visited.accept(request)
        minute = now_ms() // 60_000
        say, make = visited.client.submit, visited.client.make
        await say(make(ActivateRequest, request=request, at=minute))
        used = UsageRecord("data", minute, 60, 60, 5_000_000, "ES")
        receipt = await say(make(ReportUsage, groups=(UsageGroup(request, 1, (used,)),)))
        fields = {"entry": receipt.index, "leaf": receipt.leaf, "request": request, "record": 0, "cause": "not-used"}
        with pytest.raises(Rejected, match="too-much"):
            await home.client.submit(home.client.make(RaiseDispute, amount=51, **fields))
        await home.client.submit(home.client.make(RaiseDispute, amount=30, **fields))
        assert (await visited.client.account()).held == 30
        [asked] = await visited.client.disputes(role="visited", state="raised")
        await say(make(AcceptDispute, dispute=asked.id))
        ended = await home.client.dispute(asked.id)
        assert (ended.state, ended.award) == ("upheld", 30)
        assert (await visited.client.account()).available == 20
        assert await other.client.disputes() == []
        assert (await other.get(f"/v1/disputes/{asked.id}")).status_code == 404


async def test_a_deal_is_agreed_used_on_credit_and_read_by_its_parties(ledger: LedgerWorld) -> None:
    async with ledger.operator(minted=PRICE) as home, ledger.operator() as visited, ledger.operator() as other:
        deal, offer, ends = new_id(), new_id(), now_ms() + 30 * DAY_MS
        direction = Direction(
            home=home.id,
            offer=offer,
            terms=make_terms(Metered(block=1_000_000, block_price=10), valid_until=ends, whitelist=(home.id,)),
            revenue=PRICE,
            credit_limit=40,
        )
        fields = {"partner": visited.id, "directions": (direction,), "starts": now_ms() - DAY_MS, "ends": ends}
        leaf = await home.client.propose(ProposeDeal, id=deal, until=now_ms() + DAY_MS, **fields)
        await visited.client.consent(leaf)
        assert (await home.client.offer(offer)).deal == deal
        request = await home.order(offer, escrow=20)
        await visited.accept(request)
        minute = now_ms() // 60_000
        say, make = visited.client.submit, visited.client.make
        await say(make(ActivateRequest, request=request, at=minute))
        used = UsageRecord("data", minute, 60, 60, 5_000_000, "ES")
        receipt = await say(make(ReportUsage, groups=(UsageGroup(request, 1, (used,)),)))
        assert (receipt.settled, receipt.refused) == (20, ())
        [row] = await visited.client.deals(state="agreed")
        assert (row.id, row.credit) == (deal, (30,))
        traffic = [period.traffic[0] for period in await home.client.deal_periods(deal)]
        assert [(each.octets, each.charged) for each in traffic] == [(5_000_000, 50)]
        [owed] = await home.client.obligations(role="debtor")
        await home.client.pay(owed.id, 30)
        assert (await home.client.deal(deal)).credit == (0,)
        with pytest.raises(Rejected, match="too-early"):
            await say(make(SettleDeal, deal=deal, period=1))
        assert await other.client.deals() == []
        for path in (f"/v1/deals/{deal}", f"/v1/deals/{deal}/periods"):
            assert (await other.get(path)).status_code == 404


async def test_whoever_has_a_document_finds_it_on_the_ledger(ledger: LedgerWorld) -> None:
    async with ledger.operator() as sender, ledger.operator() as reader, ledger.issuer_client() as issuer:
        digest = sha256(sender.id.encode()).hexdigest()
        assert await reader.client.find_document(digest) == []
        receipt = await sender.client.record_document(digest, "invoice", counterparty=reader.id, period="2026-10")
        expected = Recorded(receipt.index, receipt.time, sender.id, "record-document", "digest")
        assert await ledger.client().find_document(digest) == [expected], "nobody needs a token"
        assert message_of((await reader.client.entries())[-1]).digest == digest  # type: ignore[attr-defined]
        terms = {"debtor": reader.id, "amount": 1, "due": now_ms() + DAY_MS, "document": digest}
        await sender.client.propose(ProposeInvoice, until=now_ms() + DAY_MS, **terms)
        assert [row.type for row in await find_on_ledger(ledger.url, digest)] == ["record-document", "invoice"]
        await issuer.submit(issuer.make(AttestReserves, as_of=now_ms() - 1_000, deposits=1, digest=digest))
        assert (await sender.client.attestations())[0].digest == digest


async def test_all_parties_of_a_cycle_hear_of_it_as_it_is_proposed(ledger: LedgerWorld) -> None:
    async with (
        ledger.operator() as first,
        ledger.operator() as second,
        ledger.operator() as third,
        ledger.issuer_client() as issuer,
    ):
        owed = []
        for debtor, creditor in ((first, second), (second, third), (third, first)):
            terms = {"debtor": debtor.id, "amount": 7, "due": now_ms() + DAY_MS, "document": DOCUMENT}
            leaf = await creditor.client.propose(ProposeInvoice, until=now_ms() + DAY_MS, **terms)
            await debtor.client.consent(leaf)
            [row] = await creditor.client.obligations(role="creditor")
            owed.append(row)
        after = [(await member.client.entries())[-1].index for member in (first, second, third)]
        parties = zip((first, second, third), after, strict=True)
        followers = [asyncio.create_task(next_entry(member, seen)) for member, seen in parties]
        netting = net((Debt(row.debtor, row.creditor, row.remaining) for row in owed), Method.SETOFF)
        proposed = await issuer.submit(issuer.make(ProposeCycle, until=now_ms() + DAY_MS, **cycle_of(owed, netting)))
        heard = await asyncio.wait_for(asyncio.gather(*followers), 30)
        assert {entry.index for entry in heard} == {proposed.index}
        proof = await second.get("/v1/proofs/inclusion", index=proposed.index)
        assert proof.status_code == 200, "who may read an entry may prove it"


async def next_entry(member: Member, seen: int) -> Entry:
    """The first entry that the operator's events bring past `seen`."""
    return await anext(member.client.follow(after=seen))
