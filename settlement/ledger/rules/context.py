"""What every rule works with: the context of one transaction, its effects, and how it refuses."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct

from settlement.ledger.envelope import Envelope
from settlement.ledger.messages import Recover, RevokeKey, SettlementParameters
from settlement.ledger.rejections import CODES
from settlement.ledger.state import Account, Key, Ledger, Obligation, Offer, Operator, Request, Row, State

RESERVED = "ledger"
"""The operator id under which the origin's own entries stand; nobody can be admitted as it."""


class Refused(Exception):  # noqa: N818 - a decision, not a fault
    """Raised inside a rule to refuse; `decide` turns it into a `Rejection`."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in CODES, f"{code} is not in the table of rejections"
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Refusal(Struct, frozen=True, array_like=True, gc=False):
    """A usage record, or part of it, that did not settle within an accepted report.

    `record`: its place in the group, from 0. `amount`: units of a bundle, micro-SDRt of a metered offer.
    """

    request: UUID
    record: int
    cause: str
    amount: int


class Effects(Struct, frozen=True, gc=False):
    """What an accepted transaction does: rows to put, and what its parties are told.

    `counterparty`: the one other operator the entry names, who may read it. `settled`: micro-SDRt that went to the
    visited operator (or came back, for an end). `refused`: what did not settle within a usage report.
    `readers`: further operators that the entry names and that may read it.
    """

    rows: tuple[Row, ...]
    counterparty: str | None = None
    settled: int = 0
    refused: tuple[Refusal, ...] = ()
    readers: tuple[str, ...] = ()


class Context(Struct, frozen=True, gc=False):
    """Who sends, with which key, when, and the state before."""

    ledger: Ledger
    sender: Operator
    key: Key
    envelope: Envelope
    time: int
    state: State

    def account(self, operator: str) -> Account:
        """An admitted operator's account; there is always one."""
        account = self.state.get(Account, operator)
        assert account is not None, f"operator {operator} has no account"
        return account

    @property
    def settlement(self) -> SettlementParameters:
        """The parameters of version 2, which an older genesis does not have."""
        chosen = self.ledger.parameters.settlement
        return SettlementParameters() if chosen is UNSET else chosen

    def obligation(self, obligation: UUID) -> Obligation:
        """An obligation that the sender is a party of."""
        found = self.state.get(Obligation, obligation)
        if found is None or self.sender.id not in (found.debtor, found.creditor):
            raise Refused("unknown-obligation", f"there is no obligation {obligation} of {self.sender.id}")
        return found

    def offer(self, offer: UUID) -> Offer:
        """The offer, if there is one that the sender may know of."""
        found = self.state.get(Offer, offer)
        if found is None or not may_see(found, self.sender.id):
            raise Refused("unknown-offer", f"there is no offer {offer} for {self.sender.id}")
        return found

    def request(self, request: UUID) -> Request:
        """The request, whoever its parties are."""
        found = self.state.get(Request, request)
        if found is None:
            raise Refused("unknown-request", f"there is no request {request}")
        return found

    def terms_of(self, request: Request) -> Offer:
        """The offer a request was placed on, open or not."""
        offer = self.state.get(Offer, request.offer)
        assert offer is not None, f"request {request.id} has no offer"
        return offer


Rule = Callable[[Context, Any], Effects]
T = TypeVar("T")


def may_see(offer: Offer, operator: str) -> bool:
    """Whether an operator may know of an offer: its publisher, and whom the whitelist names (all where it is empty)."""
    return not offer.terms.whitelist or operator in offer.terms.whitelist or operator == offer.publisher


def authorise(envelope: Envelope, ledger: Ledger, time: int, state: State) -> Context:
    """Whether this key may sign this message now. Raises Refused."""
    message = envelope.message
    if message.aud != ledger.origin:
        raise Refused("wrong-audience", f"aud is {message.aud!r}, this log is {ledger.origin!r}")
    if time >= message.exp:
        raise Refused("expired", f"exp is {message.exp}, the ledger's time {time}")
    key = state.get(Key, envelope.kid)
    if key is None:
        raise Refused("unknown-key", f"no operator has the key {envelope.kid}")
    if key.until is not None and time >= key.until:
        raise Refused("key-not-valid", f"the key {key.kid} of {key.operator} ended at {key.until}")
    recovering = type(message) in (Recover, RevokeKey)
    if key.purpose != "sign" and not (key.purpose == "recovery" and recovering):
        raise Refused("key-not-valid", f"the key {key.kid} of {key.operator} is a {key.purpose} key")
    sender = state.get(Operator, key.operator)
    if sender is None:
        raise Refused("unknown-operator", f"{key.operator} is not an operator")
    return Context(ledger, sender, key, envelope, time, state)
