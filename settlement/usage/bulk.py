"""Rating in bulk: a million records and more by metered tariffs, written once in ibis, run on DuckDB or on Spark.

    connection = connect()                                    # DuckDB in this process; connect("spark") for a cluster
    records = read_records(connection, Path("october.parquet"))
    rated = rate_records(records, {"IOT-7": tariff})          # each record with its `charge`, µSDRt
    table = sum_up(rated)                                     # partner, service, period: records, units, charge

It charges what `rating.charge` does, record by record and to the micro-SDRt, for requests whose escrow suffices: the
price of all that was used by then, less the price before, in window functions over each request. All is whole numbers
below 2^53, where engines that divide in floating point are exact; what is beyond is marked, not rounded. Bundles are
not rated in bulk: their renewals depend on escrow, record by record.
"""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Final, Literal

import ibis
from ibis import _
from msgspec import UNSET, structs

from landfall.errors import LandfallError
from settlement.encodings import tell_undecodable
from settlement.sdr import Rounding
from settlement.usage.grading import THURSDAY, rates_of, spans_of
from settlement.usage.tariff import PPM, WEEK, Grading, Metered, Scale

Engine = Literal["duckdb", "spark"]

EXACT: Final = 2**53
"""Whole numbers below it are exact in floating point: Spark and DuckDB divide in it."""
COLUMNS: Final = {
    "partner": "string",
    "request": "string",
    "tariff": "string",
    "position": "int64",
    "service": "string",
    "start": "int64",
    "offset": "int64",
    "units": "int64",
    "continues": "boolean",
}
"""Columns of records: those of `UsageRecord`, whose they are, by which tariff, in which order within the request."""
DAYS_OF_PERIOD: Final = "%Y-%m"
MAX_TOLD: Final = 300
"""Characters of an engine's error that are told."""


def connect(engine: Engine = "duckdb", **settings: str) -> Any:
    """An ibis connection. `settings` go to the engine: of Spark `spark.master` and the like.

    Raises `LandfallError` if Spark is not installed.
    """
    if engine == "duckdb":
        return ibis.duckdb.connect(**settings)
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise LandfallError(
            "Spark is not installed: pip install 'landfall[spark]', and a Java of 17 or newer"
        ) from None
    builder = SparkSession.builder.appName("landfall").config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("spark.sql.ansi.enabled", "true")  # what does not fit raises, as on DuckDB
    for name, value in settings.items():
        builder = builder.config(name, value)
    return ibis.pyspark.connect(builder.getOrCreate())


def read_records(connection: Any, path: Path) -> Any:
    """Records from a Parquet or CSV file (Parquet also a folder) with the columns of `COLUMNS`.

    Raises `LandfallError` naming the columns that are missing.
    """
    if not path.exists():
        raise LandfallError(f"{path}: there is no such file")
    try:
        table = _read_csv(connection, path) if path.suffix == ".csv" else connection.read_parquet(str(path))
    except Exception as error:  # each engine has errors of its own
        told = (tell_undecodable(path) if path.suffix == ".csv" else None) or tell(error)
        raise LandfallError(f"{path}: cannot be read as {path.suffix or 'Parquet'}: {told}") from None
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise LandfallError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(table.columns)}")
    return table.select(**{name: table[name].cast(kind) for name, kind in COLUMNS.items()})


def _read_csv(connection: Any, path: Path) -> Any:
    """Every cell as text: an engine that guesses makes of a tariff T a truth value and of a request 007 a seven."""
    if connection.name == "duckdb":
        return connection.read_csv(str(path), header=True, all_varchar=True)
    return connection.read_csv(str(path), header=True, inferSchema=False)


def tell(error: Exception) -> str:
    """What an engine says is wrong, without the whole line it quotes, its guesses and advice on options not ours."""
    lines = [line.strip() for line in str(error).splitlines()]
    quoted = ("Original Line", "Possible", "LINE", "^")
    return "; ".join(line for line in lines if line and not line.startswith(quoted) and " = " not in line)[:MAX_TOLD]


def rate_records(records: Any, tariffs: Mapping[str, Metered]) -> Any:
    """Records with `charge` (µSDRt) and `exact` (false where the sums leave what is exact). A lazy ibis table."""
    parts = [_rate_by(records.filter(_.tariff == name), tariff) for name, tariff in tariffs.items()]
    if not parts:
        raise LandfallError("no tariff is given: name one for each value of the column tariff")
    return reduce(lambda one, other: one.union(other), parts)


