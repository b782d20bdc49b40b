"""The files that `landfall operator example` prints are files that the node takes."""

from importlib.resources import as_file, files
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from marketplace.deals.schemas import NewDeal
from marketplace.operator_cli import app
from marketplace.operator_cli.calling import plain, read_file
from marketplace.operator_cli.node import EXAMPLES
from marketplace.operator_settings import parse_operator_settings
from marketplace.packages.pricing import PackageDraft
from marketplace.subscribers.service import NewSubscriber
from marketplace.usage.schemas import UsageBatch
from marketplace.wholesale.schemas import NewOffer
from ota.templates import Template, read_template
from settlement.ledger.messages import Terms
from settlement.ledger.rules import VERSIONS
from settlement.ledger.rules.offers import check_terms
from settlement.usage.deals import Calendar, periods


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("offer.toml", NewOffer),
        ("package.toml", PackageDraft),
        ("subscriber.toml", NewSubscriber),
        ("usage.json", UsageBatch),
        ("template.toml", Template),
        ("deal.toml", NewDeal),
    ],
)
def test_each_example_is_what_the_api_takes(name: str, shape: type) -> None:
    with as_file(files("marketplace") / "examples" / name) as file:
        taken: object = msgspec.json.decode(msgspec.json.encode(read_file(file)), type=shape)
    if isinstance(taken, NewOffer):
        assert isinstance(taken.terms, Terms)
        check_terms(taken.terms, max(VERSIONS))
    if isinstance(taken, NewDeal):
        assert periods(Calendar(taken.starts, taken.ends, taken.months)) == 4
        for direction in taken.directions:
            check_terms(direction.terms, max(VERSIONS))
            assert direction.terms.valid_until <= taken.ends
    if isinstance(taken, Template):
        assert read_template(taken).repeatable


def test_the_node_example_is_an_operator_toml() -> None:
    text = files("marketplace").joinpath("examples", "operator.toml").read_text()
    assert parse_operator_settings(text, "example").network("26201") is not None


def test_files_named_in_the_settings_are_read_as_paths() -> None:
    text = files("marketplace").joinpath("examples", "operator.toml").read_text()
    assert parse_operator_settings(f'rates = "a/rates.csv"\n{text}', "example").rates == Path("a/rates.csv")


def test_every_example_is_printed() -> None:
    for name in EXAMPLES:
        result = CliRunner().invoke(app, ["example", name])
        assert result.exit_code == 0
        assert result.stdout


def test_dates_become_milliseconds() -> None:
    from datetime import UTC, date, datetime

    assert plain({"a": [date(1970, 1, 2)]}) == {"a": [86_400_000]}
    assert plain(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1000


@pytest.mark.parametrize(
    "group", [[], ["offers"], ["packages"], ["requests"], ["usage"], ["deals"], ["statement"], ["init"]]
)
def test_help_explains_every_command(group: list[str]) -> None:
    result = CliRunner().invoke(app, [*group, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout
