"""What documents are made of: frozen values, each complete in itself.

Amounts are whole micro-SDRt. What an amount comes to in a currency is never stored beside it: it follows from the
`Rate` the document states (`Rate.convert`), so that a document cannot contradict itself. JSON of a document is these
structs, told apart by `kind`; an unknown field is refused.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from landfall.errors import LandfallError
from settlement.sdr import Rates, Rounding, SdrValue, apply, minor_digits, value_of_sdr


class DocumentError(LandfallError):
    """A document that cannot be made of these values; the message names the field and what to put there."""


class Language(StrEnum):
    """Of the words and the writing of dates and numbers."""

    EN = "en"
    RU = "ru"


class Format(StrEnum):
    """What a document is rendered into."""

    PDF = "pdf"
    XML = "xml"
    XLSX = "xlsx"
    CSV = "csv"
    PARQUET = "parquet"
    """Detailed usage only."""


class Unit(StrEnum):
    """What quantities count."""

    MB = "MB"
    """1,000,000 octets."""
    MINUTE = "min"
    SECOND = "s"
    OCTET = "octet"
    MESSAGE = "message"
    PIECE = "piece"


class TaxCategory(StrEnum):
    """VAT category codes of EN 16931 (UNCL 5305), those that services between operators meet."""

    STANDARD = "S"
    ZERO = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    EXPORT = "G"
    OUTSIDE = "O"
    """Not subject to VAT."""


class _Value(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Party(_Value, frozen=True):
    """Who issues or gets a document. `country` is ISO 3166-1 alpha-2.

    `vat_id` begins with the country (`DE123456789`); `tax_number` is the national one without it (ИНН), `tax_branch`
    the branch's (КПП); `register_id` is from the company register (HRB, ОГРН).
    """

    operator: str
    legal_name: str
    street: str
    city: str
    country: str
    postcode: str = ""
    vat_id: str = ""
    tax_number: str = ""
    tax_branch: str = ""
    register_id: str = ""
    tadig: str = ""
    bank: str = ""
    iban: str = ""
    bic: str = ""
    email: str = ""
    signatory: str = ""
    position: str = ""


class Period(_Value, frozen=True):
    """Days, both included."""

    first: date
    last: date


class Rate(SdrValue, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conversion a document states: units of a currency in one SDRt, of which day's rates, and how it rounds."""

    rounding: Rounding = Rounding.HALF_EVEN

    def convert(self, amount_usdr: int) -> int:
        """What an amount comes to, in minor units of the currency."""
        return apply(self, amount_usdr, rounding=self.rounding).amount_minor

    @property
    def digits(self) -> int:
        """Decimals of the currency."""
        return minor_digits(self.currency)


def state_rate(currency: str, on: date, rates: Rates, rounding: Rounding = Rounding.HALF_EVEN) -> Rate:
    """The rate of a date, to put into a document. Raises `settlement.sdr.RateError`."""
    value = value_of_sdr(currency, on, rates)
    return Rate(value.currency, value.rate, value.rate_date, value.basket_since, rounding=rounding)


class Tax(_Value, frozen=True):
    """VAT of a line: `percent` above zero in the standard category only; `reason` where there is none."""

    category: TaxCategory
    percent: Decimal = Decimal(0)
    reason: str = ""


class Line(_Value, frozen=True):
    """One line of an invoice or credit note: the net amount is that of the whole quantity. `reference`: the request."""

    description: str
    quantity: Decimal
    unit: Unit
    amount_usdr: int
    tax: Tax
    reference: str = ""


class Settled(_Value, frozen=True):
    """A part of the lines' amount that was settled before: from escrow, by netting, or paid in SDRt."""

    cause: Literal["escrow", "netting", "payment"]
    reference: str
    on: date
    amount_usdr: int


class Difference(_Value, frozen=True):
    """One finding of a reconciliation; `finding` is a kind of `settlement.reconciliation`."""

    finding: str
    key: str
    counterparty: str
    ours_usdr: int | None = None
    theirs_usdr: int | None = None
    reason: str = ""