def sum_up(rated: Any) -> Any:
    """Records, units and charge by partner, service and month (of UTC) in which they began."""
    month = (rated.start * 60).as_timestamp("s").strftime(DAYS_OF_PERIOD)
    return (
        rated.mutate(period=month)
        .group_by("partner", "service", "period")
        .aggregate(
            records=_.count(),
            units=_.units.sum().cast("int64"),
            charge=_.charge.sum().cast("int64"),
            exact=_.exact.all(),
        )
        .order_by("partner", "service", "period")
    )


def check_rateable(records: Any, tariffs: Mapping[str, Metered]) -> None:
    """Raise `LandfallError` for records of tariffs that were not given, of no known service, or below zero."""
    wrong = records.filter(
        ~_.tariff.isin(list(tariffs))
        | ~_.service.isin(["data", "voice", "message"])
        | (_.units < 0)
        | reduce(lambda one, other: one | other, [_[name].isnull() for name in COLUMNS])
    )
    if found := wrong.limit(1).to_pyarrow().to_pylist():
        [row] = found
        if empty := [name for name in COLUMNS if row[name] is None]:
            told = f"{', '.join(empty)} without a value"
            raise LandfallError(f"request {row['request']}, position {row['position']}: {told}: every column has one")
        told = f"tariff {row['tariff']!r}, service {row['service']!r}, units {row['units']}"
        known = ", ".join(tariffs)
        raise LandfallError(
            f"request {row['request']}, position {row['position']}: {told}: known are the tariffs {known}, the services"
            " data, voice, message, and units from 0"
        )


def _rate_by(records: Any, tariff: Metered) -> Any:
    """Charge the records of one tariff."""
    graded = structs.replace(tariff, grading=Grading()) if tariff.grading is UNSET else tariff
    grading = graded.grading
    assert grading is not UNSET
    so_far = ibis.window(group_by="request", order_by="position", preceding=None, following=0)
    began = (_.service == "voice") & ~_.continues
    placed = records.mutate(zone=_zone(grading), call=_sum(began.cast("int64"), so_far))
    in_call = ibis.window(group_by=["request", "service", "call"], order_by="position", preceding=None, following=0)
    voice = _.service == "voice"
    placed = placed.mutate(
        spoken=_sum(ibis.cases((voice, _.units), else_=0), in_call),
        zone=ibis.cases((voice, _.zone.first().over(in_call)), else_=_.zone),
    )
    before = _.spoken - _.units
    placed = placed.mutate(
        begun=ibis.cases((voice & (_.spoken > 0) & (before == 0), 1), else_=0).cast("int64"),
        more=ibis.cases((voice, _next(graded, _.spoken) - _next(graded, before)), else_=0).cast("int64"),
    )
    counters = {}
    for zone in range(1 + len(grading.zones)):
        here = _.zone == zone
        for name, counted in (
            ("octets", ibis.cases((here & (_.service == "data"), _.units), else_=0)),
            ("calls", ibis.cases((here, _.begun), else_=0)),
            ("intervals", ibis.cases((here, _.more), else_=0)),
            ("messages", ibis.cases((here & (_.service == "message"), _.units), else_=0)),
        ):
            counters[f"{name}_{zone}"] = _sum(counted, so_far)
    counted_up = placed.mutate(**counters)
    priced = counted_up.mutate(parts=_parts(counted_up, graded, grading))
    net = _divide(priced.parts, grading.divisor, grading.rounding)
    if grading.minimum:
        used = reduce(lambda one, other: one | other, [priced[name] > 0 for name in counters])
        net = ibis.cases((used, ibis.greatest(net, grading.minimum)), else_=net)
    priced = priced.mutate(net=net)
    gross = priced.net
    for tax in grading.taxes:
        if not tax.inclusive:
            gross = gross + _tax(priced.net, tax.rate, tax.rounding)
    if tariff.cap:
        gross = ibis.least(gross, tariff.cap)
    priced = priced.mutate(total=gross.cast("int64"))
    in_order = ibis.window(group_by="request", order_by="position")
    earlier = priced.total.lag(1).over(in_order).fill_null(0)
    return priced.mutate(
        charge=(priced.total - earlier).cast("int64"), exact=(priced.parts < EXACT) & (priced.total < EXACT)
    ).select(*COLUMNS, "charge", "exact")


