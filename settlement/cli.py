"""`landfall settle`: net debts, reconcile records, value SDRt."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from polars import DataFrame
from rich.console import Console

from landfall.cli import emit
from landfall.errors import LandfallError
from settlement.money import MoneyError, format_sdrt, parse_sdrt
from settlement.netting import Debt, Method, Netting, Terms, net, read_caps, read_debts, verify
from settlement.netting.model import HUB
from settlement.netting.picture import draw
from settlement.reconciliation import (
    Report,
    Rules,
    list_breaks,
    read_records,
    read_rules,
    reconcile,
    render_page,
    summarise,
)
from settlement.sdr import RateError, Rounding, convert, load_rates, sample_rates

SHOWN: Final = 20
"""Rows a terminal shows, the largest first; --json has more."""

BREAKS_ENDINGS: Final = (".csv", ".parquet", ".xlsx")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Settle: reconcile records with a partner's, net what operators owe each other, value SDRt in a currency.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document; amounts are whole micro-SDRt.")]


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
    terms = Terms(caps=read_caps(caps) if caps else {}, excluded=read_pairs(exclude or []), hub=hub)
    netting = net(debts, method, terms)
    verify(debts, netting, terms)
    if picture is not None:
        draw(debts, netting, picture, hub=hub)
    if as_json:
        emit(netting, as_json=True)
    else:
        _show(debts, netting)


def read_pairs(texts: list[str]) -> frozenset[tuple[str, str]]:
    """Pairs written as A,B. Raises LandfallError."""
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
        title="Netted and checked",
    )
    largest = sorted(netting.remaining, key=lambda debt: (-debt.amount, debt))[:SHOWN]
    if largest:
        some = f" (the {SHOWN} largest; --json has all)" if len(netting.remaining) > SHOWN else ""
        rows = [{**msgspec.to_builtins(debt), "amount": format_sdrt(debt.amount)} for debt in largest]
        emit(rows, title=f"Remaining debts{some}")


@app.command("reconcile")
def reconcile_records(
    ours: Annotated[Path, typer.Argument(help="Our records, .csv or .parquet.")],
    theirs: Annotated[Path, typer.Argument(help="The partner's records, .csv or .parquet.")],
    rules: Annotated[
        Path | None, typer.Option(help="TOML: steps, time_window_s, amount_tolerance, amount_tolerance_ppm, volume_…")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Count ages to this moment, as 2026-11-01T00:00:00Z; else to the latest record.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write the report as a page into this file.")] = None,
    breaks: Annotated[
        Path | None, typer.Option(help="Write every difference into this file: .csv, .parquet, or .xlsx.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare OURS with THEIRS and name every difference; each record ends in exactly one kind.

        landfall settle reconcile ours.csv theirs.parquet --rules rules.toml --html report.html

    Columns: key, party, time (RFC 3339 with a zone), amount (SDRt, 12.5) or amount_usdr (whole micro-SDRt); optional
    request, volume (octets), duration (seconds). Records meet by key; what is left by equal or near values in a window
    of time; then one against several that add up to it exactly. Nothing is changed or sent.
    """
    moment = _moment(as_of)
    if breaks is not None and breaks.suffix not in BREAKS_ENDINGS:
        told = f"name a file that ends in {', '.join(BREAKS_ENDINGS)}"
        raise LandfallError(f"--breaks {breaks} ends in {breaks.suffix!r}: {told}")
    agreed = read_rules(rules) if rules else Rules()
    with Console(stderr=True).status(f"reading {ours} …") as status:
        here = read_records(ours)
        status.update(f"reading {theirs} …")
        there = read_records(theirs)
        status.update(f"reconciling {here.height:,} records with {there.height:,} …")
        found = reconcile(here, there, agreed)
        report = summarise(found, as_of=moment)
        if page is not None:
            _write(page, "--html", render_page(report))
        if breaks is not None:
            _write_breaks(breaks, report, list_breaks(found, as_of=moment))
    if as_json:
        emit(report, as_json=True)
    else:
        _show_report(report)


