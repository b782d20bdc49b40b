"""Commands about evidence: meters of subscribers' devices, limits of offers, checks of usage reports."""

import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from msgspec import to_builtins

from landfall.cli import emit
from landfall.errors import LandfallError
from marketplace.operator_cli.calling import Json, call, show
from settlement.evidence import Metered
from settlement.ledger.signatures import SEED_SIZE, PrivateKey

evidence = typer.Typer(no_args_is_help=True, help="Check usage reports against cards, meters, limits and own records.")
meter = typer.Typer(no_args_is_help=True, help="Device meters: keys, signed readings.")

FOUND: Final = ("fraud", "request", "excess", "excess_usdr", "charged_usdr", "case")
KeyFile = Annotated[Path, typer.Option(help="The device's secret key: 32 octets in hex.")]


@evidence.command("check")
def check(
    partner: Annotated[str, typer.Argument(help="The visited operator's id.")],
    period: Annotated[str, typer.Option(help="2026-10, or 2026-10-01/2026-10-15; UTC.")],
    as_json: Json = False,
) -> None:
    """Compare what a partner reported with what cards, meters, limits and own records say; findings become cases.

    Example: landfall operator evidence check bravo --period 2026-10
    """
    found = call("POST", "/evidence/checks", json={"partner": partner, "period": period})
    if as_json:
        emit(found, as_json=True)
        return
    emit({name: value for name, value in found.items() if name != "findings"}, title="Checked")
    if found["findings"]:
        show([{**one["finding"], **one} for one in found["findings"]], FOUND, False, "What does not fit")


@evidence.command("limit")
def limit(
    offer: UUID,
    octets_per_s: Annotated[int, typer.Option(min=0, help="The most data a second.")],
    messages_per_h: Annotated[int, typer.Option(min=0, help="The most messages an hour.")],
    as_json: Json = False,
) -> None:
    """Say what use of an offer can be; what is above is implausible. Calls are never longer than they last."""
    body = {"octets_per_s": octets_per_s, "messages_per_h": messages_per_h}
    emit(call("PUT", f"/evidence/limits/{offer}", json=body), as_json)


@meter.command("keygen")
def keygen(out: Annotated[Path, typer.Argument(help="The new file of the secret key.")], as_json: Json = False) -> None:
    """Make a device's key: the secret into a file that only its owner reads, the public one printed for `enrol`."""
    key = PrivateKey(secrets.token_bytes(SEED_SIZE))
    try:
        out.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise LandfallError(f"{out} cannot be made ({error.strerror}): name a new file") from None
    out.write_text(key.seed.hex() + "\n")
    emit({"key": key.public.hex(), "secret": str(out)}, as_json)


@meter.command("enrol")
def enrol(
    subscriber: UUID,
    key: Annotated[str, typer.Option(help="The device's public key, in hex.")],
    as_json: Json = False,
) -> None:
    """Register a subscriber's device; the newest counts for requests that have no reading yet."""
    body = {"key": to_builtins(_hex(key, "--key"))}
    emit(call("POST", f"/meters/devices/{subscriber}", json=body), as_json)


@meter.command("report")
def report(
    request: UUID,
    key_file: KeyFile,
    octets: Annotated[int, typer.Option(min=0, help="Since the request began.")] = 0,
    seconds: Annotated[int, typer.Option(min=0, help="Of calls, since the request began.")] = 0,
    messages: Annotated[int, typer.Option(min=0, help="Since the request began.")] = 0,
    minute: Annotated[int | None, typer.Option(min=0, help="Since the epoch; by default now.")] = None,
    as_json: Json = False,
) -> None:
    """Sign and post a reading, as a device does: counters since the request began, which only go up."""
    emit(call("POST", "/meters/readings", json=sign(request, key_file, octets, seconds, messages, minute)), as_json)


@meter.command("show")
def show_readings(request: UUID, as_json: Json = False) -> None:
    """List the readings of a request."""
    columns = ("minute", "octets", "seconds", "messages", "received_ms")
    show(call("GET", f"/meters/{request}"), columns, as_json, "Readings")


def sign(request: UUID, key_file: Path, octets: int, seconds: int, messages: int, minute: int | None) -> dict[str, Any]:
    """A signed reading as the API takes it."""
    try:
        key = PrivateKey(_hex(key_file.read_text().strip(), str(key_file)))
    except (OSError, UnicodeDecodeError) as error:
        raise LandfallError(f"{key_file} cannot be read ({error}): make one by `meter keygen`") from None
    reading = Metered(
        request=request,
        minute=int(time.time()) // 60 if minute is None else minute,
        octets=octets,
        seconds=seconds,
        messages=messages,
        signature=b"",
    )
    fields: dict[str, Any] = to_builtins(reading)
    fields.pop("type", None)
    return {**fields, "signature": to_builtins(key.sign(reading.signed_octets))}


def _hex(text: str, where: str) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != 32:  # Ed25519
        raise LandfallError(f"{where} is no Ed25519 key: 64 hexadecimal digits are")
    return octets
