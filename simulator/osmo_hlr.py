"""A real osmo-hlr in the place of the embedded HLR: the same `Hlr`, over GSUP and CTRL.

    async with run_osmo_hlr(folder) as hlr:                    # starts Debian's program, its database in `folder`
        network = Network("26201", "Abroad", hlr)

    hlr = OsmoHlr(GsupClient(host, name="landfall"), CtrlClient(host))     # or one that runs already

Subscribers come and go over CTRL; vectors, locations and purges go over GSUP. What osmo-hlr of Debian 12 (1.5.0 with
libosmocore 1.7.0) does otherwise than the embedded one: it has no TUAK; AMF is 0000; who is barred still gets vectors
and is refused when it wants to register.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from osmocom.gsup.message import MsgType

from landfall.errors import LandfallError
from simcard.uicc.algorithms import choose_algorithm
from simulator.gsup import PORT, GsupClient, Message
from simulator.hlr import AuthVector, Cause, HlrRefusalError, SubscriberConflictError
from simulator.ipa import CTRL, OSMO, encode_frame, read_frame

PROGRAM: Final = "osmo-hlr"
CTRL_PORT: Final = 4259
VTY_PORT: Final = 4258
START_S: Final = 20.0
"""It listens within a tenth of a second; on a machine full of tests it takes longer."""
STOP_S: Final = 5.0
REPLY_S: Final = 10.0
ADDRESSES: Final = 20
"""Addresses tried: three fixed ports must be free on one, and each of some four million is as good."""
# TUAK needs a later libosmocore (1.10); here it is refused by osmo-hlr itself.
_WITH_3G: Final = {"milenage": "milenage", "xor": "xor", "tuak": "tuak"}
# From util-linux: it ends even where we are killed.
_WITH_US: Final = ("setpriv", "--pdeathsig", "TERM")
_CONFIG: Final = """log stderr
 logging level set-all error
line vty
 bind {address}
ctrl
 bind {address}
hlr
 database {database}
 gsup
  bind ip {address}
"""
_UNKNOWN: Final = "Subscriber doesn't exist."


class OsmoHlrError(LandfallError):
    """osmo-hlr cannot be started, does not answer, or refuses a command."""


class CtrlClient:
    """osmo-hlr's control interface: one command at a time over one connection, opened at the first."""

    def __init__(self, host: str, port: int = CTRL_PORT) -> None:
        self._host, self._port = host, port
        self._numbers = count(1)
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def set(self, variable: str, value: str) -> str:
        """Set a variable; what osmo-hlr says to it. Raises `CtrlRefusedError` with its words, `OsmoHlrError`."""
        return await self._command("SET", f"{variable} {value}")

    async def get(self, variable: str) -> str:
        """A variable's value. Raises as `set` does."""
        return await self._command("GET", variable)

    async def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _command(self, verb: str, rest: str) -> str:
        number = str(next(self._numbers))
        async with self._turn:
            try:
                async with asyncio.timeout(REPLY_S):
                    if self._streams is None:
                        self._streams = await asyncio.open_connection(self._host, self._port)
                    reader, writer = self._streams
                    writer.write(encode_frame(OSMO, bytes((CTRL,)) + f"{verb} {number} {rest}".encode("ascii")))
                    await writer.drain()
                    while True:  # a TRAP, or the answer to a command given up, may come before
                        _, payload = await read_frame(reader)
                        kind, _, answer = payload[1:].decode("ascii", "replace").partition(" ")
                        answered, _, words = answer.partition(" ")
                        if answered == number:
                            break
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                await self.close()
                why = str(error) or type(error).__name__
                raise OsmoHlrError(f"the control interface at {self._host}:{self._port} failed: {why}") from None
        if kind == "ERROR":
            raise CtrlRefusedError(words)
        return words.partition(" ")[2]


class CtrlRefusedError(OsmoHlrError):
    """osmo-hlr refused a command; the message is its own words."""


