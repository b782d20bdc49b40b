"""The exported log read once: what was reported, when each request lived, whether anything of a person stands in it.

log = read_log(folder / "ledger", secrets=[…], plmns=[…], reported=folder / "reported.jsonl")
"""

import base64
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import numpy as np
import polars as pl

from ota.scp80.digits import pack_digits
from settlement.evidence import SERVICES, Reported
from settlement.ledger.envelope import parse
from settlement.ledger.export import bundles_of
from settlement.ledger.keys import from_base64url, thumbprint
from settlement.ledger.log import read_leaf
from settlement.ledger.messages import (
    AcceptRequest,
    AddKey,
    Admit,
    CancelRequest,
    CloseRequest,
    DeclineRequest,
    ExpireRequest,
    Genesis,
    Message,
    Recover,
    ReportUsage,
    UsageGroup,
)
from settlement.ledger.note import parse_note
from settlement.ledger.tiles import decode_bundle

IMSI_DIGITS: Final = 15
KEY_IN_HEX: Final = re.compile("(?:[0-9a-f]{2}){16,}")
SHORTEST: Final = 10
"""Characters of base64 that chance does not make among millions of entries."""
HEAP: Final = 4096
"""Entries searched at once, some megabytes of text."""
COLUMNS: Final = ("request", "sequence", "position", "service", "units")
ENDS = (CancelRequest, DeclineRequest, ExpireRequest, CloseRequest)


@dataclass
class LogBook:
    """What the log says. Times are milliseconds since the epoch; `causes`: of cancelled requests."""

    entries: int = 0
    records: "LoggedRecords" = field(default_factory=lambda: LoggedRecords())
    accepted: dict[UUID, int] = field(default_factory=dict)
    ended: dict[UUID, int] = field(default_factory=dict)
    causes: dict[UUID, str] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    per_second: Counter[int] = field(default_factory=Counter)


class LoggedRecords:
    """Usage records of the log as columns: a million subscribers make millions of them.

    `requests`: those that records are of, in the order of their first; a record has its request's place there.
    """

    def __init__(self) -> None:
        self.requests: dict[UUID, int] = {}
        self._columns = tuple(array(kind) for kind in "iiibq")

    def add(self, group: UsageGroup) -> None:
        """Note the records of a group."""
        request = self.requests.setdefault(group.request, len(self.requests))
        of_request, sequence, positions, services, units = self._columns
        for position, record in enumerate(group.records):
            of_request.append(request)
            sequence.append(group.sequence)
            positions.append(position)
            services.append(SERVICES.index(record.service))
            units.append(record.units)

    def frame(self) -> pl.DataFrame:
        """All of them: `request` (its place), `sequence`, `position`, `service` (place in `SERVICES`), `units`."""
        return pl.DataFrame(dict(zip(COLUMNS, map(np.asarray, self._columns), strict=True)))


def read_entries(folder: Path) -> Iterator[tuple[int, int, bytes]]:
    """(index, time, envelope) of every entry of an export."""
    size = int(parse_note((folder / "checkpoint").read_bytes()).text.splitlines()[1])
    index = 0
    for bundle in bundles_of(size):
        for leaf in decode_bundle((folder / bundle.path).read_bytes(), bundle.width):
            time, raw = read_leaf(leaf)
            yield index, time, raw
            index += 1


