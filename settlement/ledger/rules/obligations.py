"""Obligations: debts on the ledger. Invoices become some by consent, payments make them smaller."""

from msgspec import structs

from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.rules.credit import release
from settlement.ledger.rules.offers import require_operator
from settlement.ledger.rules.proposals import open_proposal, require_trader
from settlement.ledger.settling import Pay, ProposeInvoice
from settlement.ledger.state import Obligation, Proposal, Row


def propose_invoice(context: Context, message: ProposeInvoice) -> Effects:
    """The creditor uploads an invoice from outside; it owes nobody anything until its debtor consents."""
    require_operator(context, "send invoices")
    if message.debtor == context.sender.id:
        raise Refused("not-permitted", "an operator owes itself nothing")
    require_trader(context, message.debtor)
    if context.state.get(Obligation, message.id) is not None:
        raise Refused("already-exists", f"there is an obligation {message.id}")
    obligation = Obligation(
        id=message.id,
        debtor=message.debtor,
        creditor=context.sender.id,
        amount=message.amount,
        remaining=message.amount,
        due=message.due,
        cause="invoice",
        made=context.time,
        document=message.document,
        number=message.number,
        state="proposed",
    )
    proposal = open_proposal(context, "invoice", message.id, (message.debtor,), message.until)
    return Effects((proposal, obligation), counterparty=message.debtor)


def open_invoice(context: Context, proposal: Proposal) -> tuple[Row, ...]:
    """The debtor has consented: it owes."""
    return (structs.replace(_proposed(context, proposal), state="open"),)


def drop_invoice(context: Context, proposal: Proposal) -> tuple[Row, ...]:
    """The invoice came to nothing."""
    return (structs.replace(_proposed(context, proposal), state="dropped", remaining=0),)


def _proposed(context: Context, proposal: Proposal) -> Obligation:
    obligation = context.state.get(Obligation, proposal.subject)
    assert obligation is not None, f"proposal {proposal.leaf} has no obligation"
    return obligation


def pay(context: Context, message: Pay) -> Effects:
    """The debtor's available → the creditor's, and that much less is owed."""
    obligation = context.obligation(message.obligation)
    if obligation.debtor != context.sender.id:
        raise Refused("not-permitted", f"{obligation.debtor} pays obligation {obligation.id}, not its creditor")
    require_open(obligation)
    if message.amount > obligation.remaining:
        raise Refused("too-much", f"{obligation.remaining} remains of obligation {obligation.id}")
    debtor, creditor = context.account(obligation.debtor), context.account(obligation.creditor)
    if debtor.available < message.amount:
        raise Refused("insufficient-funds", f"{debtor.available} is available, {message.amount} is to be paid")
    return Effects(
        (
            lower(obligation, message.amount),
            *release(context, ((obligation, message.amount),)),
            structs.replace(debtor, available=debtor.available - message.amount),
            structs.replace(creditor, available=creditor.available + message.amount),
        ),
        counterparty=obligation.creditor,
        settled=message.amount,
    )


def require_open(obligation: Obligation) -> None:
    """Refuse what is not owed yet or not any more."""
    if obligation.state != "open":
        raise Refused("wrong-state", f"obligation {obligation.id} is {obligation.state}, it must be open")


def lower(obligation: Obligation, amount: int) -> Obligation:
    """The obligation with `amount` less to pay."""
    left = obligation.remaining - amount
    assert left >= 0, f"obligation {obligation.id} cannot be lowered by {amount}"
    return structs.replace(obligation, remaining=left, state="open" if left else "settled")