class OsmoHlr:
    """The `Hlr` that an osmo-hlr is; `GsupError` or `OsmoHlrError` where it does not answer."""

    def __init__(self, gsup: GsupClient, ctrl: CtrlClient) -> None:
        self._gsup, self._ctrl = gsup, ctrl

    async def create_subscriber(self, imsi: str, *, k: bytes, opc: bytes, algorithm: str, msisdn: str | None) -> None:
        """Provision; `ValueError` for what a subscriber cannot have, an algorithm osmo-hlr lacks among it."""
        if not (_is_digits(imsi) and 6 <= len(imsi) <= 15):
            raise ValueError("an IMSI is 6 to 15 digits")
        number = (msisdn or "").removeprefix("+")
        if number and not (_is_digits(number) and len(number) <= 15):
            raise ValueError("an MSISDN is up to 15 digits")
        choose_algorithm(algorithm, k, opc)
        variable, value = _keys(algorithm, k, opc)
        try:
            await self._ctrl.set("subscriber.create", imsi)
        except CtrlRefusedError:
            if await self._has_other_keys(imsi, variable, value):
                raise SubscriberConflictError("this IMSI is provisioned with other keys; delete it first") from None
        try:
            await self._set(imsi, variable, value)
        except CtrlRefusedError as refused:
            await self.delete(imsi)
            raise ValueError(f"osmo-hlr does not take a subscriber with {algorithm}: {refused}") from None
        await self._set(imsi, "msisdn", number or "none")

    async def bar(self, imsi: str) -> None:
        """Refuse it in both domains; `HlrRefusalError(IMSI_UNKNOWN)` when there is no such subscriber."""
        await self.describe(imsi)
        for domain in ("cs", "ps"):
            await self._set(imsi, f"{domain}-enabled", "0")

    async def delete(self, imsi: str) -> None:
        """Forget the subscriber, if there is one."""
        try:
            await self._ctrl.set("subscriber.delete", _require_imsi(imsi))
        except CtrlRefusedError as refused:
            if str(refused) != _UNKNOWN:
                raise

    async def send_auth_info(self, imsi: str, resync: tuple[bytes, bytes] | None = None) -> list[AuthVector]:
        """Five vectors; osmo-hlr refuses a `resync` whose MAC-S is wrong."""
        more = [] if resync is None else [("rand", resync[0]), ("auts", resync[1])]
        answer = _require_success(await self._gsup.ask(MsgType.SEND_AUTH_INFO_REQUEST, _require_imsi(imsi), *more))
        return [_vector(elements) for elements in answer.all("auth_tuple")]

    async def update_location(self, imsi: str) -> None:
        """Register; on the way osmo-hlr inserts the subscriber's data here, which is answered."""
        try:
            _require_success(
                await self._gsup.ask(MsgType.UPDATE_LOCATION_REQUEST, _require_imsi(imsi), ("cn_domain", "cs"))
            )
        except HlrRefusalError as refusal:
            # It says "PLMN not allowed" of a subscriber whose domain is off: in its own network, that is barred.
            if refusal.cause is Cause.PLMN_NOT_ALLOWED:
                raise HlrRefusalError(Cause.ROAMING_NOT_ALLOWED) from None
            raise

    async def purge(self, imsi: str) -> None:
        """Registered here no more; one it does not know is not either."""
        with suppress(HlrRefusalError):
            _require_success(await self._gsup.ask(MsgType.PURGE_MS_REQUEST, _require_imsi(imsi), ("cn_domain", "cs")))

    async def describe(self, imsi: str) -> Mapping[str, str]:
        """What it knows of a subscriber, keys included: `msisdn`, `nam_cs`, `vlr_number`, `ms_purged_cs` and more."""
        try:
            text = await self._ctrl.get(f"subscriber.by-imsi-{_require_imsi(imsi)}.info-all")
        except CtrlRefusedError:
            raise HlrRefusalError(Cause.IMSI_UNKNOWN) from None
        pairs = (line.partition("\t") for line in text.splitlines() if line)
        return {name: value for name, _, value in pairs}

    async def _has_other_keys(self, imsi: str, variable: str, value: str) -> bool:
        for generation in ("aud2g", "aud3g"):
            known = (await self._ctrl.get(f"subscriber.by-imsi-{imsi}.{generation}")).lower()
            wanted = value if generation == variable else "none"
            if known not in ("none", wanted) and not known.startswith(f"{wanted},"):
                return True
        return False

    async def _set(self, imsi: str, name: str, value: str) -> None:
        await self._ctrl.set(f"subscriber.by-imsi-{_require_imsi(imsi)}.{name}", value)


