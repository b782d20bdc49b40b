"""`landfall operator …`: what an operator's staff do, from making the node to reading its statement.

All but `init` and `secret` go through the node's own HTTP API, so they work beside it and from elsewhere:
LANDFALL_OPERATOR_URL (default: the settings' host and port) and the staff token of the data folder
(or LANDFALL_OPERATOR_TOKEN) say where and who.
"""

import os
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import httpx
import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from landfall.keystore import Keystore
from landfall.settings import read_settings
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_settings import KEYS_FOLDER, TOKEN_FILE
from marketplace.operator_setup import initialise
from settlement.money import MoneyError, format_sdrt, parse_sdrt

TIMEOUT_S: Final = 60.0


class Example(StrEnum):
    """Files that `example` prints."""

    NODE = "node"
    OFFER = "offer"
    PACKAGE = "package"
    SUBSCRIBER = "subscriber"
    PROFILES = "profiles"
    USAGE = "usage"


EXAMPLES: Final = {
    Example.NODE: "operator.toml",
    Example.OFFER: "offer.toml",
    Example.PACKAGE: "package.toml",
    Example.SUBSCRIBER: "subscriber.toml",
    Example.PROFILES: "profiles.csv",
    Example.USAGE: "usage.json",
}

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=__doc__)
offers = typer.Typer(no_args_is_help=True, help="Publish own offers; search the market's.")
packages = typer.Typer(no_args_is_help=True, help="Bundle offers into packages and see the margin first.")
subscribers = typer.Typer(no_args_is_help=True, help="Subscribers and their multi-account SIMs.")
requests = typer.Typer(no_args_is_help=True, help="Requests placed by and on this operator.")
profiles = typer.Typer(no_args_is_help=True, help="The pool of mobile profiles.")
codes = typer.Typer(no_args_is_help=True, help="Service provider codes.")
usage = typer.Typer(no_args_is_help=True, help="Usage of visitors.")
tasks = typer.Typer(no_args_is_help=True, help="Work that waits or has failed.")
for group, name in (
    (offers, "offers"),
    (packages, "packages"),
    (subscribers, "subscribers"),
    (requests, "requests"),
    (profiles, "profiles"),
    (codes, "codes"),
    (usage, "usage"),
    (tasks, "tasks"),
):
    app.add_typer(group, name=name)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]


class CallError(LandfallError):
    """The node said no, or nothing."""


def call(method: str, path: str, *, json: Any = None, text: str | None = None, **params: Any) -> Any:
    """One call of the node's API. Raises CallError with the problem's detail and remedy."""
    settings = read_settings()
    url = os.environ.get("LANDFALL_OPERATOR_URL") or f"http://{settings.host}:{settings.port}"
    token = os.environ.get("LANDFALL_OPERATOR_TOKEN") or _read_token(settings.data_dir / TOKEN_FILE)
    content = text.encode() if text is not None else b"" if json is None else msgspec.json.encode(json)
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json" if text is None else "text/csv",
    }
    try:
        response = httpx.request(
            method,
            f"{url}{path}",
            content=content,
            headers=headers,
            params={name: value for name, value in params.items() if value is not None},
            timeout=TIMEOUT_S,
        )
    except httpx.TransportError as error:
        raise CallError(
            f"the node at {url} does not answer ({error}): start it with `landfall serve --role operator`, "
            "or set LANDFALL_OPERATOR_URL"
        ) from None
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise CallError(_explain(response))
    return response.json() if response.content else None


def _read_token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise CallError(
            f"{file}: {error.strerror}; run this in the node's data folder (LANDFALL_DATA_DIR), "
            "or set LANDFALL_OPERATOR_TOKEN"
        ) from None


def _explain(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return f"{problem['code']}: {problem['detail']} {problem.get('remedy', '')}".strip()
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:300]}"


def read_amount(text: str) -> int:
    """An amount a person wrote, in µSDRt. Raises CallError that says how it is written."""
    try:
        return parse_sdrt(text)
    except MoneyError as error:
        raise CallError(str(error)) from None


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool, title: str) -> None:
    """Print all of the rows as JSON, or these columns of them as a table, amounts and times as people read them."""
    if as_json:
        emit(rows, as_json=True)
        return
    emit([{_heading(column): _cell(column, _dig(row, column)) for column in columns} for row in rows], title=title)


def _dig(row: Any, column: str) -> Any:
    for part in column.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _heading(column: str) -> str:
    return column.rpartition(".")[2].removesuffix("_usdr").removesuffix("_ms").replace("_", " ")


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return None
    if column.endswith("_usdr"):
        return format_sdrt(value)
    if column.endswith(("_ms", "valid_until")):
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(" ", "seconds") if value else None
    return value


