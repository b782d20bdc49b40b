"""Commands of the visited operator and the service provider: offers, pool, codes, usage."""

from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import msgspec
import typer

from landfall.cli import emit
from marketplace.operator_cli.calling import File, Json, call, read_amount, read_file, show
from settlement.usage import watch_cli
from settlement.usage.watching import SETTLE_S

offers = typer.Typer(no_args_is_help=True, help="Publish own offers; search the market's.")
bids = typer.Typer(no_args_is_help=True, help="Requests for bids: say what you look for; see what others do.")
profiles = typer.Typer(no_args_is_help=True, help="The pool of mobile profiles.")
codes = typer.Typer(no_args_is_help=True, help="Service provider codes.")
usage = typer.Typer(no_args_is_help=True, help="Usage of visitors.")

OWN_OFFER: Final = ("id", "state", "policy", "terms.name", "terms.tariff.kind", "terms.valid_until", "deal", "cause")


@offers.command("publish")
def publish_offer(file: File, as_json: Json = False) -> None:
    """Publish an offer from a TOML or JSON file; `landfall operator example offer` prints one.

    Amounts in the file are µSDRt: 1 SDRt = 1,000,000 µSDRt.
    """
    offer = call("POST", "/offers", json=read_file(file))
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
    columns = ("id", "publisher", "terms.name", "terms.tariff", "terms.countries", "terms.valid_until", "stock", "deal")
    show(found, columns, as_json, "Offers on the market")


@bids.command("request")
def request_bids(file: File, as_json: Json = False) -> None:
    """Tell every operator what you look for, from a TOML or JSON file: `wanted` (description, category, countries,
    plmns, quantity) and `until` (milliseconds since the epoch). Bids come as offers that only you can find.

    Example: landfall operator bids request wanted.toml
    """
    emit(call("POST", "/market/requests-for-bids", json=read_file(file)), as_json)


@bids.command("search")
def search_bid_requests(
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, such as DE.")] = None,
    buyer: Annotated[str | None, typer.Option(help="An operator's id.")] = None,
    as_json: Json = False,
) -> None:
    """Show what buyers look for. To bid, publish an offer whose file has `bid_for` and the buyer as its whitelist."""
    found = call("GET", "/market/requests-for-bids", country=country, buyer=buyer)
    columns = ("id", "buyer", "wanted.description", "wanted.category", "wanted.countries", "wanted.quantity", "until")
    show(found, columns, as_json, "Requests for bids")


@bids.command("withdraw")
def withdraw_bids(bids: UUID, as_json: Json = False) -> None:
    """Take no further bids; those made stay offers."""
    emit(call("POST", f"/market/requests-for-bids/{bids}/withdraw"), as_json)


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
        intake = call("POST", "/usage", json=read_file(file))
    emit({"intake": intake, "sent": call("POST", "/usage/send")}, as_json)


@usage.command("watch")
def watch_usage(
    folder: watch_cli.Folder,
    mapping: watch_cli.Mappings = [],  # noqa: B006 - typer makes a new list
    place: watch_cli.Places = [],  # noqa: B006
    once: watch_cli.Once = False,
    every: watch_cli.Every = SETTLE_S,
    settle: watch_cli.Settle = SETTLE_S,
    as_json: watch_cli.AsJson = False,
) -> None:
    """Take each usage file of a folder exactly once, straight into the node, and leave a report of it beside.

    landfall operator usage watch ./inbox --mapping billing.toml --place RUS01=25001

    `landfall usage watch --help` tells how files are recognised. A node that is away is waited for; it takes a batch
    once, so that a file that was being sent when the power failed is not counted twice.
    """
    watch_cli.watch_folder(
        folder,
        lambda batch: dict(call("POST", "/usage", json=msgspec.Raw(batch.read_bytes()))),
        mappings=mapping,
        places=place,
        once=once,
        every=every,
        settle=settle,
        as_json=as_json,
    )


@usage.command("show")
def show_usage(request: UUID, as_json: Json = False) -> None:
    """Show how far the records of a request have come."""
    emit(call("GET", f"/usage/{request}"), as_json)
