"""The end: the auditor exports the log, proves it offline with one key, and the report is written."""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from landfall import __version__
from settlement.ledger.audit import AuditReport
from settlement.ledger.export import bundles_of, write_export
from settlement.ledger.log import read_leaf
from settlement.ledger.tiles import decode_bundle
from settlement.money import format_sdrt
from simulator.demo.account import DemoError, Via, expect
from simulator.demo.cast import AUDITOR, HOMES, HOUSES, ISSUER, ORIGIN, VISITED, House
from simulator.demo.closing import Closed, Netted
from simulator.demo.market import PACKAGES, money
from simulator.demo.picture import LEDGER, SUBSCRIBERS
from simulator.demo.report import Audited, Balance, Conservation, Report, Sold, Throughput, write_report
from simulator.demo.stage import Stage
from simulator.demo.world import VKEY_FILE

EXPORT_FOLDER: Final = "ledger"
LIFELINES: Final = (
    SUBSCRIBERS,
    *(house.id for house in HOMES),
    LEDGER,
    *(house.id for house in HOUSES[2:]),
    ISSUER,
    AUDITOR,
)


class _Proved(msgspec.Struct, frozen=True):
    """What `landfall ledger audit --json` prints."""

    ok: bool
    report: AuditReport | None = None
    why: str = ""


async def export_and_audit(stage: Stage) -> AuditReport:
    """The auditor reads the whole log over HTTP; the audit then has the files and the origin's key, nothing else."""
    folder = stage.world.folder
    auditor = stage.world.auditor
    head = await write_export(folder / EXPORT_FOLDER, await auditor.note(), auditor.bundle, stage.world.key)
    stage.tell(AUDITOR, "ledger", f"export of {head.size} entries over HTTP", via=Via.API)
    report = await _audit_offline(folder)
    expect(report.entries == head.size and report.root == head.root.hex(), "the audit is of what was exported", report)
    for house in HOUSES:
        proved = next(row for row in report.balances if row.operator == house.id)
        seen = await stage.balance(house)
        same = seen == {"available": proved.available, "escrow": proved.escrow, "held": proved.held}
        expect(same, f"the balance of {house.id} follows from the log", (seen, proved))
    expect((report.minted, report.burned) == (stage.minted, stage.burned), "the log has all that was minted and burnt")
    words = f"audit offline, with {VKEY_FILE} only: every signature, rule and balance of {report.entries} entries holds"
    stage.tell(AUDITOR, AUDITOR, words, via=Via.API)
    return report


