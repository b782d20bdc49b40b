"""What stands on invoices, credit notes and detailed usage."""

from settlement.documents.amounts import Totals, sum_up
from settlement.documents.layout import (
    Column,
    Fact,
    Page,
    Shape,
    Table,
    convert_fact,
    head_facts,
    minor_column,
    rate_sentences,
    usdr_column,
)
from settlement.documents.model import Billing, CreditNote, TaxCategory, UsageDetail
from settlement.documents.writing import Words, conversion_notes


def lay_out_billing(billing: Billing, words: Words) -> Page:
    """An invoice or credit note."""
    totals, facts = sum_up(billing), head_facts(billing, words)
    if billing.due_on:
        facts.append(Fact(words("due-on"), words.long_date(billing.due_on)))
    if billing.buyer_reference:
        facts.append(Fact(words("buyer-reference"), billing.buyer_reference))
    if isinstance(billing, CreditNote):
        date = words.short_date(billing.corrects_issued_on)
        facts.append(Fact(words("corrects"), words("corrects-value", number=billing.corrects, date=date)))
        facts.append(Fact(words("reason"), billing.reason))
    tables = [_lines(billing, totals, words)]
    if billing.settled:
        tables.append(_settled(billing, totals, words))
    return Page(
        title=words(f"title-{billing.kind}"),
        subtitle="",
        number=billing.number,
        facts=tuple(facts),
        parties=((words("seller"), billing.seller), (words("buyer"), billing.buyer)),
        preamble=(),
        tables=tuple(tables),
        sums=tuple(_sums(billing, totals, words)),
        sentences=tuple(_sentences(billing, totals, words)),
        signers=(billing.seller,),
    )


def _lines(billing: Billing, totals: Totals, words: Words) -> Table:
    rate = billing.rate
    rows = [
        (
            number,
            line.description,
            line.reference,
            line.quantity,
            words(f"unit-{line.unit.value}"),
            line.amount_usdr,
            _tell_vat(line.tax.category, words.number(line.tax.percent), words),
            minor,
        )
        for number, (line, minor) in enumerate(zip(billing.lines, totals.lines, strict=True), 1)
    ]
    columns = (
        Column("line", words("line"), Shape.NUMBER),
        Column("description", words("description"), weight=5),
        Column("reference", words("reference"), Shape.CODE, weight=3),
        Column("quantity", words("quantity"), Shape.NUMBER),
        Column("unit", words("unit")),
        usdr_column("amount_sdrt", words("amount-usdr")),
        Column("vat", words("vat")),
        minor_column("net", words("net-minor", currency=rate.currency), rate),
    )
    total = (None, words("net-total"), None, None, None, totals.net_usdr, None, totals.net)
    return Table("lines", words("lines"), columns, rows, totals=(total,))


def _tell_vat(category: TaxCategory, percent: str, words: Words) -> str:
    return words("vat-percent", percent=percent) if category is TaxCategory.STANDARD else category.value


def _settled(billing: Billing, totals: Totals, words: Words) -> Table:
    rate = billing.rate
    columns = (
        Column("cause", words("settled-cause"), weight=3),
        Column("reference", words("reference"), Shape.CODE, weight=4),
        Column("date", words("on"), Shape.DATE),
        usdr_column("amount_sdrt", words("amount-usdr")),
        minor_column("amount", words("amount-minor", currency=rate.currency), rate),
    )
    rows = [
        (words(f"settled-{each.cause}"), each.reference, each.on, each.amount_usdr, minor)
        for each, minor in zip(billing.settled, totals.settled, strict=True)
    ]
    total = (words("total"), None, None, totals.settled_usdr, sum(totals.settled))
    return Table("settled", words("settled"), columns, rows, totals=(total,))


def _sums(billing: Billing, totals: Totals, words: Words) -> list[Fact]:
    digits, currency = billing.rate.digits, billing.rate.currency
    sums = [Fact(words("net-total"), words.minor(totals.net, digits))]
    for each in totals.taxes:
        base, category = words.minor(each.base_minor, digits), each.tax.category
        label = words("vat-none-total", category=category.value, base=base)
        if category is TaxCategory.STANDARD:
            label = words("vat-total", percent=words.number(each.tax.percent), base=base)
        sums.append(Fact(label, words.minor(each.tax_minor, digits)))
    sums.append(Fact(words("gross-total"), words.minor(totals.gross, digits)))
    if totals.settled:
        sums.append(Fact(words("settled-total"), words.minor(-sum(totals.settled), digits)))
    if totals.rounding:
        sums.append(Fact(words("rounding-amount"), words.minor(totals.rounding, digits)))
    last = "credited" if isinstance(billing, CreditNote) else "payable"
    sums.append(Fact(words(last, currency=currency), words.minor(totals.payable, digits), strong=True))
    return sums


def _sentences(billing: Billing, totals: Totals, words: Words) -> list[str]:
    sentences = list(billing.notes)
    reasons = {each.tax.category: each.tax.reason for each in totals.taxes if each.tax.reason}
    sentences += [words("no-vat", category=category.value, reason=text) for category, text in reasons.items()]
    if totals.payable == 0:
        sentences.append(words("nothing-to-pay"))
    elif billing.seller.iban and not isinstance(billing, CreditNote):
        sentences.append(words("pay-to", iban=billing.seller.iban, number=billing.number or words("number")))
    return sentences + conversion_notes(billing, totals, words)


def lay_out_usage(detail: UsageDetail, words: Words) -> Page:
    """Detailed usage."""
    total = sum(row.amount_usdr for row in detail.rows)
    columns = (
        Column("start", words("start"), Shape.TIME),
        Column("service", words("service")),
        Column("units", words("units"), Shape.NUMBER),
        Column("unit", words("unit")),
        Column("place", words("place")),
        Column("request", words("request"), Shape.CODE, weight=3),
        Column("record", words("record"), Shape.CODE, weight=2),
        usdr_column("amount_sdrt", words("amount-usdr")),
    )
    services = {name: words(f"service-{name}") for name in ("data", "voice", "message", "event")}
    units = {unit: words(f"unit-{unit.value}") for unit in {row.unit for row in detail.rows}}
    rows = [
        (
            row.start,
            services[row.service],
            row.units,
            units[row.unit],
            row.place,
            row.request,
            row.record,
            row.amount_usdr,
        )
        for row in detail.rows
    ]
    last = (words("total"), None, None, None, None, None, None, total)
    return Page(
        title=words("title-usage"),
        subtitle="",
        number=detail.number,
        facts=tuple(head_facts(detail, words)),
        parties=((words("seller"), detail.seller), (words("buyer"), detail.buyer)),
        preamble=(),
        tables=(Table("usage", words("rows"), columns, rows, totals=(last,)),),
        sums=(
            Fact(words("records-total"), words.minor(len(rows), 0)),
            *convert_fact("total-minor", total, detail.rate, words),
            Fact(words("total-usdr"), words.usdr(total), strong=True),
        ),
        sentences=(*detail.notes, *rate_sentences(detail.rate, words)),
        wide=True,
    )
