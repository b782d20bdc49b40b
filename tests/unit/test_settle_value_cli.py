"""`landfall settle value`: what SDRt come to, with the rate, its date and the rounding."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from landfall.errors import LandfallError
from settlement.cli import app

RATES = """date,currency,units_per_usd
2026-10-30,EUR,0.86
2026-10-30,CNY,7.1
2026-10-30,JPY,150.5
2026-10-30,GBP,0.75
"""


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    file = tmp_path / "rates.csv"
    file.write_text(RATES)
    return file


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["value", *map(str, arguments)])
    if isinstance(result.exception, LandfallError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_amount_comes_with_its_rate_date_and_rounding(rates: Path) -> None:
    answer = json.loads(run("1000", "jpy", "--on", "2026-10-31", "--rates", rates, "--rounding", "down", "--json"))
    assert (answer["amount_usdr"], answer["minor_digits"], answer["rounding"]) == (1_000_000_000, 0, "down")
    assert answer["value"]["rate_date"] == "2026-10-30"
    assert answer["amount_minor"] == int(1000 * Decimal(answer["value"]["rate"]))
    shown = run("1000", "JPY", "--on", "2026-10-31", "--rates", rates)
    assert f"1 SDRt = {answer['value']['rate']} JPY" in shown
    assert "2026-10-30" in shown
    assert "half-even" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("1,5", "EUR", "--on", "2026-10-31"), "'1,5' is no amount"),
        (("1", "EUR", "--on", "31.10.2026"), "--on '31.10.2026' is no date"),
        (("1", "XXX", "--on", "2026-10-31"), "no rates for XXX on 2026-10-31"),
        (("1", "EUR", "--on", "2026-12-31"), "the latest are of 2026-10-30"),
    ],
)
def test_what_cannot_be_valued_is_told(rates: Path, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(LandfallError, match=told):
        run(*arguments, "--rates", rates)


def test_a_file_of_no_rates_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    for content, told in ((b"\xff\xfe", "not UTF-8"), (b"a,b\n", "the first line must be"), (None, "cannot be read")):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(LandfallError, match=told):
            run("1", "EUR", "--on", "2026-10-31", "--rates", file)
