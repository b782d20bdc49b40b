"""What stands on statements, reconciliation acts and netting notices."""

from collections.abc import Callable
from itertools import accumulate

from settlement.documents.amounts import Turnover, balance_act, closing_usdr, in_unit_of
from settlement.documents.layout import (
    Cell,
    Column,
    Fact,
    Page,
    Shape,
    Table,
    convert_fact,
    head_facts,
    rate_sentences,
    usdr_column,
)
from settlement.documents.model import (
    Difference,
    DocumentError,
    NettingNotice,
    Posting,
    ReconciliationAct,
    Statement,
)
from settlement.documents.writing import USDR_DIGITS, Words


def lay_out_statement(statement: Statement, words: Words) -> Page:
    """A statement of account."""
    closing, movements = closing_usdr(statement), statement.movements
    balances = accumulate((each.amount_usdr for each in movements), initial=statement.opening_usdr)
    next(balances)
    columns = (
        Column("date", words("on"), Shape.DATE),
        Column("cause", words("cause"), weight=3),
        Column("counterparty", words("counterparty"), weight=3),
        Column("reference", words("reference"), Shape.CODE, weight=3),
        usdr_column("amount_sdrt", words("amount-usdr")),
        usdr_column("balance_sdrt", words("balance-usdr")),
    )
    rows = [
        (each.on, words(f"cause-{each.cause}"), each.counterparty, each.reference, each.amount_usdr, balance)
        for each, balance in zip(movements, balances, strict=True)
    ]
    first, last = (statement.period.first, words("opening")), (statement.period.last, words("closing"))
    table = Table(
        "movements",
        words("movements"),
        columns,
        rows,
        opening=((*first, None, None, None, statement.opening_usdr),),
        totals=((*last, None, None, closing - statement.opening_usdr, closing),),
    )
    tables = [table, _by_counterparty(statement, words)]
    if statement.differences:
        tables.append(_differences(statement.differences, words))
    return Page(
        title=words("title-statement"),
        subtitle="",
        number=statement.number,
        facts=tuple(head_facts(statement, words)),
        parties=((words("issuer"), statement.issuer), (words("holder"), statement.holder)),
        preamble=(),
        tables=tuple(tables),
        sums=(
            Fact(words("opening"), words.usdr(statement.opening_usdr)),
            Fact(words("incoming"), words.usdr(sum(max(each.amount_usdr, 0) for each in movements))),
            Fact(words("outgoing"), words.usdr(sum(min(each.amount_usdr, 0) for each in movements))),
            Fact(f"{words('closing')}, SDRt", words.usdr(closing), strong=True),
            *convert_fact("closing-in", closing, statement.rate, words),
        ),
        sentences=(*statement.notes, *rate_sentences(statement.rate, words)),
        signers=(statement.issuer,),
    )


def _by_counterparty(statement: Statement, words: Words) -> Table:
    columns = (
        Column("counterparty", words("counterparty"), weight=1),
        usdr_column("in_sdrt", words("incoming")),
        usdr_column("out_sdrt", words("outgoing")),
        usdr_column("change_sdrt", words("net-change")),
    )
    sums: dict[str, list[int]] = {}
    for each in statement.movements:
        pair = sums.setdefault(each.counterparty, [0, 0])
        pair[each.amount_usdr < 0] += each.amount_usdr
    rows = [(name, into, out, into + out) for name, (into, out) in sorted(sums.items())]
    into, out = sum(pair[0] for pair in sums.values()), sum(pair[1] for pair in sums.values())
    total = (words("total"), into, out, into + out)
    return Table("counterparties", words("by-counterparty"), columns, rows, totals=(total,))


def _differences(differences: tuple[Difference, ...], words: Words) -> Table:
    columns = (
        Column("finding", words("finding"), weight=2),
        Column("key", words("key"), Shape.CODE, weight=2),
        Column("counterparty", words("counterparty"), weight=2),
        usdr_column("ours_sdrt", words("ours-usdr")),
        usdr_column("theirs_sdrt", words("theirs-usdr")),
        Column("reason", words("reason"), weight=3),
    )
    rows = [
        (_finding(each, words), each.key, each.counterparty, each.ours_usdr, each.theirs_usdr, each.reason)
        for each in differences
    ]
    return Table("differences", words("differences"), columns, rows)


