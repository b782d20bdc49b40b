"""`landfall settle`: net debts."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.money import format_sdrt
from settlement.netting import Debt, Method, Netting, Terms, net, read_caps, read_debts, verify
from settlement.netting.model import HUB
from settlement.netting.picture import draw

SHOWN: int = 20
"""Remaining debts a terminal shows, the largest first; --json has all."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Settle: net what operators owe each other.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document; amounts are whole micro-SDRt.")]


@app.callback()
def settle() -> None:
    """Settle: net what operators owe each other."""


@app.command("net")
def net_debts(
    file: Annotated[Path, typer.Argument(help="CSV with the header debtor,creditor,amount.")],
    method: Annotated[Method, typer.Option(help="Only lower debts that exist, or put a hub between all.")],
    caps: Annotated[
        Path | None,
        typer.Option(help="CSV with the header debtor,creditor,cap: the most of that debt that takes part."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A,B: nothing between these two takes part. May be repeated.")
    ] = None,
    hub: Annotated[str, typer.Option(help="With novation: the name of the party in the middle.")] = HUB,
    picture: Annotated[
        Path | None, typer.Option(help="Draw before and after into this file, .svg or .html, complete in itself.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Net the debts in FILE and print what is left of them; the outcome is checked as a validator checks it.

        landfall settle net debts.csv --method setoff --json

    Amounts are SDRt with a point and up to six decimals (12.5 is twelve and a half) under the header amount, or whole
    micro-SDRt under amount_usdr; likewise cap and cap_usdr. In JSON every amount is whole micro-SDRt. Rows of the same
    debtor and creditor are added up.
    """
    debts = read_debts(file)
    terms = Terms(caps=read_caps(caps) if caps else {}, excluded=_pairs(exclude or []), hub=hub)
    netting = net(debts, method, terms)
    verify(debts, netting, terms)
    if picture is not None:
        draw(debts, netting, picture, hub=hub)
    if as_json:
        emit(netting, as_json=True)
    else:
        _show(debts, netting)


def _pairs(texts: list[str]) -> frozenset[tuple[str, str]]:
    pairs = []
    for text in texts:
        names = [name.strip() for name in text.split(",")]
        if len(names) != 2 or not all(names):
            raise LandfallError(f"--exclude {text!r} names no pair: write two operators with a comma, as DEUD1,FRAF1")
        pairs.append((names[0], names[1]))
    return frozenset(pairs)


def _show(debts: list[Debt], netting: Netting) -> None:
    emit(
        {
            "method": netting.method.value,
            "debts": f"{len(debts):,} before, {len(netting.remaining):,} after",
            "gross before": format_sdrt(netting.gross_before),
            "gross after": format_sdrt(netting.gross_after),
            "saved": f"{netting.saved_percent:.2f} %",
            "solver": f"{netting.solver_s:.3f} s",
        },
        title="Netted, and checked: nobody's net position has changed",
    )
    largest = sorted(netting.remaining, key=lambda debt: (-debt.amount, debt))[:SHOWN]
    if largest:
        some = f" (the {SHOWN} largest; --json has all)" if len(netting.remaining) > SHOWN else ""
        rows = [{**msgspec.to_builtins(debt), "amount": format_sdrt(debt.amount)} for debt in largest]
        emit(rows, title=f"Remaining debts{some}")
