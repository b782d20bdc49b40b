"""Bulk rating charges every record what the ledger's arithmetic does, on DuckDB, and if asked on a local Spark."""

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from landfall.errors import LandfallError
from settlement.usage.bulk import COLUMNS, check_rateable, connect, rate_records, read_records, sum_up
from settlement.usage.rating import charge
from settlement.usage.tariff import Metered
from tests.properties.test_grading import graded, meter, sessions

TYPES = {"string": pa.string(), "int64": pa.int64(), "boolean": pa.bool_()}
SCHEMA = pa.schema([(name, TYPES[kind]) for name, kind in COLUMNS.items()])


ENGINES = ["duckdb", "spark"] if os.environ.get("LANDFALL_TEST_SPARK") == "1" else ["duckdb"]
"""A local Spark, too, where it is asked for: it takes landfall[spark], a Java, and half a minute."""


@pytest.fixture(scope="module", params=ENGINES)
def connection(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "duckdb":
        yield connect()
        return
    settings = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
    spark = connect("spark", **settings)
    yield spark
    spark.disconnect()


def rows_of(requests: list[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    return [
        {
            "partner": f"P{number % 2}",
            "request": f"R{number}",
            "tariff": tariff,
            "position": position,
            "service": record.service,
            "start": record.start,
            "offset": record.offset,
            "units": record.units,
            "continues": record.continues,
        }
        for number, (tariff, used) in enumerate(requests)
        for position, record in enumerate(used)
    ]


def run(connection: Any, expression: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Evaluate the same expression of a Parquet file on either engine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
        found = connection.to_pyarrow(expression(read_records(connection, path)))
        return list(found.to_pylist())


def expected(tariff: Metered, used: list[Any]) -> list[int]:
    running = meter()
    return [charge(running, record, tariff).settled for record in used]


def examples(connection: Any) -> int:
    return 12 if connection.name == "duckdb" else 2


def test_every_record_costs_what_the_ledger_charges(connection: Any) -> None:
    phases = [Phase.generate] if connection.name == "pyspark" else list(Phase)  # Spark takes seconds an example
    health = list(HealthCheck)

    @settings(max_examples=examples(connection), phases=phases, deadline=None, suppress_health_check=health)
    @given(graded(), graded(), st.lists(sessions, min_size=1, max_size=3))
    def check(one: Metered, other: Metered, uses: list[Any]) -> None:
        tariffs = {"one": one, "plain": msgspec.structs.replace(other, grading=msgspec.UNSET)}
        requests = [(list(tariffs)[number % 2], used) for number, used in enumerate(uses)]
        rows = rows_of(requests)
        rated = run(connection, lambda records: rate_records(records, tariffs), rows)
        found = {(row["request"], row["position"]): row["charge"] for row in rated}
        for number, (name, used) in enumerate(requests):
            charges = [found[f"R{number}", position] for position in range(len(used))]
            assert charges == expected(tariffs[name], used)
            assert all(row["exact"] for row in rated)

    check()


def test_what_is_beyond_exactness_is_named() -> None:
    connection = connect()
    row = dict.fromkeys(COLUMNS, 0) | {
        "partner": "P", "request": "R", "tariff": "T", "service": "message", "units": 10**6, "continues": False,
    }  # fmt: skip
    tariffs = {"T": Metered(event_price=2**43)}
    [rated] = run(connection, lambda records: rate_records(records, tariffs), [row])
    assert rated["exact"] is False
    for wrong in ({"units": -1}, {"service": "fax"}, {"tariff": "U"}):
        with pytest.raises(LandfallError, match="request R, position 0"):
            run(connection, lambda records: check_rateable(records, tariffs), [row | wrong])


def test_months_are_those_of_utc(connection: Any) -> None:
    row = dict.fromkeys(COLUMNS, 0) | {
        "partner": "P", "request": "R", "tariff": "T", "service": "message", "units": 1, "continues": False,
    }  # fmt: skip
    november = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) // 60
    rows = [row | {"position": 1, "start": november - 1}, row | {"position": 2, "start": november}]
    summed = run(connection, lambda records: sum_up(rate_records(records, {"T": Metered(event_price=7)})), rows)
    assert [(one["period"], one["charge"]) for one in summed] == [("2026-10", 7), ("2026-11", 7)]
    assert [(one["records"], one["units"], one["exact"]) for one in summed] == [(1, 1, True)] * 2