def _read_toml(file: Path) -> dict[str, Any]:
    """A TOML or JSON file as the API takes it: dates become milliseconds since the epoch."""
    try:
        text = file.read_text(encoding="utf-8")
        table = msgspec.json.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallError(f"{file} is neither TOML nor JSON: {error}") from None
    found = _plain(table)
    if not isinstance(found, dict):
        raise CallError(f"{file} must hold a table")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    return value


# the node


@app.command()
def init(
    config: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The operator.toml to take.")],
    recovery_file: Annotated[Path, typer.Option(help="Where the recovery key goes: a place that is taken offline.")],
    as_json: Json = False,
) -> None:
    """Make the data folder, keys and staff token; print the Party that the issuer admits.

    The configuration says who the operator is and where its ledger, carrier, networks and billing system answer:
    `landfall operator example node` prints one. Their secrets go in by `landfall operator secret`.

    Example: landfall operator init --config bravo.toml --recovery-file /media/stick/bravo.json --json > party.json
    """
    party = initialise(read_settings(), config.read_text(encoding="utf-8"), recovery_file)
    emit(party, as_json, title="Have the issuer admit this party: landfall issuer admit party.json")


@app.command()
def example(of: Annotated[Example, typer.Argument(help="What kind of file.")]) -> None:
    """Print a file to begin with.

    Example: landfall operator example offer > germany.toml
    """
    typer.echo((files("marketplace") / "examples" / EXAMPLES[of]).read_text(encoding="utf-8"), nl=False)


@app.command()
def secret(
    name: Annotated[str, typer.Argument(help="carrier, network-<plmn>, webhook-<plmn> or billing")],
) -> None:
    """Store a shared secret, read from standard input, in the keystore.

    Example: landfall operator secret network-26201 < hlr-token.txt
    """
    settings = read_settings()
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    keys.put_secret(name, sys.stdin.buffer.read().strip())


@app.command("show")
def show_node(as_json: Json = False) -> None:
    """Show the node: who it is, its keys, how far it follows the ledger, how many messages wait."""
    emit(call("GET", "/operator"), as_json)


@app.command()
def rotate(
    purpose: Annotated[str, typer.Argument(help="sign or seal")],
    as_json: Json = False,
) -> None:
    """Replace the signing or the sealing key; the old one stays valid for a day."""
    emit(call("POST", "/keys/rotate", json={"purpose": purpose}), as_json)


@tasks.command("list")
def list_tasks(as_json: Json = False) -> None:
    """List work that waits or has failed, and why."""
    show(
        call("GET", "/tasks"), ("position", "kind", "subject", "state", "attempts", "due_ms", "error"), as_json, "Tasks"
    )


@tasks.command("restart")
def restart_task(position: int) -> None:
    """Start a failed task again."""
    call("POST", f"/tasks/{position}/restart")


# visited, service provider

OWN_OFFER: Final = ("id", "state", "policy", "terms.name", "terms.tariff.kind", "terms.valid_until", "cause")


@offers.command("publish")
def publish_offer(file: File, as_json: Json = False) -> None:
    """Publish an offer from a TOML or JSON file; `landfall operator example offer` prints one.

    Amounts in the file are µSDRt: 1 SDRt = 1,000,000 µSDRt.
    """
    offer = call("POST", "/offers", json=_read_toml(file))
    show([offer], OWN_OFFER, as_json, "On its way to the ledger")


@offers.command("list")
def list_offers(as_json: Json = False) -> None:
    """List own offers and what became of them."""
    show(call("GET", "/offers"), OWN_OFFER, as_json, "Own offers")


@offers.command("withdraw")
def withdraw_offer(offer: UUID, as_json: Json = False) -> None:
    """Take no new requests on an offer."""
    show([call("POST", f"/offers/{offer}/withdraw")], OWN_OFFER, as_json, "On its way to the ledger")


