"""`landfall sim export` and `landfall sim shell`: a card's files, as data or by hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from landfall.cli import emit
from simcard.cli_link import on_card
from simcard.export import export_card
from simcard.provisioning import guard_adm
from simcard.readers import LinkOptions, open_link
from simcard.reading import verify
from simcard.shell import CardShell
from simcard.uicc.files import ADM1, PIN1


@on_card
def export(
    where: LinkOptions,
    pin: Annotated[str | None, typer.Option(help="PIN, when the card asks for one.", envvar="SIM_PIN")] = None,
    adm: Annotated[str | None, typer.Option(help="ADM1, for files only it may read.", envvar="SIM_ADM")] = None,
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Session keys too; never K or OPc.")] = False,
) -> None:
    """Print the card's files as JSON; session keys are hidden, K and OPc not among them. An ADM is tried once."""
    with open_link(where) as link:
        link.reset_card()
        if pin is not None:
            verify(link, PIN1, pin)
        if adm is not None:
            guard_adm(link, lambda text: typer.echo(text, err=True))
            verify(link, ADM1, adm)
        emit(export_card(link, show_keys=show_keys), as_json=True)


@on_card
def shell(
    where: LinkOptions,
    command: Annotated[
        list[str] | None, typer.Option("-c", "--command", help="Run this and end; may be given several times.")
    ] = None,
) -> None:
    """Talk to the card: select, read, update, verify, auth, apdu. `help` explains; Ctrl-D ends.

    Example: landfall sim shell --card cards/one -c "select usim/EF.IMSI" -c read
    """
    with open_link(where) as link:
        link.reset_card()
        talk = CardShell(link)
        if command:
            any(talk.onecmd(line) for line in command)
        else:
            if talk.use_rawinput:
                talk.do_info("")
            talk.cmdloop()
    if talk.failed and not sys.stdin.isatty():
        raise typer.Exit(1)
