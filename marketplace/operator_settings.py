"""What an operator's node knows of itself and of the world: `operator.toml` in its data folder.

    id = "bravo"
    name = "Bravo Mobile"
    country = "DE"
    tadig = "DEUBR"                      # operators have one; service providers do not
    plmns = ["26201"]
    currency = "EUR"                     # of its retail prices

    [ledger]
    url = "http://127.0.0.1:8400"
    key = "landfall.example+…"           # the origin's C2SP verifier key, had from elsewhere than the ledger

    [carrier]                            # what brings short messages to its subscribers' cards
    url = "http://127.0.0.1:9000"        # or its SMPP 3.4 account: smpp://system-id@smsc.example:2775, smpps:// by TLS
    sender = "12345"                     # optional: the address of the SMPP account, which cards see and report to
    ca = "smsc-ca.pem"                   # optional, for smpps: whom to trust instead of the system's authorities

    [[networks]]                         # networks it runs; each provisions its HLR at `url`
    plmn = "26201"
    url = "http://127.0.0.1:9000"
    spn = "Bravo"
    smsc = "+491710760000"
    coverage = ["262"]                   # optional: MCCs and PLMNs its profiles are good for besides the offer's PLMNs

    [billing]                            # direct operator billing, see marketplace/payments
    url = "http://127.0.0.1:9100/charges"

    [company]                            # who it is in law: the fields of settlement.documents.Party
    legal_name = "Bravo Mobile GmbH"
    street = "Hafenstraße 12"
    city = "Hamburg"
    postcode = "20457"
    vat_id = "DE123456789"

    [[partners]]                         # likewise of each operator it does business with
    operator = "alfa"
    legal_name = "Alfa Mobile S.A."

    [closing]                            # of a period, see marketplace/closing
    languages = ["en"]                   # of its documents: en, ru
    pay_due = false                      # pay what is due
    due_days = 30                        # what an invoice leaves unpaid is due so many days later
    tax = "O"                            # VAT category of EN 16931, with tax_percent (S) or tax_reason (E, AE, G, O)

    [netting]                            # cycles it consents to by itself
    automatic = true                     # where its own net position stays as it is
    most_usdr = 1000000000               # and no more than this of its own debts and claims is netted, micro-SDRt

Secrets are not in the file but in the keystore, by these names: `carrier`, `network-<plmn>` (bearer tokens),
`webhook-<plmn>` and `billing` (Standard Webhooks secrets). `landfall operator secret NAME < file` stores one.
"""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from landfall.errors import LandfallError
from ota.delivery import DEFAULT_ORIGINATOR
from settlement.documents import Language, TaxCategory
from settlement.ledger.messages import Country, Plmn
from settlement.money import MAX_AMOUNT

FILE: Final = "operator.toml"
TOKEN_FILE: Final = "staff.token"  # noqa: S105 - a file's name
KEYS_FOLDER: Final = "keys"


class OperatorSettingsError(LandfallError):
    """operator.toml is missing or wrong; says where and what to do."""


class LedgerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The neutral ledger: where it answers, and the verifier key it is believed by."""

    url: str
    key: str


class CarrierSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The carrier of short messages: over HTTP as `marketplace.networks.carrier` has it, or a centre's SMPP account."""

    url: Annotated[str, Meta(pattern=r"^(https?://|smpps?://[^/@:]{1,15}@)[^/@]+")]
    ca: Path | None = None
    sender: Annotated[str, Meta(pattern=r"^\+?[0-9]{3,15}$")] = DEFAULT_ORIGINATOR


class BillingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The billing system that puts charges on phone bills."""

    url: str


class NetworkSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the operator's own networks, and what its profiles say."""

    plmn: Plmn
    url: str
    spn: Annotated[str, Meta(max_length=16)]
    smsc: Annotated[str, Meta(pattern=r"^\+[0-9]{5,15}$")]
    coverage: tuple[str, ...] = ()


class Company(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who a company is in law. What is not stated stands so on its documents."""

    legal_name: str = ""
    street: str = ""
    city: str = ""
    postcode: str = ""
    vat_id: str = ""
    tax_number: str = ""
    tax_branch: str = ""
    register_id: str = ""
    bank: str = ""
    iban: str = ""
    bic: str = ""
    email: str = ""
    signatory: str = ""
    position: str = ""


class Partner(Company, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A company this operator does business with, by its id on the ledger."""

    operator: str


class ClosingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How periods are closed. `tax_percent` is a decimal, as "19"."""

    languages: tuple[Language, ...] = (Language.EN,)
    pay_due: bool = False
    due_days: Annotated[int, Meta(ge=0, le=366)] = 30
    tax: TaxCategory = TaxCategory.OUTSIDE
    tax_percent: Decimal = Decimal(0)
    tax_reason: str = "Services to an operator abroad: not subject to VAT here"


class NettingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Netting cycles consented to without asking staff. `most_usdr`: of own debts and claims that a cycle nets."""

    automatic: bool = True
    most_usdr: Annotated[int, Meta(ge=0, le=MAX_AMOUNT)] = 1_000_000_000


class OperatorSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file's contents; `rates` is a CSV of dated currency rates instead of the sample that comes with Landfall."""

    id: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{1,30}[a-z0-9]$")]
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    country: Country
    ledger: LedgerSettings
    tadig: str | None = None
    plmns: tuple[Plmn, ...] = ()
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    rates: Path | None = None
    carrier: CarrierSettings | None = None
    networks: tuple[NetworkSettings, ...] = ()
    billing: BillingSettings | None = None
    company: Company = Company()
    partners: tuple[Partner, ...] = ()
    closing: ClosingSettings = ClosingSettings()
    netting: NettingSettings = NettingSettings()

    def network(self, plmn: str) -> NetworkSettings | None:
        """The operator's own network of that PLMN."""
        return next((network for network in self.networks if network.plmn == plmn), None)


def parse_operator_settings(text: str, source: str) -> OperatorSettings:
    """Read the file's text. Raises `OperatorSettingsError`."""
    try:
        return msgspec.convert(tomllib.loads(text), OperatorSettings, dec_hook=lambda kind, value: kind(value))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise OperatorSettingsError(
            f"{source}: {error}; the form is in `landfall operator init --help`, mend it there"
        ) from None


def read_operator_settings(data_dir: Path) -> OperatorSettings:
    """Read `operator.toml` of a data folder. Raises `OperatorSettingsError`."""
    path = data_dir / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise OperatorSettingsError(
            f"{path} cannot be read ({error.strerror}): make it with `landfall operator init --config your.toml`"
        ) from None
    return parse_operator_settings(text, str(path))