@offers.command("search")
def search_offers(
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, such as DE.")] = None,
    plmn: Annotated[str | None, typer.Option(help="MCC and MNC, such as 26201.")] = None,
    category: Annotated[
        str | None, typer.Option(help="telecom, insurance, transport, content, leisure, other.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="data, voice or message.")] = None,
    publisher: Annotated[str | None, typer.Option(help="An operator's id.")] = None,
    max_price: Annotated[str | None, typer.Option(help="At most so much, in SDRt: 7.5")] = None,
    as_json: Json = False,
) -> None:
    """Search the market.

    Example: landfall operator offers search --country DE --service data --max-price 7.5
    """
    found = call(
        "GET",
        "/market/offers",
        country=country,
        plmn=plmn,
        category=category,
        service=service,
        publisher=publisher,
        max_price=None if max_price is None else read_amount(max_price),
    )
    columns = ("id", "publisher", "terms.name", "terms.tariff", "terms.countries", "terms.valid_until", "stock")
    show(found, columns, as_json, "Offers on the market")


@profiles.command("import")
def import_profiles(file: File, as_json: Json = False) -> None:
    """Take profiles into the pool from CSV: imsi,k,opc,msisdn[,iccid,acc]. Keys are stored encrypted.

    A row whose IMSI or K was there before is passed over: a K is never issued twice.
    """
    emit(call("POST", "/profiles", text=file.read_text(encoding="utf-8-sig")), as_json)


@profiles.command("list")
def list_profiles(
    state: Annotated[str | None, typer.Option(help="free, assigned, active or quarantined.")] = None,
    as_json: Json = False,
) -> None:
    """List the pool, keys never."""
    rows = call("GET", "/profiles", in_state=state)
    show(rows, ("id", "imsi", "msisdn", "state", "request", "since_ms"), as_json, "Mobile profiles")


@codes.command("import")
def import_codes(offer: UUID, file: File, as_json: Json = False) -> None:
    """Take SP codes for an offer from a file, one a line. Without a stock, codes are made when needed."""
    emit(call("POST", "/codes", text=file.read_text(encoding="utf-8-sig"), offer=str(offer)), as_json)


@codes.command("redeem")
def redeem_code(code: str, as_json: Json = False) -> None:
    """Redeem a subscriber's code: its price is earned and its request closes."""
    emit(call("POST", "/codes/redeem", json={"code": code}), as_json)


@usage.command("send")
def send_usage(
    file: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False, help="A batch to take in first.")] = None,
    as_json: Json = False,
) -> None:
    """Take a batch of records in, if one is given, and report to the ledger all that is stored.

    `landfall operator example usage` prints a batch. The same batch again is not counted again.
    """
    intake = None
    if file is not None:
        intake = call("POST", "/usage", json=_read_toml(file))
    emit({"intake": intake, "sent": call("POST", "/usage/send")}, as_json)


@usage.command("show")
def show_usage(request: UUID, as_json: Json = False) -> None:
    """Show how far the records of a request have come."""
    emit(call("GET", f"/usage/{request}"), as_json)


# requests

REQUEST: Final = ("id", "role", "home", "visited", "state", "cause", "placed_ms", "escrow_usdr", "charged_usdr")


@requests.command("list")
def list_requests(
    role: Annotated[str | None, typer.Option(help="home or visited.")] = None,
    state: Annotated[str | None, typer.Option(help="requested, accepted, delivered, active, closed …")] = None,
    as_json: Json = False,
) -> None:
    """List requests."""
    show(call("GET", "/requests", role=role, state=state), REQUEST, as_json, "Requests")


@requests.command("show")
def show_request(request: UUID, as_json: Json = False) -> None:
    """Show a request as the ledger has it now, with its use."""
    emit(call("GET", f"/requests/{request}/ledger"), as_json)


@requests.command("accept")
def accept_request(request: UUID, as_json: Json = False) -> None:
    """Visited: accept a request that is held for staff."""
    show([call("POST", f"/requests/{request}/accept")], REQUEST, as_json, "Being accepted")


@requests.command("decline")
def decline_request(
    request: UUID,
    cause: Annotated[str, typer.Option(help="A word for the record of service quality.")] = "no-capacity",
    as_json: Json = False,
) -> None:
    """Visited: decline a request; its escrow returns."""
    show([call("POST", f"/requests/{request}/decline", json={"cause": cause})], REQUEST, as_json, "Being declined")


@requests.command("cancel")
def cancel_request(
    request: UUID,
    cause: Annotated[str, typer.Option(help="Why.")] = "unwanted",
    as_json: Json = False,
) -> None:
    """Home: cancel a request: free before the accept, for the offer's fee before activation."""
    show([call("POST", f"/requests/{request}/cancel", json={"cause": cause})], REQUEST, as_json, "Being cancelled")


@requests.command("close")
def close_request(request: UUID, as_json: Json = False) -> None:
    """Visited: report what there is, then close; the profile is barred and its IMSI quarantined."""
    show([call("POST", f"/requests/{request}/close")], REQUEST, as_json, "Being closed")


# home

QUOTE: Final = ("cost_usdr", "sdr_rate", "rate_date", "cost", "retail", "margin", "margin_percent")


@packages.command("preview")
def preview_package(file: File, as_json: Json = False) -> None:
    """Show wholesale cost, SDR rate and its date, retail price and margin; nothing is stored.

    `landfall operator example package` prints a file to begin with.
    """
    quote = call("POST", "/packages/preview", json=_read_toml(file))
    if as_json:
        emit(quote, as_json=True)
        return
    show(quote["items"], ("name", "publisher", "days", "renewals", "escrow_usdr"), False, quote["name"])
    show([_with_prices(quote)], QUOTE, False, "Price and margin")