def _sum(counted: Any, window: Any) -> Any:
    """A running sum in 64 bits. DuckDB adds up in 128, in which all that follows takes three times as long; ibis leaves
    a cast out whose type is the same, and this one, never null, is not.
    """
    return counted.cast("int64").sum().over(window).cast("!int64")


def _zone(grading: Grading) -> Any:
    minute = (_.start + _.offset + THURSDAY) % WEEK
    branches = [
        (reduce(lambda one, other: one | other, [(minute >= start) & (minute < end) for start, end in spans]), number)
        for number, spans in enumerate((spans_of(zone.windows) for zone in grading.zones), 1)
    ]
    return ibis.cases(*branches, else_=0).cast("int64") if branches else ibis.literal(0, "int64")


def _next(tariff: Metered, seconds: Any) -> Any:
    return _started(ibis.greatest(seconds - tariff.first_interval, 0), tariff.next_interval)


def _started(units: Any, block: int) -> Any:
    """Blocks begun by so many units, exactly: the remainder goes before the division."""
    return _whole(units + (block - 1), block)


def _whole(amount: Any, by: int) -> Any:
    return amount.cast("int64") if by == 1 else ((amount - amount % by) / by).cast("int64")


def _parts(table: Any, tariff: Metered, grading: Grading) -> Any:
    """The price of all that was used by each record, in 1/divisor µSDRt."""
    parts = ibis.literal(0, "int64")
    for zone in range(1 + len(grading.zones)):
        rates, scales = rates_of(tariff, zone)
        calls, intervals = table[f"calls_{zone}"], table[f"intervals_{zone}"]
        blocks, messages = _started(table[f"octets_{zone}"], tariff.block), table[f"messages_{zone}"]
        chargeable = calls * (tariff.first_interval // tariff.next_interval) + intervals
        for scale, count, size, plain in (
            (scales.data, blocks, tariff.block, blocks * rates.block_price),
            (scales.voice, chargeable, tariff.next_interval, calls * rates.first_price + intervals * rates.next_price),
            (scales.messages, messages, 1, messages * rates.event_price),
        ):
            parts = parts + (plain if scale is None else _scale(scale, count, size))
    return parts


def _scale(scale: Scale, count: Any, size: int) -> Any:
    reached = []
    for number, tier in enumerate(scale.tiers):
        start = tier.above // size
        last = number + 1 == len(scale.tiers)
        end = count if last else ibis.least(count, scale.tiers[number + 1].above // size)
        if scale.method == "back-to-first":
            amount = end * tier.price
        elif scale.method == "fixed":
            amount = ibis.literal(tier.price, "int64")
        else:
            amount = (end - start) * tier.price
        reached.append(ibis.cases((count > start, amount), else_=0).cast("int64"))
    if scale.method == "back-to-first":
        return ibis.greatest(0, *reached)  # Spark's takes two values or more
    return reduce(lambda one, other: one + other, reached)


def _divide(amount: Any, by: int, rounding: Rounding) -> Any:
    if by == 1:
        return amount
    whole, rest = _whole(amount, by), amount % by
    if rounding is Rounding.DOWN:
        return whole
    up = {
        Rounding.UP: rest > 0,
        Rounding.HALF_UP: 2 * rest >= by,
        Rounding.HALF_EVEN: (2 * rest > by) | ((2 * rest == by) & (whole % 2 == 1)),
    }[rounding]
    return whole + up.cast("int64")


def _tax(net: Any, rate: int, rounding: Rounding) -> Any:
    """`net * rate / PPM`, in two steps, so that the product does not grow past what is exact."""
    whole, rest = _whole(net, PPM) * rate, (net % PPM) * rate
    if rounding is not Rounding.HALF_EVEN:
        return whole + _divide(rest, PPM, rounding)
    quotient, left = whole + _whole(rest, PPM), rest % PPM
    up = (2 * left > PPM) | ((2 * left == PPM) & (quotient % 2 == 1))
    return quotient + up.cast("int64")
