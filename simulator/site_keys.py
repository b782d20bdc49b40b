"""What a run must find again when it is started again: ports, keys and secrets of everybody it plays.

Drawn afresh for each run and kept in `private/site.json`, readable by its owner only: a report names its seed, and
whoever reads it must not learn a key from that (decision 0061).
"""

import base64
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from simulator.processes import find_free_ports
from simulator.world import World

FILE: Final = "private/site.json"
PASSWORD_BYTES: Final = 6
"""In base64 the eight characters that SMPP has room for."""
FIXED: Final = ("ledger", "field", "smsc")


class SiteKeys(Struct, frozen=True, kw_only=True):
    """Secrets of a run; `token` tells its operators from other runs' on a ledger that was given. Octets as base64."""

    token: str
    ports: dict[str, int]
    keks: dict[str, str]
    seeds: dict[str, bytes]
    """Of signing keys by party: issuer, auditor, and operators without a node."""
    seal_keys: dict[str, bytes]
    """Of operators without a node."""
    passwords: dict[str, str]
    network_secrets: dict[str, str]
    webhook_secrets: dict[str, str]
    carrier_secret: str
    device_secret: bytes
    """Subscribers' phones sign their meters with keys made of this."""

    def __repr__(self) -> str:
        return f"SiteKeys({self.token})"


def open_keys(folder: Path, world: World) -> SiteKeys:
    """The run's keys, drawn and written at first. The folder is made for its owner only."""
    path = folder / FILE
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=SiteKeys)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = _draw(world)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(keys))
        file.flush()
        os.fsync(descriptor)
    draft.rename(path)
    return keys


def _draw(world: World) -> SiteKeys:
    from ota.sealing import SealPrivateKey

    with_node = [operator.id for operator in world.nodes]
    without = [operator.id for operator in world.operators if not operator.has_node]
    names = [*FIXED, *with_node]
    return SiteKeys(
        token=secrets.token_hex(3),
        ports=dict(zip(names, find_free_ports(len(names)), strict=True)),
        keks={name: base64.b64encode(secrets.token_bytes(32)).decode() for name in ("ledger", *with_node)},
        seeds={name: secrets.token_bytes(32) for name in ("issuer", "auditor", "recovery", *without)},
        seal_keys={name: SealPrivateKey.generate().to_bytes() for name in without},
        passwords={name: secrets.token_urlsafe(PASSWORD_BYTES) for name in with_node},
        network_secrets={name: secrets.token_urlsafe() for name in with_node},
        webhook_secrets={name: secrets.token_urlsafe() for name in with_node},
        carrier_secret=secrets.token_urlsafe(),
        device_secret=secrets.token_bytes(32),
    )
