"""Commands of the home operator: packages, subscribers, purchases."""

import time
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from landfall.cli import emit
from marketplace.operator_cli.calling import File, Json, call, read_file, show

app = typer.Typer()
packages = typer.Typer(no_args_is_help=True, help="Bundle offers into packages and see the margin first.")
subscribers = typer.Typer(no_args_is_help=True, help="Subscribers and their multi-account SIMs.")

QUOTE: Final = ("cost_usdr", "sdr_rate", "rate_date", "cost", "retail", "margin", "margin_percent")

DELIVERY: Final = ("iccid", "counter", "commands", "state", "attempts", "words")
FOLLOW_S: Final = 1.0
"""Between looks: a short message takes seconds."""


@packages.command("preview")
def preview_package(file: File, as_json: Json = False) -> None:
    """Show wholesale cost, SDR rate and its date, retail price and margin; nothing is stored.

    `landfall operator example package` prints a file to begin with.
    """
    quote = call("POST", "/packages/preview", json=read_file(file))
    if as_json:
        emit(quote, as_json=True)
        return
    show(quote["items"], ("name", "publisher", "days", "renewals", "escrow_usdr"), False, quote["name"])
    show([_with_prices(quote)], QUOTE, False, "Price and margin")


@packages.command("publish")
def publish_package(file: File, as_json: Json = False) -> None:
    """Put a package on sale at today's quote; the file is that of `preview`."""
    _show_packages([call("POST", "/packages", json=read_file(file))], as_json)


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
    row = call("POST", "/subscribers", json=read_file(file))
    show([row], ("id", "name", "msisdn", "iccid", "slots"), as_json, "Subscriber")


@subscribers.command("list")
def list_subscribers(as_json: Json = False) -> None:
    """List subscribers."""
    show(call("GET", "/subscribers"), ("id", "name", "msisdn", "iccid", "slots"), as_json, "Subscribers")


@subscribers.command("card")
def show_card(subscriber: UUID, as_json: Json = False) -> None:
    """Show where a subscriber's card is reached now, by its own last report, and what its slots hold.

    `number` is where the next packet goes: the number of the account in use, or at home the subscriber's own.
    """
    card = call("GET", f"/subscribers/{subscriber}/card")
    if as_json:
        emit(card, as_json=True)
        return
    show([card], ("iccid", "number", "slot", "plmn", "smsc", "reported_ms", "home_number"), False, "Card")
    show(card["slots"], ("slot", "state", "request"), False, "Slots besides home")


@subscribers.command("deliveries")
def list_deliveries(
    iccid: Annotated[str | None, typer.Option(help="Only this card.")] = None,
    follow: Annotated[bool, typer.Option(help="Go on and print each change, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """List packets over the air to cards, newest first: queued, sent, delivered, unknown, proven or failed.

    Example: landfall operator subscribers deliveries --follow
    """
    told: dict[str, Any] = {}
    while True:
        rows = call("GET", "/deliveries", iccid=iccid)
        changed = [row for row in rows if told.get(row["id"]) != row]
        told = {row["id"]: row for row in rows}
        if changed or not follow:
            show(changed, DELIVERY, as_json, "Deliveries")
        if not follow:
            return
        time.sleep(FOLLOW_S)


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