def _finding(difference: Difference, words: Words) -> str:
    key = f"finding-{difference.finding.replace(' ', '-')}"
    if key not in words.by_key:
        raise DocumentError(
            f"differences: {difference.finding!r} is no difference of a reconciliation: write amount, missing there …"
        )
    return words(key)


def lay_out_act(act: ReconciliationAct, words: Words) -> Page:
    """A reconciliation act: both sides' books beside each other, and what of it does not agree."""
    ours, theirs = balance_act(act)
    digits, currency = (act.rate.digits, act.rate.currency) if act.rate else (USDR_DIGITS, "SDRt")
    names = act.ours.legal_name, act.theirs.legal_name

    def amount(minor: int) -> str:
        return f"{words.minor(minor, digits)} {currency}"

    period = {"first": words.short_date(act.period.first), "last": words.short_date(act.period.last)}
    tables = [_books(act, ours, theirs, digits, words)]
    if disputed := _disputed(act, digits, words):
        tables.append(disputed)
    difference = ours.closing - theirs.closing
    closing = [_owes(act, name, side.closing, amount, words) for name, side in zip(names, (ours, theirs), strict=True)]
    agreed = words("act-differ", amount=amount(abs(difference))) if difference else words("act-agreed")
    return Page(
        title=words("title-act"),
        subtitle=words("subtitle-act", **period),
        number=act.number,
        facts=tuple(head_facts(act, words)),
        parties=((words("party-ours"), act.ours), (words("party-theirs"), act.theirs)),
        preamble=(words("act-preamble", ours=names[0], theirs=names[1], currency=currency, **period),),
        tables=tuple(tables),
        sums=(),
        sentences=(*closing, agreed, *act.notes, *rate_sentences(act.rate, words)),
        signers=(act.ours, act.theirs),
        wide=True,
    )


def _owes(act: ReconciliationAct, books: str, closing: int, amount: Callable[[int], str], words: Words) -> str:
    on = words.long_date(act.period.last)
    if closing == 0:
        return words("act-even", date=on, books=books)
    creditor, debtor = (act.ours, act.theirs) if closing > 0 else (act.theirs, act.ours)
    return words(
        "act-owes",
        date=on,
        books=books,
        debtor=debtor.legal_name,
        creditor=creditor.legal_name,
        amount=amount(abs(closing)),
    )


def _books(act: ReconciliationAct, ours: Turnover, theirs: Turnover, digits: int, words: Words) -> Table:
    half = (
        ("date", words("on"), Shape.DATE, 0, 0),
        ("document", words("document"), Shape.TEXT, 0, 1),
        ("debit", words("debit"), Shape.AMOUNT, digits, 0),
        ("credit", words("credit"), Shape.AMOUNT, digits, 0),
    )
    columns = tuple(
        Column(f"{side}_{name}", title, shape, places, weight)
        for side in ("our", "their")
        for name, title, shape, places, weight in half
    )

    def both(label: str, mine: tuple[int, int], others: tuple[int, int]) -> tuple[Cell, ...]:
        return (None, label, *mine, None, label, *others)

    return Table(
        "books",
        words("books"),
        columns,
        [(*_side(act, entry.ours, mirrored=False), *_side(act, entry.theirs, mirrored=True)) for entry in act.entries],
        opening=(both(words("opening"), _split(ours.opening), _split(-theirs.opening)),),
        totals=(
            both(words("turnover"), (ours.debit, ours.credit), (theirs.credit, theirs.debit)),
            both(words("closing"), _split(ours.closing), _split(-theirs.closing)),
        ),
        groups=tuple((words("in-books", name=party.legal_name), 4) for party in (act.ours, act.theirs)),
    )


