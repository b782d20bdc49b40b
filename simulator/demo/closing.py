"""Acts ten and eleven: outside invoices netted by the issuer; the period reconciled, closed and documented."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from marketplace.issuer_netting import NettingPlan, find_taken, plan, propose
from settlement.documents.verify import find_on_ledger
from settlement.money import format_sdrt
from settlement.netting import Method, Terms
from settlement.netting.picture import draw
from simulator.demo.account import DemoError, Via, expect
from simulator.demo.cast import ALFA, ALPINE, GULF, HOMES, HOUSES, ISSUER, VISITED, VOLNA, House
from simulator.demo.stage import DAY_MS, Stage, now_ms
from simulator.together import for_all

INVOICES_FOLDER: Final = "invoices"
DOCUMENTS_FOLDER: Final = "documents"
PICTURE_FILE: Final = "netting.svg"

SDRT: Final = 1_000_000
DEBTS: Final = (
    (ALFA, GULF, 240 * SDRT, "interconnection"),
    (GULF, ALPINE, 180 * SDRT, "transit"),
    (ALPINE, VOLNA, 210 * SDRT, "roaming of last year"),
    (VOLNA, ALFA, 150 * SDRT, "signalling"),
    (ALPINE, ALFA, 60 * SDRT, "fibre"),
    (ALFA, ALPINE, 45 * SDRT, "co-location"),
)
"""Debtor, creditor, amount, what for: none of it went through the ledger before."""


class Netted(Struct, frozen=True):
    """What netting did: gross debts before and after, in how many cycles; `remaining` as (debtor, creditor, amount)."""

    method: str
    debts: int
    gross_before_usdr: int
    gross_after_usdr: int
    saved_percent: float
    cycles: int
    remaining: tuple[tuple[str, str, int], ...]


class Documented(Struct, frozen=True):
    """One document of the closed period, and its files, each of which was found on the ledger by its digest."""

    issuer: str
    kind: str
    number: str
    counterparty: str
    amount_usdr: int
    files: tuple[str, ...]


class Reconciled(Struct, frozen=True):
    """A home operator's settled records against those of the visited operator."""

    home: str
    visited: str
    records: int
    matched: int
    amount_usdr: int


class Closed(Struct, frozen=True):
    """The end of the period."""

    period: str
    reconciled: tuple[Reconciled, ...]
    documents: tuple[Documented, ...]


async def net_invoices(stage: Stage) -> Netted:
    """Operators owe each other in a ring; each debt is uploaded and confirmed; the issuer nets them, all consent."""
    folder = stage.world.folder / INVOICES_FOLDER
    folder.mkdir()
    due = now_ms() + 30 * DAY_MS
    for number, (debtor, creditor, amount, what) in enumerate(DEBTS, start=1):
        text = f"Invoice {number} of {creditor.name} to {debtor.name}: {what}, {format_sdrt(amount)}\n"
        file = folder / f"{creditor.id}-{number}.txt"
        file.write_text(text, encoding="utf-8")
        digest = sha256(text.encode()).hexdigest()
        new = {"debtor": debtor.id, "amount_usdr": amount, "due_ms": due, "document": digest, "number": f"{number}"}
        invoice = (await stage.node(creditor).post("/invoices", new))["id"]
        stage.tell(creditor.id, debtor.id, f"external invoice: {what}", via=Via.LEDGER, amount_usdr=amount)
        asked = partial(_is_asked, invoice)
        await stage.node(debtor).wait("/invoices", asked, "the debtor is asked to confirm")
        await stage.node(debtor).post(f"/invoices/{invoice}/confirm", {"document": digest})
    stage.tell(ALFA.id, "ledger", f"{len(DEBTS)} invoices confirmed by their debtors", via=Via.LEDGER)
    for house in (*HOMES, *VISITED):
        owed = sum(house in (debtor, creditor) for debtor, creditor, _, _ in DEBTS)
        await stage.node(house).wait("/obligations", partial(_has, owed), "what is confirmed is owed")
    return await _net(stage)


