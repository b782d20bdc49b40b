"""`landfall ledger`: export the log, audit an export, begin a new epoch."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from landfall.cli import emit
from landfall.errors import LandfallError
from landfall.keystore import Keystore
from landfall.postgres import open_database
from landfall.settings import Settings, read_settings
from settlement.ledger import checkpoint, export
from settlement.ledger.audit import AuditError, AuditReport, audit
from settlement.ledger.checkpoint import Checkpoint
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.note import NoteError, VerifierKey
from settlement.ledger.note import Signer as NoteSigner
from settlement.ledger.store import LedgerStore
from settlement.money import format_sdrt

DATABASE: Final = "ledger"
"""Name of a ledger node's database in its own PostgreSQL."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Export the ledger's log, and audit an export without trusting anybody.",
)

KeyFile = Annotated[
    Path | None,
    typer.Option("--key", help="File with the log's verifier key (name+hash+key), had from elsewhere than the ledger."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("export")
def export_log(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    url: Annotated[
        str | None, typer.Option(help="The ledger's address. Without it: the database of this ledger node itself.")
    ] = None,
    operator: Annotated[str, typer.Option(help="With --url: your operator id; you must be issuer or auditor.")] = "",
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole log into FOLDER: a signed checkpoint, hash tiles and entry bundles (C2SP tlog-tiles).

    On the ledger's own node, with its settings (LANDFALL_DATA_DIR, LANDFALL_KEK…):

        landfall ledger export ./log

    As issuer or auditor, from anywhere, with the signing key of your node:

        landfall ledger export ./log --url https://ledger.example --operator watchdog --key origin.vkey

    An export holds what operators mean for each other's eyes only: keep it like the database.
    """
    settings = read_settings()
    with _progress("exporting") as progress:
        if url is None:
            head = asyncio.run(_export_own(folder, settings, progress))
        else:
            head = asyncio.run(_export_over_http(folder, settings, url, operator, _read_key(key), progress))
    emit({"folder": str(folder), "origin": head.origin, "entries": head.size, "root": head.root.hex()}, as_json)


async def _export_own(folder: Path, settings: Settings, progress: export.Progress) -> Checkpoint:
    seed = Keystore.open(settings.data_dir / "keys", settings.require_kek()).get("origin")
    dsn = await asyncio.to_thread(open_database, settings.database_url, settings.data_dir, DATABASE)
    async with LedgerStore.open(dsn) as store:
        origin = await store.pool.fetchval("SELECT origin FROM ledger")
        if origin is None:
            raise LandfallError("this node's ledger has no entries yet: there is nothing to export")
        signer, head = NoteSigner(origin, seed), await store.head()
        note = checkpoint.sign(Checkpoint(origin, head.size, head.root), signer)
        return await export.write_export(folder, note, store.bundle, signer.verifier, progress=progress)


async def _export_over_http(
    folder: Path, settings: Settings, url: str, operator: str, key: VerifierKey, progress: export.Progress
) -> Checkpoint:
    if not operator:
        raise LandfallError("--url needs --operator: entries are shown to the issuer and to auditors only")
    signer = Signer(Keystore.open(settings.data_dir / "keys", settings.require_kek()).get("sign"))
    async with LedgerClient(url, log=key, signer=signer, operator=operator) as client:
        note = await client.note()
        return await export.write_export(folder, note, client.bundle, key, progress=progress)


@app.command("promote")
def promote_ledger(as_json: AsJson = False) -> None:
    """Begin a new epoch on this database: ledger processes that run now never write again; restart those that shall.

    After a failover, on the database that was promoted, before its ledger is served:

        landfall ledger promote && landfall serve --role ledger

    A writer that was cut off and comes back finds the epoch it began in gone, halts, and says so on /health/ready.
    """
    epoch = asyncio.run(_promote(read_settings()))
    emit({"epoch": epoch}, as_json, title="A new epoch: restart the ledger processes that are to write")


async def _promote(settings: Settings) -> int:
    dsn = await asyncio.to_thread(open_database, settings.database_url, settings.data_dir, DATABASE)
    async with LedgerStore.open(dsn) as store:
        try:
            return await store.promote()
        except LookupError as error:
            raise LandfallError(str(error)) from None


@app.command("audit")
def audit_log(
    folder: Annotated[Path, typer.Argument(help="The folder that an export was written to.")],
    key: KeyFile = None,
    checkpoint_file: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="A checkpoint you had from elsewhere, or kept: this log must continue it."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, max=64, help="Processes that verify signatures; one a processor by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove a log from its files and one key: every signature, every rule, every balance.

        landfall ledger audit ./log --key origin.vkey

    Neither the ledger nor the network is asked. Take the key from a place the ledger cannot change; with --checkpoint
    a log that was rewritten or cut short since is found too. Exit code 0: all is as it should be. 1: it is not, and
    the first bad entry is named.
    """
    verifier = _read_key(key)
    other = None if checkpoint_file is None else _read(checkpoint_file, "--checkpoint")
    try:
        with _progress("auditing") as progress:
            report = audit(folder, verifier, checkpoint=other, workers=workers, progress=progress)
    except AuditError as error:
        if as_json:
            emit({"ok": False, "index": error.index, "sender": error.sender, "why": error.why}, as_json=True)
        else:
            Console(stderr=True).print(f"REFUSED  {error}", style="bold red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if as_json:
        emit({"ok": True, "report": report}, as_json=True)
    else:
        _show(report)


def _show(report: AuditReport) -> None:
    emit(
        {
            "origin": report.origin,
            "entries": report.entries,
            "root": report.root,
            "effects chain": report.chain,
            "minted": format_sdrt(report.minted),
            "burned": format_sdrt(report.burned),
            "in escrow": format_sdrt(report.escrow),
            "messages": ", ".join(f"{count} {name}" for name, count in report.messages.items()),
            "requests": ", ".join(f"{count} {state}" for state, count in report.requests.items()) or "none",
            **({} if report.continues is None else {"continues": f"the checkpoint of {report.continues} entries"}),
            "audited": f"in {report.seconds:.1f} s, {report.rate:,.0f} entries/s",
        },
        title="Every signature, rule and balance holds",
    )
    rows = [
        {
            "operator": row.operator,
            "available": format_sdrt(row.available),
            "escrow": format_sdrt(row.escrow),
            "held": format_sdrt(row.held),
        }
        for row in report.balances
    ]
    if rows:
        emit(rows, title="Balances")

    reserves = [
        {
            "as of": f"{datetime.fromtimestamp(row.as_of / 1000, UTC):%Y-%m-%d %H:%M} UTC",
            "stated by": row.attestor,
            "deposits": format_sdrt(row.deposits),
            "minted less burnt": format_sdrt(row.circulating),
            "covered": "yes" if row.covered else f"NO, {format_sdrt(row.circulating - row.deposits)} are missing",
        }
        for row in report.reserves
    ]
    if reserves:
        emit(reserves, title="Proof of reserves")


def _read_key(file: Path | None) -> VerifierKey:
    if file is None:
        raise LandfallError("--key is missing: without the log's verifier key nothing can be proved; ask its operator")
    try:
        return VerifierKey.parse(_read(file, "--key").decode().strip())
    except (NoteError, UnicodeDecodeError) as error:
        raise LandfallError(f"--key {file} is no verifier key: {error}") from None


def _read(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LandfallError(f"{option} {file} cannot be read ({error.strerror}): name an existing file") from None


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where a person watches."""
    console = Console(stderr=True)
    columns: tuple[Any, ...] = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
