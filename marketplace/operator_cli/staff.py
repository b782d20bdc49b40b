"""Commands about members of staff."""

from typing import Annotated

import typer

from landfall.cli import emit
from marketplace.operator_cli.calling import Json, call, show

staff = typer.Typer(no_args_is_help=True, help="Members of staff, with tokens of their own: for what needs two people.")

Name = Annotated[str, typer.Argument(help="Such as anna or anna.smith; it stays in histories.")]


@staff.command("add")
def add_member(name: Name, as_json: Json = False) -> None:
    """Add a member, with the node's own token. The member's token is shown this once: hand it over and keep no copy.

    Example: landfall operator staff add anna; Anna then sets LANDFALL_OPERATOR_TOKEN to it.
    """
    emit(call("POST", "/staff", json={"name": name}), as_json, title="Shown this once")


@staff.command("list")
def list_members(as_json: Json = False) -> None:
    """List members, those removed too."""
    show(call("GET", "/staff"), ("name", "added_ms", "removed_ms"), as_json, "Staff")


@staff.command("remove")
def remove_member(name: Name, as_json: Json = False) -> None:
    """End a member's token, with the node's own token."""
    emit(call("POST", f"/staff/{name}/remove") or {"removed": name}, as_json)