@packages.command("publish")
def publish_package(file: File, as_json: Json = False) -> None:
    """Put a package on sale at today's quote; the file is that of `preview`."""
    _show_packages([call("POST", "/packages", json=_read_toml(file))], as_json)


@packages.command("list")
def list_packages(as_json: Json = False) -> None:
    """List packages."""
    _show_packages(call("GET", "/packages"), as_json)


@packages.command("withdraw")
def withdraw_package(package: UUID, as_json: Json = False) -> None:
    """Take a package off sale."""
    _show_packages([call("POST", f"/packages/{package}/withdraw")], as_json)


def _show_packages(rows: list[dict[str, Any]], as_json: bool) -> None:
    told = rows if as_json else [{**row, "name": row["quote"]["name"], **_with_prices(row["quote"])} for row in rows]
    show(told, ("id", "name", "state", *QUOTE), as_json, "Packages")


def _with_prices(quote: dict[str, Any]) -> dict[str, Any]:
    money = {name: _money(quote, f"{name}_minor") for name in ("cost", "retail", "margin")}
    return {**quote, **money}


def _money(quote: dict[str, Any], field: str) -> str:
    minor, digits = quote[field], quote["minor_digits"]
    sign, text = "-" if minor < 0 else "", str(abs(minor)).zfill(digits + 1)
    cut = len(text) - digits
    return f"{sign}{text[:cut]}{'.' if digits else ''}{text[cut:]} {quote['currency']}"


@subscribers.command("add")
def add_subscriber(file: File, as_json: Json = False) -> None:
    """Enter a subscriber with the card's OTA key set, from a file, so that keys stand in no shell history.

    `landfall operator example subscriber` prints one.
    """
    row = call("POST", "/subscribers", json=_read_toml(file))
    show([row], ("id", "name", "msisdn", "iccid", "slots"), as_json, "Subscriber")


@subscribers.command("list")
def list_subscribers(as_json: Json = False) -> None:
    """List subscribers."""
    show(call("GET", "/subscribers"), ("id", "name", "msisdn", "iccid", "slots"), as_json, "Subscribers")


@app.command()
def buy(
    subscriber: UUID,
    package: UUID,
    provider: Annotated[str, typer.Option(help="test, or billing for the phone bill.")] = "test",
    method: Annotated[str, typer.Option(help="The provider's own word for how to pay.")] = "default",
    as_json: Json = False,
) -> None:
    """Buy a package for a subscriber; `purchases` then shows how it goes on."""
    body = {"subscriber": str(subscriber), "package": str(package), "provider": provider, "method": method}
    _show_purchases([call("POST", "/purchases", json=body)], as_json)


@app.command()
def purchases(
    subscriber: Annotated[UUID | None, typer.Option(help="Of one subscriber.")] = None, as_json: Json = False
) -> None:
    """List purchases, an item a line."""
    _show_purchases(call("GET", "/purchases", subscriber=subscriber and str(subscriber)), as_json)


def _show_purchases(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit(rows, as_json=True)
        return
    lines = [
        {"purchase": row["id"], "paid": row["payment"]["state"], **item, "what": item["name"]}
        for row in rows
        for item in row["items"]
    ]
    show(lines, ("purchase", "paid", "what", "state", "cause", "request", "code", "refund"), False, "Purchases")


# money


@app.command()
def balance(as_json: Json = False) -> None:
    """Show available, escrow and held SDRt."""
    account = call("GET", "/balance")
    if not as_json:
        account = {name: format_sdrt(account[name]) for name in ("available", "escrow", "held")}
    emit(account, as_json)


@app.command()
def redeem(
    amount: Annotated[str, typer.Argument(help="In SDRt: 12.5")],
    payout: Annotated[str, typer.Option(help="Where to pay, as agreed with the issuer.")],
    as_json: Json = False,
) -> None:
    """Ask the issuer to pay SDRt out; it is held until then.

    Example: landfall operator redeem 250 --payout "DE89 3704 0044 0532 0130 00"
    """
    emit(call("POST", "/redemptions", json={"amount_usdr": read_amount(amount), "payout": payout}), as_json)


@app.command()
def statement(
    since: Annotated[str | None, typer.Option("--from", help="2026-11-01; UTC.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Excluded.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was spent, earned, charged in fees and returned, by counterparty, from this node's own entries.

    Example: landfall operator statement --from 2026-11-01 --to 2026-12-01
    """
    found = call("GET", "/statement", **{"from": since, "to": until})
    if as_json:
        emit(found, as_json=True)
        return
    columns = ("partner", "role", "requests", "ended", "charged_usdr", "fees_usdr", "returned_usdr", "records_refused")
    show(found["lines"], columns, False, f"Statement of {found['operator']}")
    emit({"spent": format_sdrt(found["spent_usdr"]), "earned": format_sdrt(found["earned_usdr"])})
