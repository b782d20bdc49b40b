"""Commands about requests, in either role."""

from typing import Annotated, Final
from uuid import UUID

import typer

from landfall.cli import emit
from marketplace.operator_cli.calling import Json, call, show

requests = typer.Typer(no_args_is_help=True, help="Requests placed by and on this operator.")

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
