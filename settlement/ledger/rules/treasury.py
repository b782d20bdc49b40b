"""SDRt comes into being and ends: mint, redeem, redeemed, refused."""

from msgspec import structs

from settlement.ledger.messages import Mint, Redeem, Redeemed, RefuseRedemption
from settlement.ledger.rules.context import Context, Effects, Refused
from settlement.ledger.state import Deposit, Operator, Redemption
from settlement.money import MAX_AMOUNT


def mint(context: Context, message: Mint) -> Effects:
    """The issuer credits an operator against a deposit it has not used before."""
    _require_issuer(context)
    if context.state.get(Operator, message.to) is None:
        raise Refused("unknown-operator", f"there is no operator {message.to}")
    if context.state.get(Deposit, message.deposit) is not None:
        raise Refused("already-exists", f"SDRt was minted against deposit {message.deposit}")
    ledger = context.ledger
    if ledger.minted + message.amount > MAX_AMOUNT:
        raise Refused("overflow", f"{ledger.minted} minted and {message.amount} exceed {MAX_AMOUNT}")
    account = context.account(message.to)
    return Effects(
        (
            structs.replace(ledger, minted=ledger.minted + message.amount),
            Deposit(reference=message.deposit, operator=message.to, amount=message.amount),
            structs.replace(account, available=account.available + message.amount),
        ),
        counterparty=message.to,
    )


def redeem(context: Context, message: Redeem) -> Effects:
    """Available moves to held until the issuer has paid out or refused."""
    account = context.account(context.sender.id)
    if account.available < message.amount:
        raise Refused("insufficient-funds", f"{account.available} is available, {message.amount} is asked")
    if context.state.get(Redemption, message.id) is not None:
        raise Refused("already-exists", f"there is a redemption {message.id}")
    return Effects(
        (
            structs.replace(account, available=account.available - message.amount, held=account.held + message.amount),
            Redemption(
                id=message.id,
                operator=account.operator,
                amount=message.amount,
                payout=message.payout,
                state="asked",
            ),
        ),
        counterparty=context.ledger.issuer,
    )


def redeemed(context: Context, message: Redeemed) -> Effects:
    """The held SDRt is burnt."""
    redemption = _asked(context, message)
    account, ledger = context.account(redemption.operator), context.ledger
    return Effects(
        (
            structs.replace(ledger, burned=ledger.burned + redemption.amount),
            structs.replace(account, held=account.held - redemption.amount),
            structs.replace(redemption, state="paid"),
        ),
        counterparty=redemption.operator,
        settled=redemption.amount,
    )


def refuse_redemption(context: Context, message: RefuseRedemption) -> Effects:
    """The held SDRt is available again."""
    redemption = _asked(context, message)
    account, amount = context.account(redemption.operator), redemption.amount
    return Effects(
        (
            structs.replace(account, held=account.held - amount, available=account.available + amount),
            structs.replace(redemption, state="refused"),
        ),
        counterparty=redemption.operator,
    )


def _require_issuer(context: Context) -> None:
    if context.sender.id != context.ledger.issuer:
        raise Refused("not-permitted", f"only the issuer {context.ledger.issuer} may, not {context.sender.id}")


def _asked(context: Context, message: Redeemed | RefuseRedemption) -> Redemption:
    _require_issuer(context)
    redemption = context.state.get(Redemption, message.redemption)
    if redemption is None:
        raise Refused("unknown-redemption", f"there is no redemption {message.redemption}")
    if redemption.state != "asked":
        raise Refused("wrong-state", f"redemption {redemption.id} is {redemption.state} already")
    return redemption