async def _audit_offline(folder: Path) -> AuditReport:
    """The auditor as a program of its own, without settings, database or network."""
    command = ["ledger", "audit", str(folder / EXPORT_FOLDER), "--key", str(folder / VKEY_FILE), "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDFALL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from landfall.cli import main; main()",
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    output, errors = await process.communicate()
    try:
        proved = msgspec.json.decode(output, type=_Proved)
    except msgspec.MsgspecError:
        raise DemoError(f"the audit ended with status {process.returncode}: {errors.decode()[-2000:]}") from None
    if not proved.ok or proved.report is None:
        raise DemoError(f"the audit refuses the log: {proved.why}")
    return proved.report


async def make_report(
    stage: Stage, audit: AuditReport, statements: dict[str, Any], netted: Netted, closed: Closed
) -> Report:
    """Gather it, write both files, and print the tables of the end."""
    account, folder = stage.account, stage.world.folder
    seconds = _seconds_of_entries(folder / EXPORT_FOLDER, audit.entries)
    span = max((audit.last_time - audit.first_time) / 1000, 0.001)
    report = Report(
        landfall=__version__,
        origin=ORIGIN,
        vkey=str(stage.world.key),
        seed=stage.world.cast.seed,
        subscribers=len(stage.world.cast.people),
        elapsed_ms=account.elapsed_ms,
        steps=tuple(account.steps),
        lines=tuple(account.lines),
        balances=tuple(_balance(house, audit, statements[house.id]) for house in HOUSES),
        conservation=_conservation(audit),
        packages=tuple(_sold(stage, home, key) for home in HOMES for key in PACKAGES),
        netted=netted,
        closed=closed,
        requests=audit.requests,
        rejections=stage.rejections,
        audit=Audited(audit.entries, audit.root, audit.chain, round(audit.rate), audit.seconds),
        throughput=Throughput(
            entries=audit.entries,
            usage_records=stage.usage_records,
            purchases=stage.sold.total(),
            seconds=round(span, 3),
            entries_per_s=round(audit.entries / span, 2),
            busiest_second=max(seconds.values()),
        ),
    )
    write_report(report, folder, LIFELINES)
    _show(stage, report)
    return report


def _balance(house: House, audit: AuditReport, statement: Any) -> Balance:
    row = next(one for one in audit.balances if one.operator == house.id)
    role = "home operator" if house in HOMES else "visited operator" if house in VISITED else "service provider"
    spent, earned = statement["spent_usdr"], statement["earned_usdr"]
    return Balance(house.id, house.name, role, row.available, row.escrow, row.held, spent, earned)


def _conservation(audit: AuditReport) -> Conservation:
    total = sum(row.available + row.escrow + row.held for row in audit.balances)
    escrow = sum(row.escrow for row in audit.balances)
    holds = total == audit.minted - audit.burned and escrow == audit.escrow
    return Conservation(audit.minted, audit.burned, total, escrow, audit.escrow, holds)


def _sold(stage: Stage, home: House, key: str) -> Sold:
    quote = stage.packages[home.id, key]["quote"]
    return Sold(
        home=home.id,
        name=quote["name"],
        wholesale=money(quote["cost_minor"], quote),
        wholesale_usdr=quote["cost_usdr"],
        retail=money(quote["retail_minor"], quote),
        margin=f"{money(quote['margin_minor'], quote)} ({quote['margin_percent']} %)",
        rate=f"{quote['sdr_rate']} {quote['currency']}",
        rate_date=quote["rate_date"],
        purchases=stage.sold[home.id, key],
    )


def _seconds_of_entries(folder: Path, size: int) -> Counter[int]:
    """How many entries each second has, by the log's own time."""
    counted: Counter[int] = Counter()
    for bundle in bundles_of(size):
        leaves = decode_bundle((folder / bundle.path).read_bytes(), bundle.width)
        counted.update(read_leaf(leaf)[0] // 1000 for leaf in leaves)
    return counted


def _show(stage: Stage, report: Report) -> None:
    rows = [
        {
            "operator": row.operator,
            "available": format_sdrt(row.available_usdr),
            "escrow": format_sdrt(row.escrow_usdr),
            "held": format_sdrt(row.held_usdr),
            "spent": format_sdrt(row.spent_usdr),
            "earned": format_sdrt(row.earned_usdr),
        }
        for row in report.balances
    ]
    stage.account.teller.table("Balances", rows)
    kept, through = report.conservation, report.throughput
    balances, minted, burned = (
        format_sdrt(amount).removesuffix(" SDRt") for amount in (kept.balances_usdr, kept.minted_usdr, kept.burned_usdr)
    )
    summary = {
        "conservation": f"balances {balances} = minted {minted} − burned {burned}",
        "entries": f"{through.entries}, audited offline at {report.audit.entries_per_s:,}/s",
        "throughput": f"{through.entries_per_s}/s over {through.seconds:.0f} s of story, "
        f"{through.busiest_second} in the busiest second",
        "usage records": f"{through.usage_records}",
        "netting": f"{format_sdrt(report.netted.gross_before_usdr)} owed before, "
        f"{format_sdrt(report.netted.gross_after_usdr)} after",
        "documents": f"{len(report.closed.documents)} of the period, each file's digest on the ledger",
        "took": f"{report.elapsed_ms / 1000:.1f} s",
    }
    stage.account.teller.table("In the end", [{"": name, " ": words} for name, words in summary.items()])