@app.command("sample-rates")
def print_sample_rates(
    on: Annotated[str | None, typer.Option(help="The day they are to be of, as 2026-10-31; today without it.")] = None,
) -> None:
    """Print a file of sample rates for a day, to try Landfall with: nobody quotes them.

    landfall settle sample-rates > rates.csv        and in the operator's configuration: rates = "rates.csv"
    """
    typer.echo(sample_rates(_day(on, "--on") if on else datetime.now(UTC).date()), nl=False)


@app.command("value")
def value_amount(
    amount: Annotated[str, typer.Argument(help="SDRt, a point and up to six decimals, as 1250.5.")],
    currency: Annotated[str, typer.Argument(help="ISO 4217 code, as EUR.")],
    on: Annotated[str, typer.Option(help="The day, as 2026-10-31; the latest rates of it or of a week before count.")],
    rates: Annotated[
        Path | None, typer.Option(help="CSV date,currency,units_per_usd; without it the sample rates that come along.")
    ] = None,
    rounding: Annotated[Rounding, typer.Option(help="To whole minor units.")] = Rounding.HALF_EVEN,
    as_json: AsJson = False,
) -> None:
    """Value AMOUNT of SDRt in CURRENCY by the IMF basket of the day, and state the rate, its date and the rounding.

    landfall settle value 1250.5 EUR --on 2026-11-20 --rates rates.csv
    """
    day = _day(on, "--on")
    try:
        usdr = parse_sdrt(amount)
        found = convert(usdr, currency.upper(), day, load_rates(rates), rounding=rounding)
    except OSError as error:
        raise LandfallError(f"--rates {rates} cannot be read ({error.strerror}): name an existing file") from None
    except UnicodeDecodeError:
        raise LandfallError(f"--rates {rates}: is not UTF-8: save it as UTF-8") from None
    except (RateError, MoneyError) as error:
        raise LandfallError(str(error)) from None
    if as_json:
        emit(found, as_json=True)
        return
    emit(
        {
            "amount": format_sdrt(usdr),
            "comes to": str(found),
            "rate": f"1 SDRt = {found.value.rate} {found.value.currency}",
            "rates of": f"{found.value.rate_date}, {load_rates(rates).source}",
            "basket of": found.value.basket_since,
            "rounded": found.rounding.value,
        }
    )


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise LandfallError(f"{option} {text!r} is no date: write it as 2026-10-31") from None


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise LandfallError(f"--as-of {text!r} is no moment: write it as 2026-11-01T00:00:00Z") from None


def _write(file: Path, option: str, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LandfallError(f"{option} {file} cannot be written ({error.strerror})") from None


def _write_breaks(file: Path, report: Report, listed: DataFrame) -> None:
    try:
        match file.suffix:
            case ".csv":
                listed.write_csv(file)
            case ".parquet":
                listed.write_parquet(file)
            case _:
                # Loaded where it is wanted: documents bring their database tables and typst.
                from settlement.reconciliation.workbook import write_breaks

                file.write_bytes(write_breaks(report, listed))
    except OSError as error:
        raise LandfallError(f"--breaks {file} cannot be written ({error.strerror})") from None


def _show_report(report: Report) -> None:
    rows = [
        {
            "kind": tally.kind.value,
            "ours": tally.ours,
            "amount of ours": format_sdrt(tally.ours_amount),
            "theirs": tally.theirs,
            "amount of theirs": format_sdrt(tally.theirs_amount),
        }
        for tally in report.kinds
    ]
    total = {
        "kind": "in all",
        "ours": report.ours.records,
        "amount of ours": format_sdrt(report.ours.amount),
        "theirs": report.theirs.records,
        "amount of theirs": format_sdrt(report.theirs.amount),
    }
    emit([*rows, total], title=f"Reconciled in {report.seconds:.1f} s")
    for note in report.notes:
        emit(f"note: {note}")
    if report.breaks:
        some = f" (the {SHOWN} with most at stake of {report.breaks_in_all:,})" if report.breaks_in_all > SHOWN else ""
        told = [
            {
                "kind": row.kind.value,
                "key": row.key,
                "party": row.party,
                "days": row.age_days,
                "ours": None if row.ours_amount is None else format_sdrt(row.ours_amount),
                "theirs": None if row.theirs_amount is None else format_sdrt(row.theirs_amount),
            }
            for row in report.breaks[:SHOWN]
        ]
        emit(told, title=f"Differences{some}")
