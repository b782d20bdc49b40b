"""Who takes the money: one interface, two providers.

A provider is asked to charge or refund under an id that names the deed for ever, so asking again is harmless. It
answers at once, or `PENDING`, and a signed webhook brings the outcome.

Direct operator billing (`OperatorBilling`) charges the subscriber's phone bill. The billing system is told

    POST {billing.url}            Standard Webhooks headers, secret `billing`; webhook-id: the payment's or refund's
    {"type": "charge", "payment": "…", "account": "…", "amount_minor": 1290, "currency": "EUR", "description": "…"}
    {"type": "refund", "payment": "…", "refund": "…", "amount_minor": 1290, "currency": "EUR"}
    2xx: taken (the same id again is the same deed)

and answers a charge later, signed in the same way with the same secret, to the node:

    POST /webhooks/payments            {"payment": "…", "state": "paid" | "refused", "reference": "…"}

`account` is the subscriber's id at the operator, not the number.
"""

from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

import httpx
import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from marketplace.networks.webhooks import sign

TIMEOUT_S: Final = 15.0
"""Billing systems answer at once or are asked again."""


class PaymentState(StrEnum):
    """Where a payment stands; `pending` waits for the provider's webhook."""

    CREATED = "created"
    PENDING = "pending"
    PAID = "paid"
    REFUSED = "refused"


class Charge(Struct, frozen=True, kw_only=True):
    """A sum to take: `method` is the provider's own word for how, `account` the subscriber's id."""

    payment: UUID
    account: UUID
    amount_minor: int
    currency: str
    description: str
    method: str


class Return(Struct, frozen=True, kw_only=True):
    """A sum to give back of an earlier charge."""

    refund: UUID
    payment: UUID
    amount_minor: int
    currency: str


class PaymentError(LandfallError):
    """The provider could not be asked; the deed may or may not have been done: ask again."""


class PaymentProvider(Protocol):
    """What charges and refunds. Both are idempotent by id and raise `PaymentError` when nobody answers."""

    async def charge(self, charge: Charge) -> PaymentState:
        """Take the sum: PAID, REFUSED, or PENDING where a webhook will tell."""

    async def refund(self, refund: Return) -> None:
        """Give the sum back."""


class TestProvider:
    """Built in, for trying out: pays at once, and refuses the method `declined`. Money never moves."""

    __test__ = False  # pytest: this is no test

    async def charge(self, charge: Charge) -> PaymentState:
        """PAID, unless the method is `declined`."""
        return PaymentState.REFUSED if charge.method == "declined" else PaymentState.PAID

    async def refund(self, refund: Return) -> None:
        """Nothing was taken, so nothing is given."""


class OperatorBilling:
    """Direct operator billing by signed webhook, as the module says."""

    def __init__(self, http: httpx.AsyncClient, *, url: str, secret: bytes) -> None:
        self._http = http
        self._url = url
        self._secret = secret

    async def charge(self, charge: Charge) -> PaymentState:
        """Ask the billing system; PENDING until its webhook comes."""
        told: dict[str, str | int] = {
            "type": "charge",
            "payment": str(charge.payment),
            "account": str(charge.account),
            "amount_minor": charge.amount_minor,
            "currency": charge.currency,
            "description": charge.description,
        }
        await self._post(charge.payment, told)
        return PaymentState.PENDING

    async def refund(self, refund: Return) -> None:
        """Ask the billing system to give back."""
        told: dict[str, str | int] = {
            "type": "refund",
            "payment": str(refund.payment),
            "refund": str(refund.refund),
            "amount_minor": refund.amount_minor,
            "currency": refund.currency,
        }
        await self._post(refund.refund, told)

    async def _post(self, deed: UUID, told: dict[str, str | int]) -> None:
        body = msgspec.json.encode(told)
        headers = {"content-type": "application/json", **sign(self._secret, str(deed), body)}
        try:
            response = await self._http.post(self._url, content=body, headers=headers, timeout=TIMEOUT_S)
        except httpx.TransportError as error:
            raise PaymentError(f"the billing system does not answer ({type(error).__name__})") from None
        if response.status_code >= 300:
            raise PaymentError(f"the billing system answered {response.status_code}")
