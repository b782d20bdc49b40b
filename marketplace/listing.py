"""Listings: rows of the shared state from the database, a page at a time (keyset: `after` is the last key seen)."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar
from uuid import UUID

from litestar.params import QueryParameter

from settlement.ledger.api import MAX_PAGE, Page
from settlement.ledger.rows import read_row
from settlement.ledger.state import Row

T = TypeVar("T")

__all__ = ["FIRST", "After", "Limit", "columns_of", "read_row", "to_page"]

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE, description="Rows of a page.")]
After = Annotated[UUID, QueryParameter(description="Id of the last one seen.")]
FIRST: Final = UUID(int=0)
"""Before every id."""


def columns_of(row_type: type[Row]) -> str:
    """The columns of a row, for a SELECT."""
    return ", ".join(row_type.__struct_fields__)


def to_page(rows: Sequence[T], limit: int, key: Callable[[T], object]) -> Page[T]:
    """A page of at most `limit` from rows of which one more was asked for, to know whether there is a next page."""
    shown = tuple(rows[:limit])
    return Page(shown, str(key(shown[-1])) if len(rows) > limit else None)
