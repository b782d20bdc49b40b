"""Commands about the node itself and its money."""

import asyncio
import sys
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from landfall.cli import emit
from landfall.keystore import Keystore
from landfall.settings import read_settings
from marketplace import operator_recovery
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_cli.calling import Json, call, read_amount, show
from marketplace.operator_settings import KEYS_FOLDER
from marketplace.operator_setup import initialise
from settlement.money import format_sdrt

app = typer.Typer()
tasks = typer.Typer(no_args_is_help=True, help="Work that waits or has failed.")


OWED: Final = ("debtor", "creditor", "cause", "source", "amount_usdr", "remaining_usdr", "state")


class Example(StrEnum):
    """Files that `example` prints."""

    NODE = "node"
    OFFER = "offer"
    PACKAGE = "package"
    SUBSCRIBER = "subscriber"
    PROFILES = "profiles"
    USAGE = "usage"
    TEMPLATE = "template"
    DEAL = "deal"


EXAMPLES: Final = {
    Example.NODE: "operator.toml",
    Example.OFFER: "offer.toml",
    Example.PACKAGE: "package.toml",
    Example.SUBSCRIBER: "subscriber.toml",
    Example.PROFILES: "profiles.csv",
    Example.USAGE: "usage.json",
    Example.TEMPLATE: "template.toml",
    Example.DEAL: "deal.toml",
}


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


@app.command()
def revoke(
    kid: Annotated[str, typer.Argument(help="The key's id, as `landfall operator show` lists it.")],
    recovery_file: Annotated[Path, typer.Option(help="The offline recovery file made by init.")],
    as_json: Json = False,
) -> None:
    """End one key at once, by the offline recovery key: what it signs is refused from now on.

    Example: landfall operator revoke pOzW…Q0 --recovery-file /media/stick/bravo.json
    """
    emit(asyncio.run(operator_recovery.revoke(read_settings(), kid, recovery_file)), as_json, title="Revoked")


@app.command()
def recover(
    recovery_file: Annotated[Path, typer.Option(help="The offline recovery file made by init.")],
    new_recovery_file: Annotated[Path, typer.Option(help="Where the new one goes; the old one is worth nothing then.")],
    as_json: Json = False,
) -> None:
    """Replace every signing key and the recovery key, after a theft or a loss. Restart the node afterwards.

    Example: landfall operator recover --recovery-file /media/stick/bravo.json --new-recovery-file /media/stick/new.json
    """
    kid = asyncio.run(operator_recovery.recover(read_settings(), recovery_file, new_recovery_file))
    emit({"kid": kid}, as_json, title="All old signing keys have ended; restart the node to sign with the new one")


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
    sums = ("spent", "earned", "owed_by_us", "owed_to_us")
    emit({name.replace("_", " "): format_sdrt(found[f"{name}_usdr"]) for name in sums})
    if found["obligations"]:
        owed = [{f"{name}_usdr": row[name] for name in ("amount", "remaining")} | row for row in found["obligations"]]
        show(owed, OWED, False, "Owed outside of escrow")