async def _net(stage: Stage) -> Netted:
    issuer = stage.world.issuer
    found = plan(await issuer.obligations(state="open"), Method.SETOFF, Terms(), await find_taken(issuer))
    positions = {house.id: await _position(stage, house) for house in (*HOMES, *VISITED)}
    proposed = await propose(issuer, found, until_ms=now_ms() + DAY_MS, due_ms=now_ms() + 2 * DAY_MS)
    words = f"netting cycle proposed: {len(found.debts)} debts"
    stage.tell(ISSUER, "ledger", words, via=Via.LEDGER, amount_usdr=found.netting.gross_before)
    for house in (*HOMES, *VISITED):
        await stage.node(house).wait(
            "/netting", lambda rows: rows and rows[0]["state"] == "effective", "the cycle is executed", state="all"
        )
        stage.tell(house.id, ISSUER, "consents: its net position stays as it is", via=Via.LEDGER)
    netting = found.netting
    left = {(row.debtor, row.creditor): row.remaining for row in await issuer.obligations(state="open")}
    expected = {(debt.debtor, debt.creditor): debt.amount for debt in netting.remaining}
    expect(left == expected, "the ledger has what the netting left", (left, expected))
    for house in (*HOMES, *VISITED):
        after = await _position(stage, house)
        expect(after == positions[house.id], f"the net position of {house.id} is as it was", after)
    words = f"executed by the last consent: {netting.saved_percent:.0f} % less is owed"
    stage.tell("ledger", ISSUER, words, via=Via.LEDGER, amount_usdr=netting.gross_after)
    await asyncio.to_thread(draw, list(found.debts), netting, stage.world.folder / PICTURE_FILE, hub="hub")
    return _told(found, len(proposed))


async def _position(stage: Stage, house: House) -> int:
    rows = await stage.node(house).get("/obligations")
    return sum(row["remaining"] if row["creditor"] == house.id else -row["remaining"] for row in rows)


def _told(found: NettingPlan, cycles: int) -> Netted:
    netting = found.netting
    return Netted(
        method=netting.method.value,
        debts=len(found.debts),
        gross_before_usdr=netting.gross_before,
        gross_after_usdr=netting.gross_after,
        saved_percent=netting.saved_percent,
        cycles=cycles,
        remaining=tuple((debt.debtor, debt.creditor, debt.amount) for debt in netting.remaining),
    )


async def close_period(stage: Stage, begin_ms: int) -> Closed:
    """Every operator closes the demonstration's own span; documents are kept, and found on the ledger."""
    end_ms = now_ms()
    days = "/".join(datetime.fromtimestamp(ms / 1000, UTC).date().isoformat() for ms in (begin_ms, end_ms))
    asked = {"from_ms": begin_ms, "to_ms": end_ms}
    closings = {house.id: (await stage.node(house).post("/closings", asked))["id"] for house in HOUSES}
    reconciled = [await _reconcile(stage, home, visited, days) for home in HOMES for visited in VISITED]

    async def finish(house: House) -> list[Documented]:
        path = f"/closings/{closings[house.id]}"
        done = await stage.node(house).wait(path, lambda seen: seen["state"] != "running", "the period is closed")
        expect(done["state"] == "done", f"{house.id} closes the period", done["error"])
        made = await stage.node(house).get(f"{path}/documents")
        if taps := [row for row in made if row["kind"] == "tap"]:
            used = sum(row["amount_usdr"] for row in taps)
            stage.tell(house.id, house.id, f"{len(taps)} TAP files for the home billing", via=Via.API, amount_usdr=used)
        expect(len(taps) == len(_used(house, reconciled)), f"{house.id} has TAP of each network its people used", taps)
        return [await _keep(stage, house, document) for document in made if document["kind"] != "tap"]

    documents = [document for of_house in await for_all(HOUSES, finish) for document in of_house]
    for house in HOUSES:
        own = [document for document in documents if document.issuer == house.id]
        invoiced = sum(document.amount_usdr for document in own if document.kind == "invoice")
        kinds = ", ".join(sorted({document.kind for document in own}))
        stage.tell(house.id, "ledger", f"period closed: {kinds}; digests", via=Via.LEDGER, amount_usdr=invoiced)
    await _verify_by_command(stage, documents)
    return Closed(days, tuple(one for one in reconciled if one.records), tuple(documents))


