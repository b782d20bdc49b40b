"""Usage: signed records move escrow to the visited operator, record by record."""

from msgspec import structs

from settlement.ledger.messages import ReportUsage, Terms, UsageGroup, UsageRecord
from settlement.ledger.rules.context import Context, Effects, Refusal, Refused
from settlement.ledger.rules.credit import Count
from settlement.ledger.rules.deals import deal_of
from settlement.ledger.rules.requests import CLOCK_SKEW_MS
from settlement.ledger.state import Deal, Request, Row
from settlement.usage.rating import MINUTE_MS, Charge, Meter, charge, sells
from settlement.usage.tariff import MAX_UNITS, Metered, Tariff


def report_usage(context: Context, message: ReportUsage) -> Effects:
    """Rate every record of the report. One wrong group refuses the report whole; what only lacks cover is named.

    Under a deal the records are counted in its periods, and what the escrow does not cover is owed, as far as the
    credit limit goes.
    """
    rows: list[Row] = []
    refused: list[Refusal] = []
    settled, home, seen = 0, None, set()
    count: Count | None = None
    for group in message.groups:
        request = _next_group(context, group)
        if request.id in seen:
            raise Refused("duplicate-request", f"request {request.id} stands twice in the report")
        if home is not None and request.home != home:
            raise Refused("mixed-homes", f"requests of {home} and {request.home} stand in one report")
        seen.add(request.id)
        home = request.home
        offer = context.terms_of(request)
        terms = offer.terms
        meter = Meter.read(request)
        deal = deal_of(context, offer)
        if deal is not None:
            count = count or Count(context)
            meter.escrow += count.credit_left(deal, home)
        for position, record in enumerate(group.records):
            _check_record(context, request, terms, record, position)
            result = charge(meter, record, terms.tariff)
            if result.refused > MAX_UNITS:
                raise Refused("overflow", f"record {position} of request {request.id} costs {result.refused} too much")
            if result.cause is not None:
                refused.append(Refusal(request.id, position, result.cause, result.refused))
            if deal is not None and count is not None:
                _count_record(count, deal, home, record, terms.tariff, result)
        if max(meter.used_octets, meter.used_seconds, meter.used_messages) > MAX_UNITS:
            raise Refused("overflow", f"request {request.id} would count more than {MAX_UNITS} units")
        paid = spent = meter.charged - request.charged
        if deal is not None and count is not None:
            paid = min(spent, request.escrow)
            meter.escrow = request.escrow - paid
            count.owe(deal, home, spent - paid)
        settled += paid
        rows.append(structs.replace(meter.put_back(request), sequence=group.sequence))
    assert home is not None, "the protocol bounds a report to one group or more"
    accounts = _pay_all(context, home, settled)
    counted = () if count is None else count.rows()
    return Effects((*rows, *accounts, *counted), counterparty=home, settled=settled, refused=tuple(refused))


def _count_record(count: Count, deal: Deal, home: str, record: UsageRecord, tariff: Tariff, result: Charge) -> None:
    """Units that were served, and what they were charged: one by one, or as a bundle's further period."""
    at = record.start * MINUTE_MS
    if isinstance(tariff, Metered):
        count.add(deal, home, at, record.service, record.units, result.settled)
        return
    count.add(deal, home, at, record.service, record.units - result.refused, 0)
    count.add(deal, home, at, None, 0, result.settled)


def _next_group(context: Context, group: UsageGroup) -> Request:
    request = context.request(group.request)
    if request.visited != context.sender.id:
        raise Refused("unknown-request", f"there is no request {request.id} that {context.sender.id} serves")
    if request.state != "active":
        raise Refused("wrong-state", f"request {request.id} is {request.state}, it must be active")
    if context.time > request.report_by:
        raise Refused("too-late", f"request {request.id} could be reported on until {request.report_by}")
    expected = request.sequence + 1
    if group.sequence != expected:
        what = "was reported before" if group.sequence < expected else "leaves a gap"
        raise Refused(
            "out-of-sequence",
            f"request {request.id}: sequence {group.sequence} {what}, the next is {expected}",
        )
    return request


def _check_record(context: Context, request: Request, terms: Terms, record: UsageRecord, position: int) -> None:
    start = record.start * MINUTE_MS
    if not request.activated <= start <= request.ends or start > context.time + CLOCK_SKEW_MS:
        raise Refused("out-of-time", f"record {position} of request {request.id} starts at {start}")
    if not sells(terms.tariff, record.service):
        raise Refused("not-sold", f"record {position} of request {request.id}: {record.service} is not in the offer")
    if record.place not in terms.plmns and record.place not in terms.countries:
        raise Refused("out-of-coverage", f"record {position} of request {request.id}: {record.place} is not covered")


def _pay_all(context: Context, home: str, amount: int) -> tuple[Row, ...]:
    if not amount:
        return ()
    payer, payee = context.account(home), context.account(context.sender.id)
    assert payer.escrow >= amount, f"{home} owes {amount} of an escrow of {payer.escrow}"
    return (
        structs.replace(payer, escrow=payer.escrow - amount),
        structs.replace(payee, available=payee.available + amount),
    )