def read_log(folder: Path, *, secrets: list[str], plmns: list[str], reported: Path) -> LogBook:
    """Read an export, and write its usage groups as the detector takes them."""
    log, senders = LogBook(), Senders()
    search, encoder = _Search(secrets, plmns), msgspec.json.Encoder()
    with reported.open("wb") as file:
        for index, time, raw in read_entries(folder):
            envelope = parse(raw)
            message = envelope.message
            sender = senders.see(envelope.kid, message)
            search.add(index, raw)
            log.entries, log.per_second[time // 1000] = index + 1, log.per_second[time // 1000] + 1
            _take(log, time, message)
            if isinstance(message, ReportUsage):
                for group in message.groups:
                    told = Reported(group.request, sender, index, group.sequence, group.records)
                    file.write(encoder.encode(told) + b"\n")
    log.leaks = search.finish()
    return log


class Senders:
    """Who a key is, as the log itself says it."""

    def __init__(self) -> None:
        self._names: defaultdict[str, str] = defaultdict(lambda: "?")

    def see(self, kid: str, message: Message) -> str:
        """The sender of an entry, whose message may make further keys known."""
        sender = self._names[kid]
        match message:
            case Genesis():
                self._note(message.issuer.key, message.issuer.id)
            case Admit():
                self._note(message.party.key, message.party.id)
            case AddKey(purpose="sign") | Recover():
                self._note(message.key, sender)
            case _:
                pass
        return sender

    def _note(self, key: str, name: str) -> None:
        self._names[thumbprint(from_base64url(key.encode()))] = name


def _take(log: LogBook, time: int, message: Message) -> None:
    if isinstance(message, ReportUsage):
        for group in message.groups:
            log.records.add(group)
    elif isinstance(message, AcceptRequest):
        log.accepted[message.request] = time
    elif isinstance(message, ENDS):
        log.ended[message.request] = time
        if isinstance(message, CancelRequest):
            log.causes[message.request] = message.cause


class _Search:
    """Looks for people in entries: known secrets in every form, and anything shaped as a simulated IMSI.

    Secrets are hundreds and entries hundreds of thousands, so that a heap of entries is searched for all at once.
    """

    def __init__(self, secrets: list[str], plmns: list[str]) -> None:
        self.leaks: list[str] = []
        self._secrets = {form.decode(): secret for secret in secrets for form in _forms(secret)}
        shaped = "|".join(f"{plmn}[0-9]{{{IMSI_DIGITS - len(plmn)}}}" for plmn in plmns)
        self._imsi = re.compile(rf"(?<![0-9A-Za-z])(?:{shaped})(?![0-9A-Za-z])")
        self._heap: list[str] = []
        self._first = 0

    def add(self, index: int, raw: bytes) -> None:
        """Look through an entry; they come in the order of the log."""
        if not self._heap:
            self._first = index
        payload = raw.split(b".")[1]
        text = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)).decode()
        self._heap.append(text)
        self.leaks += [f"entry {index}: what looks like an IMSI, {match[:6]}…" for match in self._imsi.findall(text)]
        if len(self._heap) >= HEAP:
            self.finish()

    def finish(self) -> list[str]:
        """What was found in all that was added."""
        if self._secrets:  # polars takes no empty list of patterns
            told = pl.Series(self._heap, dtype=pl.String).str.contains_any(list(self._secrets))
            for place in told.arg_true():
                self.leaks += [
                    f"entry {self._first + place}: a secret of {len(secret)} characters"
                    for form, secret in self._secrets.items()
                    if form in self._heap[place]
                ]
        self._heap.clear()
        return self.leaks


def _forms(secret: str) -> set[bytes]:
    """As people and programs write it: text, hex, swapped BCD, and base64 wherever it may stand in other octets."""
    written = [secret.encode()]
    if secret.isdigit():
        written.append(pack_digits(secret))
    elif KEY_IN_HEX.fullmatch(secret):
        written.append(bytes.fromhex(secret))
    forms = {secret.encode(), secret.upper().encode()}
    for octets in written:
        forms |= {octets.hex().encode(), octets.hex().upper().encode(), *_in_base64(octets)}
    return forms


def _in_base64(octets: bytes) -> Iterator[bytes]:
    """The characters that `octets` surely make in base64 and base64url, after none, one or two octets of something."""
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(octets)) * 8 // 6
        text = base64.b64encode(bytes(before) + octets)[first:end]
        if len(text) >= SHORTEST:
            yield text
            yield text.translate(_URL_SAFE)


_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