def _side(act: ReconciliationAct, posting: Posting | None, *, mirrored: bool) -> tuple[Cell, ...]:
    """One side's columns. What is debit in our books is credit in theirs."""
    if posting is None:
        return (None, None, None, None)
    amount = in_unit_of(act, posting.amount_usdr)
    debit, credit = _split(-amount if mirrored else amount)
    return (posting.on, posting.document, debit or None, credit or None)


def _split(amount: int) -> tuple[int, int]:
    """Debit and credit of an amount."""
    return (amount, 0) if amount >= 0 else (0, -amount)


def _disputed(act: ReconciliationAct, digits: int, words: Words) -> Table | None:
    rows: list[tuple[Cell, ...]] = []
    if act.opening_ours_usdr != act.opening_theirs_usdr:
        opening = in_unit_of(act, act.opening_ours_usdr), in_unit_of(act, act.opening_theirs_usdr)
        rows.append((act.period.first, words("opening"), *opening, opening[0] - opening[1], None))
    for entry in act.entries:
        ours, theirs = (
            None if side is None else in_unit_of(act, side.amount_usdr) for side in (entry.ours, entry.theirs)
        )
        if ours == theirs:
            continue
        told = entry.ours or entry.theirs
        on, document = (told.on, told.document) if told else (None, None)
        rows.append((on, document, ours, theirs, (ours or 0) - (theirs or 0), entry.reason))
    if not rows:
        return None
    columns = (
        Column("date", words("on"), Shape.DATE),
        Column("document", words("document"), weight=3),
        Column("ours", words("party-ours"), Shape.AMOUNT, digits),
        Column("theirs", words("party-theirs"), Shape.AMOUNT, digits),
        Column("difference", words("difference"), Shape.AMOUNT, digits),
        Column("reason", words("reason"), weight=3),
    )
    return Table("differences", words("act-differences"), columns, rows)


def lay_out_netting(notice: NettingNotice, words: Words) -> Page:
    """A netting notice."""
    sums = [
        sum(getattr(each, name) for each in notice.positions)
        for name in (
            "receivable_before_usdr",
            "payable_before_usdr",
            "receivable_after_usdr",
            "payable_after_usdr",
        )
    ]
    before, after = sums[0] + sums[1], sums[2] + sums[3]
    columns = (
        Column("counterparty", words("counterparty"), weight=1),
        *(
            usdr_column(f"{name.replace('-', '_')}_sdrt", words(name))
            for name in ("receivable-before", "payable-before", "receivable-after", "payable-after")
        ),
    )
    rows = [
        (
            f"{each.name} ({each.counterparty})" if each.name else each.counterparty,
            each.receivable_before_usdr,
            each.payable_before_usdr,
            each.receivable_after_usdr,
            each.payable_after_usdr,
        )
        for each in notice.positions
    ]
    groups = (("", 1), (words("before"), 2), (words("after"), 2))
    table = Table("positions", words("positions"), columns, rows, totals=((words("total"), *sums),), groups=groups)
    facts = [
        *head_facts(notice, words),
        Fact(words("cycle"), notice.cycle),
        Fact(words("method"), words(f"method-{notice.method}")),
        Fact(words("executed-on"), words.long_date(notice.executed_on)),
    ]
    if notice.entry:
        facts.append(Fact(words("entry"), notice.entry))
    return Page(
        title=words("title-netting-notice"),
        subtitle="",
        number=notice.number,
        facts=tuple(facts),
        parties=((words("issuer"), notice.issuer), (words("addressee"), notice.addressee)),
        preamble=(words("netting-text", date=words.long_date(notice.executed_on)),),
        tables=(table,),
        sums=(
            Fact(words("gross-before"), words.usdr(before)),
            Fact(words("gross-after"), words.usdr(after)),
            Fact(words("saved"), words.usdr(before - after)),
            *convert_fact("gross-after-in", after, notice.rate, words),
            Fact(words("net-position"), words.usdr(sums[2] - sums[3]), strong=True),
        ),
        sentences=(*notice.notes, *rate_sentences(notice.rate, words)),
        signers=(notice.issuer,),
    )
