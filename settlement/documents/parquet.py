"""Detailed usage as Parquet, for whoever computes with it: whole micro-SDRt, UTC times beside their offsets."""

import io
from datetime import UTC, timedelta

import polars as pl

from settlement.documents.model import UsageDetail

_MINUTE = timedelta(minutes=1)


def write_parquet(detail: UsageDetail) -> bytes:
    """One row a record, in their order; names and types are the same in every document and language."""
    rows = detail.rows
    frame = pl.DataFrame(
        {
            "start": pl.Series([row.start.astimezone(UTC) for row in rows], dtype=pl.Datetime("ms", "UTC")),
            "offset_min": pl.Series(
                [(row.start.utcoffset() or timedelta()) // _MINUTE for row in rows], dtype=pl.Int16
            ),
            "service": pl.Series([row.service for row in rows], dtype=pl.String),
            "units": pl.Series([row.units for row in rows], dtype=pl.Int64),
            "unit": pl.Series([row.unit.value for row in rows], dtype=pl.String),
            "place": pl.Series([row.place for row in rows], dtype=pl.String),
            "request": pl.Series([row.request for row in rows], dtype=pl.String),
            "record": pl.Series([row.record for row in rows], dtype=pl.String),
            "amount_usdr": pl.Series([row.amount_usdr for row in rows], dtype=pl.Int64),
        }
    )
    octets = io.BytesIO()
    frame.write_parquet(octets, compression="zstd")
    return octets.getvalue()