async def _reconcile(stage: Stage, home: House, visited: House, days: str) -> Reconciled:
    """The home operator compares what the ledger settled with the visited operator's own list, record by record."""
    there, here = stage.node(visited), stage.node(home)
    theirs = await there.get_octets("/reconciliations/records", partner=home.id, period=days)
    upload = await here.post_text(f"/reconciliations/files?name={visited.id}.csv", theirs.decode(), "text/csv")
    run = await here.post("/reconciliations", {"partner": visited.id, "period": days, "theirs": upload["digest"]})
    report = run["report"]
    matched = sum(row["ours"] for row in report["kinds"] if row["kind"] == "matched")
    expect(matched == report["ours"]["records"] and not run["cases"], "both sides have the same records", report)
    amount = report["ours"]["amount"]
    words = f"reconciled: {matched} records, no difference"
    if matched:
        stage.tell(home.id, visited.id, words, via=Via.API, amount_usdr=amount)
    return Reconciled(home.id, visited.id, report["ours"]["records"], matched, amount)


async def _keep(stage: Stage, house: House, document: Any) -> Documented:
    """Put a document's files into the folder; each must be the one whose digest the ledger has from its issuer."""
    folder = stage.world.folder / DOCUMENTS_FOLDER / house.id
    folder.mkdir(parents=True, exist_ok=True)
    for file in document["files"]:
        octets = await stage.node(house).get_octets(f"/documents/files/{file['name']}")
        digest = sha256(octets).hexdigest()
        found = await find_on_ledger(stage.world.url("ledger"), digest)
        expect([one.sender for one in found] == [house.id], f"{file['name']} of {house.id} is on the ledger", found)
        (folder / file["name"]).write_bytes(octets)
    names = tuple(f"{house.id}/{file['name']}" for file in document["files"])
    return Documented(
        house.id, document["kind"], document["number"], document["counterparty"] or "", document["amount_usdr"], names
    )


async def _verify_by_command(stage: Stage, documents: list[Documented]) -> None:
    """One invoice as whoever received it does: `landfall document verify`; and with one bit changed it is not found."""
    invoice = next(document for document in documents if document.kind == "invoice")
    file = stage.world.folder / DOCUMENTS_FOLDER / next(name for name in invoice.files if name.endswith(".pdf"))
    octets = bytearray(file.read_bytes())
    octets[len(octets) // 2] ^= 1
    forged = stage.world.folder / "private" / "forged.pdf"
    forged.write_bytes(octets)
    (genuine, said), (refused, _) = await asyncio.gather(_verify(stage, file), _verify(stage, forged))
    expect(genuine == 0, f"landfall document verify finds {file.name}", said)
    expect(refused == 1, "a document with one bit changed is not found", refused)
    count = sum(len(document.files) for document in documents)
    stage.tell(invoice.counterparty, "ledger", f"{count} files verified by digest; a forged one is not", via=Via.API)


async def _verify(stage: Stage, file: Path) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LANDFALL_")}
    command = ["document", "verify", str(file), "--url", stage.world.url("ledger"), "--json"]
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
    if process.returncode not in (0, 1):
        raise DemoError(f"landfall document verify ended with status {process.returncode}: {errors.decode()[-1000:]}")
    try:
        said = msgspec.json.decode(output)
    except msgspec.DecodeError:
        raise DemoError(f"landfall document verify said no JSON: {errors.decode()[-1000:]}") from None
    return process.returncode, str(said.get("recorded"))


def _used(house: House, reconciled: list[Reconciled]) -> list[Reconciled]:
    return [one for one in reconciled if one.home == house.id and one.records]


def _is_asked(invoice: str, rows: list[Any]) -> bool:
    return any(row["id"] == invoice and row["asked"] for row in rows)


def _has(count: int, rows: list[Any]) -> bool:
    return len(rows) == count