class _Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    issued_on: date
    period: Period
    number: str = ""
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind, as in `KINDS`."""
        return str(self.__struct_config__.tag)


class _Billing(_Document, frozen=True, kw_only=True):
    seller: Party
    buyer: Party
    rate: Rate
    lines: tuple[Line, ...]
    settled: tuple[Settled, ...] = ()
    due_on: date | None = None
    buyer_reference: str = ""


class Invoice(_Billing, frozen=True, kw_only=True, tag="invoice"):
    """What the visited operator charges the home operator."""


class CreditNote(_Billing, frozen=True, kw_only=True, tag="credit-note"):
    """What is taken back of an invoice: amounts above zero are the buyer's."""

    corrects: str
    corrects_issued_on: date
    reason: str


class Movement(_Value, frozen=True):
    """One change of an account; above zero in the holder's favour. `reference`: entry, request or deposit."""

    on: date
    cause: Literal[
        "charge", "earning", "fee", "refund", "mint", "redemption", "listing", "netting", "dispute", "payment"
    ]
    counterparty: str
    reference: str
    amount_usdr: int


class Statement(_Document, frozen=True, kw_only=True, tag="statement"):
    """An operator's account over a period, with what reconciliation found."""

    issuer: Party
    holder: Party
    opening_usdr: int
    movements: tuple[Movement, ...]
    differences: tuple[Difference, ...] = ()
    rate: Rate | None = None


class UsageRow(_Value, frozen=True):
    """One charged event; `start` to the minute with its zone, `place` a PLMN or country."""

    request: str
    record: str
    service: Literal["data", "voice", "message", "event"]
    start: datetime
    units: int
    unit: Unit
    place: str
    amount_usdr: int


class UsageDetail(_Document, frozen=True, kw_only=True, tag="usage"):
    """The records an invoice is of."""

    seller: Party
    buyer: Party
    rows: tuple[UsageRow, ...]
    rate: Rate | None = None


class Posting(_Value, frozen=True):
    """One booking, seen from `ours` whoever booked it: above zero, their debt to us grows."""

    on: date
    document: str
    amount_usdr: int


class ActEntry(_Value, frozen=True):
    """What both sides booked for the same thing; a side that did not book it has None."""

    ours: Posting | None = None
    theirs: Posting | None = None
    reason: str = ""


class ReconciliationAct(_Document, frozen=True, kw_only=True, tag="act"):
    """Акт сверки: both sides' books beside each other. Balances are seen from `ours`: above zero, they owe us.

    With a `rate` its columns are in the currency, each posting converted; without, in SDRt.
    """

    ours: Party
    theirs: Party
    opening_ours_usdr: int
    opening_theirs_usdr: int
    entries: tuple[ActEntry, ...]
    rate: Rate | None = None


class Position(_Value, frozen=True):
    """Debts with one counterparty before and after: receivable is owed to the addressee, payable is owed by it."""

    counterparty: str
    name: str
    receivable_before_usdr: int
    payable_before_usdr: int
    receivable_after_usdr: int
    payable_after_usdr: int


class NettingNotice(_Document, frozen=True, kw_only=True, tag="netting-notice"):
    """What a netting cycle did to one operator's debts. `entry`: where the ledger has it."""

    issuer: Party
    addressee: Party
    cycle: str
    method: Literal["setoff", "novation"]
    executed_on: date
    positions: tuple[Position, ...]
    entry: str = ""
    rate: Rate | None = None


Document: TypeAlias = Invoice | CreditNote | Statement | UsageDetail | ReconciliationAct | NettingNotice
Billing: TypeAlias = Invoice | CreditNote

KINDS: Final[dict[str, type[Document]]] = {
    str(each.__struct_config__.tag): each
    for each in (Statement, UsageDetail, Invoice, CreditNote, ReconciliationAct, NettingNotice)
}
"""Kinds of documents by the name JSON and the command line use."""


def issuer_of(document: Document) -> Party:
    """In whose series of numbers a document is."""
    match document:
        case Invoice() | CreditNote() | UsageDetail():
            return document.seller
        case ReconciliationAct():
            return document.ours
        case Statement() | NettingNotice():
            return document.issuer


def parties_of(document: Document) -> Sequence[Party]:
    """Both parties, the issuer first."""
    match document:
        case Invoice() | CreditNote() | UsageDetail():
            return (document.seller, document.buyer)
        case ReconciliationAct():
            return (document.ours, document.theirs)
        case Statement():
            return (document.issuer, document.holder)
        case NettingNotice():
            return (document.issuer, document.addressee)