@asynccontextmanager
async def run_osmo_hlr(folder: Path) -> AsyncIterator[OsmoHlr]:
    """Start osmo-hlr with a database in `folder`, on a loopback address of its own; ended whatever happens.

    Raises `OsmoHlrError` where it is not installed, naming the package, or does not come up.
    """
    program = find_program()
    address, log = find_free_address(), folder / "osmo-hlr.log"
    config = _configure(folder, address)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(_WITH_US if shutil.which(_WITH_US[0]) else ()),
            program,
            "-c",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C is ours, and ends it when its last subscriber has gone
        )
    gsup, ctrl = GsupClient(address, name="landfall"), CtrlClient(address)
    try:
        await _wait_until_up(process, address, log)
        yield OsmoHlr(gsup, ctrl)
    finally:
        await gsup.close()
        await ctrl.close()
        await asyncio.shield(_end(process))


def find_program(path: str | None = None) -> str:
    """Where osmo-hlr is, on `path` or where programs are. Raises `OsmoHlrError` with the package to install."""
    program = shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin" if path is None else path)
    if program is None:
        raise OsmoHlrError(f"{PROGRAM} is missing: apt-get install {PROGRAM}, or use the embedded HLR")
    return program


def _configure(folder: Path, address: str) -> Path:
    """Write its configuration; nobody else looks into the folder, since its database has every K."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = folder / "osmo-hlr.cfg"
    config.write_text(_CONFIG.format(address=address, database=folder / "hlr.db"))
    return config


def find_free_address() -> str:
    """A loopback address on which osmo-hlr's three ports, which nothing can change, are free now."""
    for _ in range(ADDRESSES):
        address = f"127.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
        try:
            for port in (PORT, VTY_PORT, CTRL_PORT):
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address
    raise OsmoHlrError(f"ports {PORT}, {VTY_PORT} and {CTRL_PORT} are taken on every loopback address that was tried")


async def _wait_until_up(process: asyncio.subprocess.Process, address: str, log: Path) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                try:
                    for port in (CTRL_PORT, PORT):
                        _, writer = await asyncio.open_connection(address, port)
                        writer.close()
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    return
    end = log.read_text(errors="replace")[-1000:]  # noqa: ASYNC240 - nothing else goes on now
    raise OsmoHlrError(f"{PROGRAM} does not come up on {address}; the end of {log}:\n{end}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _keys(algorithm: str, k: bytes, opc: bytes) -> tuple[str, str]:
    """CTRL variable and value of a subscriber's keys. XOR has no OPc, but osmo-hlr wants one, and looks at none."""
    if algorithm in _WITH_3G:
        return "aud3g", f"{_WITH_3G[algorithm]},{k.hex()},opc,{opc.hex() or bytes(16).hex()}"
    return "aud2g", f"{algorithm},{k.hex()}"


def _require_success(answer: Message) -> Message:
    """The answer, unless it is an error, whose cause is raised."""
    if not answer.kind.name.endswith("_ERROR"):
        return answer
    cause = answer.first("cause")
    known = cause in Cause.__members__.values()
    raise HlrRefusalError(Cause(cause) if known else Cause.NETWORK_FAILURE)


def _vector(elements: list[dict[str, Any]]) -> AuthVector:
    parts = {name: bytes(value) for element in elements for name, value in element.items()}
    return AuthVector(**{name: parts.get(name, b"") for name in AuthVector.__struct_fields__})


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _require_imsi(imsi: str) -> str:
    """An IMSI that may stand in a command; no subscriber has another."""
    if not _is_digits(imsi):
        raise HlrRefusalError(Cause.IMSI_UNKNOWN)
    return imsi
