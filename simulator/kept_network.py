"""Networks and their HLRs as a run keeps them: what was provisioned, and who registered, survives the simulator.

An HLR's subscribers are appended to a file before they count. Sequence numbers are not kept: a card finds a number of
an HLR that forgot stale, and resynchronises it (TS 33.102 §6.3.5), as after any restored AuC.
"""

import os
import time
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from simulator.hlr import EmbeddedHlr, Hlr, HlrRefusalError, Subscriber
from simulator.network import Mobile, Network
from simulator.world import Operator


class Line(Struct, frozen=True, omit_defaults=True):
    """One change of an HLR."""

    deed: Literal["create", "bar", "delete"]
    imsi: str
    k: bytes = b""
    opc: bytes = b""
    algorithm: str = ""
    msisdn: str | None = None

    def __repr__(self) -> str:
        return f"Line({self.deed})"


class KeptHlr(EmbeddedHlr):
    """The built-in HLR with its subscribers in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._writing = path, False
        if path.exists():
            for raw in path.read_bytes().splitlines():
                self._replay(msgspec.json.decode(raw, type=Line))
        self._file = _open_to_append(path)

    def _replay(self, line: Line) -> None:
        if line.deed == "create":
            self._subscribers.setdefault(line.imsi, Subscriber(line.k, line.opc, line.algorithm, line.msisdn))
        elif line.deed == "delete":
            self._subscribers.pop(line.imsi, None)
        elif line.imsi in self._subscribers:
            self._subscribers[line.imsi].barred = True

    def _keep(self, line: Line) -> None:
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    async def create_subscriber(self, imsi: str, *, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        """Provision, and keep it."""
        known = self.find(imsi) is not None
        await super().create_subscriber(imsi, k=k, opc=opc, algorithm=algorithm, msisdn=msisdn)
        if not known:
            self._keep(Line("create", imsi, k, opc, algorithm, msisdn))

    async def bar(self, imsi: str) -> None:
        """Bar, and keep it."""
        await super().bar(imsi)
        self._keep(Line("bar", imsi))

    async def delete(self, imsi: str) -> None:
        """Forget, and keep that."""
        await super().delete(imsi)
        self._keep(Line("delete", imsi))


REGISTRATIONS: Final = "registrations.jsonl"


def _open_to_append(path: Path) -> int:
    """A file for its owner only, written line by line."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Registration(Struct, frozen=True):
    """A phone asked a network for service: when (ms since the epoch), with which IMSI, and the cause of a refusal."""

    time_ms: int
    operator: str
    imsi: str
    cause: int | None


class LoggedNetwork(Network):
    """A network that writes down who asked it for service, and what it answered."""

    def __init__(self, operator: Operator, hlr: Hlr, folder: Path) -> None:
        super().__init__(operator.plmn, operator.plan.name, hlr)
        self.operator = operator
        self._log = _open_to_append(folder / REGISTRATIONS)
        directory = folder / f"numbers-{operator.id}.jsonl"
        if directory.exists():
            for line in directory.read_bytes().splitlines():
                imsi, number = msgspec.json.decode(line, type=tuple[str, str])
                self._numbers[imsi], self._imsis[number] = number, imsi
        self._directory = _open_to_append(directory)

    async def provision(self, imsi: str, *, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        """Enter a subscriber and its number, and keep the number."""
        before = self.number_of(imsi)
        await super().provision(imsi, k=k, opc=opc, algorithm=algorithm, msisdn=msisdn)
        if (number := self.number_of(imsi)) and number != before:
            os.write(self._directory, msgspec.json.encode((imsi, number)) + b"\n")

    async def attach(self, phone: Mobile) -> None:
        """Register the phone, or raise `HlrRefusalError`; write down which."""
        imsi, cause = phone.imsi, None
        try:
            await super().attach(phone)
        except HlrRefusalError as refusal:
            cause = int(refusal.cause)
            raise
        finally:
            told = Registration(time.time_ns() // 1_000_000, self.operator.id, imsi, cause)
            os.write(self._log, msgspec.json.encode(told) + b"\n")
