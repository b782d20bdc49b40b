"""How commands speak: calls of the node's API, amounts and files as people write them, tables as they read them."""

import os
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from landfall.settings import read_settings
from marketplace.operator_settings import TOKEN_FILE
from settlement.money import MoneyError, format_sdrt, parse_sdrt

TIMEOUT_S: Final = 60.0
"""Of one call: a purchase or report is stored at once, a large import takes seconds."""

UPLOAD_TIMEOUT_S: Final = 600.0
"""100,000 cards on a busy machine."""
RECONNECT_S: Final = 1.0
RECONNECTS: Final = 60
"""A node that is restarted is back within seconds."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]


class CallError(LandfallError):
    """The node said no, or nothing."""


def call(method: str, path: str, *, json: Any = None, text: str | None = None, **params: Any) -> Any:
    """One call of the node's API. Raises CallError with the problem's detail and remedy."""
    url, headers = _find_node()
    content = text.encode() if text is not None else b"" if json is None else msgspec.json.encode(json)
    headers["content-type"] = "application/json" if text is None else "text/csv"
    try:
        response = httpx.request(
            method,
            f"{url}{path}",
            content=content,
            headers=headers,
            params={name: value for name, value in params.items() if value is not None},
            timeout=TIMEOUT_S,
        )
    except httpx.TransportError as error:
        raise _silent(url, error) from None
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise CallError(_explain(response))
    return response.json() if response.content else None


def upload(path: str, file: Path, *, kind: str = "text/csv", **params: Any) -> Any:
    """Send a file to the node as it is read, so that its size does not matter. Raises CallError."""
    url, headers = _find_node()
    headers["content-type"] = kind
    given = {name: value for name, value in params.items() if value is not None}
    try:
        with file.open("rb") as content:
            response = httpx.post(
                f"{url}{path}", content=content, headers=headers, params=given, timeout=UPLOAD_TIMEOUT_S
            )
    except httpx.TransportError as error:
        raise _silent(url, error) from None
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise CallError(_explain(response))
    return response.json()


def download(path: str, **params: Any) -> bytes:
    """What the node answers, as octets. Raises CallError."""
    url, headers = _find_node()
    given = {name: value for name, value in params.items() if value is not None}
    try:
        response = httpx.get(f"{url}{path}", headers=headers, params=given, timeout=UPLOAD_TIMEOUT_S)
    except httpx.TransportError as error:
        raise _silent(url, error) from None
    if response.status_code >= httpx.codes.BAD_REQUEST:
        raise CallError(_explain(response))
    return response.content


def follow(
    path: str, *, is_last: Callable[[str, dict[str, Any]], bool], **params: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events of the node as (name, data), until one is the last; a connection that ends before is taken up
    again.

    Raises CallError where the node refuses, or stays away.
    """
    url, headers = _find_node()
    silent = 0
    while True:
        try:
            with httpx.stream("GET", f"{url}{path}", headers=headers, params=params, timeout=TIMEOUT_S) as response:
                if response.status_code >= httpx.codes.BAD_REQUEST:
                    response.read()
                    raise CallError(_explain(response))
                silent, name = 0, ""
                for line in response.iter_lines():
                    field, _, value = line.partition(": ")
                    if field == "id":
                        headers["last-event-id"] = value
                    elif field == "event":
                        name = value
                    elif field == "data":
                        data = msgspec.json.decode(value)
                        yield name, data
                        if is_last(name, data):
                            return
        except httpx.TransportError as error:
            silent += 1
            if silent > RECONNECTS:
                raise _silent(url, error) from None
        time.sleep(RECONNECT_S)


def _find_node() -> tuple[str, dict[str, str]]:
    settings = read_settings()
    url = os.environ.get("LANDFALL_OPERATOR_URL") or f"http://{settings.host}:{settings.port}"
    token = os.environ.get("LANDFALL_OPERATOR_TOKEN") or _read_token(settings.data_dir / TOKEN_FILE)
    return url, {"authorization": f"Bearer {token}"}


def _silent(url: str, error: httpx.TransportError) -> CallError:
    return CallError(
        f"the node at {url} does not answer ({error}): start it with `landfall serve --role operator`, "
        "or set LANDFALL_OPERATOR_URL"
    )


def _read_token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise CallError(
            f"{file}: {error.strerror}; run this in the node's data folder (LANDFALL_DATA_DIR), "
            "or set LANDFALL_OPERATOR_TOKEN"
        ) from None


def _explain(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return f"{problem['code']}: {problem['detail']} {problem.get('remedy', '')}".strip()
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:300]}"


def read_amount(text: str) -> int:
    """An amount a person wrote, in µSDRt. Raises CallError that says how it is written."""
    try:
        return parse_sdrt(text)
    except MoneyError as error:
        raise CallError(str(error)) from None


def show(rows: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool, title: str) -> None:
    """Print all of the rows as JSON, or these columns of them as a table, amounts and times as people read them."""
    if as_json:
        emit(rows, as_json=True)
        return
    emit([{_heading(column): _cell(column, _dig(row, column)) for column in columns} for row in rows], title=title)


def _dig(row: Any, column: str) -> Any:
    for part in column.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _heading(column: str) -> str:
    return column.rpartition(".")[2].removesuffix("_usdr").removesuffix("_ms").replace("_", " ")


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return None
    if column.endswith("_usdr"):
        return format_sdrt(value)
    if column.endswith(("_ms", "valid_until")):
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(" ", "seconds") if value else None
    return value


def read_file(file: Path) -> dict[str, Any]:
    """A TOML or JSON file as the API takes it: dates become milliseconds since the epoch."""
    try:
        text = file.read_text(encoding="utf-8")
        table = msgspec.json.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CallError(f"{file} is neither TOML nor JSON: {error}") from None
    found = plain(table)
    if not isinstance(found, dict):
        raise CallError(f"{file} must hold a table")
    return found


def plain(value: Any) -> Any:
    """The value with dates and times, UTC unless they say otherwise, as milliseconds since the epoch."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    return value
