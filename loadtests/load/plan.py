"""The plan of a run: the one file that the master and every worker are given.

    plan = Plan.read(Path("build/load/plan.json"))

It has the operators' private keys, made for the run or given to it: mode 0600, to be copied to other machines as keys
are. Mixes of roles and shapes of the load come from `mixes.toml`, or from a file like it (`--mixes`).
"""

import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Self
from uuid import UUID

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from loadtests.cast import Actor
from settlement.ledger.client import LedgerClient
from settlement.ledger.envelope import Signer
from settlement.ledger.note import VerifierKey

PLAN_FILE: Final = "plan.json"
MIXES_FILE: Final = Path(__file__).with_name("mixes.toml")


class PlanError(LandfallError):
    """A run that cannot be: what was asked for does not fit together."""


class Role(StrEnum):
    """What a user does."""

    BUYER = "buyer"
    VISITED = "visited"
    READER = "reader"
    AUDITOR = "auditor"
    SUBSCRIBER = "subscriber"
    OTA = "ota"


NODE_ROLES: Final = (Role.SUBSCRIBER, Role.OTA)
"""Roles that need an operator's node."""


class Key(Struct, frozen=True):
    """An operator's id and its private signing key, 32 octets."""

    operator: str
    seed: bytes

    def __repr__(self) -> str:
        return f"Key({self.operator})"

    @property
    def signer(self) -> Signer:
        """The key, ready to sign."""
        return Signer(self.seed)


class Trader(Struct, frozen=True):
    """An operator of the run: its key, the id of its seal key, and its two offers."""

    key: Key
    seal_key: str
    bundle: UUID
    metered: UUID

    @property
    def actor(self) -> Actor:
        """The operator as the generators have it."""
        return Actor(self.key.operator, self.key.signer, self.seal_key, self.bundle, self.metered)


class HomeNode(Struct, frozen=True):
    """A home operator's node: staff's access, who may buy, what is on sale, and which cards OTA jobs may go to."""

    operator: str
    url: str
    token: str
    subscribers: tuple[UUID, ...]
    packages: tuple[UUID, ...]
    cards: tuple[str, ...]

    def __repr__(self) -> str:
        return f"HomeNode({self.operator}, {self.url})"


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be run. `serving`: so many of the traders, the first ones, are visited by users of that role.

    `first`: the log's size when the plan was made; entries from there on are the run's.
    `processes`: those started for the run on this machine, by name. `mix`: weight by role.
    `stages`: (share of the time, share of the users), between which the number goes straight.
    """

    url: str
    log: str
    traders: tuple[Trader, ...]
    overseer: Key | None
    node: HomeNode | None
    first: int
    mix_name: str
    mix: dict[Role, int]
    shape_name: str
    stages: tuple[tuple[float, float], ...]
    users: int
    seconds: float
    workers: int
    sequence: int
    processes: dict[str, int] = {}

    @property
    def key(self) -> VerifierKey:
        """The key the log is verified with."""
        return VerifierKey.parse(self.log)

    @property
    def serving(self) -> int:
        """How many traders are visited operators with a user each; the others only sell bundles nobody answers for."""
        return min(len(self.traders), self.count(Role.VISITED) + self.workers) if self.mix.get(Role.VISITED) else 0

    def count(self, role: Role) -> int:
        """How many users of a role there are when all are there."""
        weight = self.mix.get(role, 0)
        return max(1, round(self.users * weight / sum(self.mix.values()))) if weight else 0

    def client(self, key: Key | None = None, *, connections: int = 16) -> LedgerClient:
        """A connection to the ledger, as `key` or as nobody in particular."""
        return LedgerClient(
            self.url,
            log=self.key,
            signer=key.signer if key else None,
            operator=key.operator if key else "",
            connections=connections,
        )

    def users_at(self, share: float) -> int:
        """How many users there are at a share of the time, at least one."""
        (before, low), *rest = self.stages
        for after, high in rest:
            if share <= after:
                part = (share - before) / (after - before) if after > before else 1.0
                return max(1, round(self.users * (low + (high - low) * part)))
            before, low = after, high
        return max(1, round(self.users * low))

    def write(self, path: Path) -> None:
        """Write the plan for its owner's eyes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan. Raises PlanError."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise PlanError(
                f"the plan {path} cannot be read: {error.strerror}; copy it from the master's run folder"
            ) from None
        except msgspec.MsgspecError as error:
            raise PlanError(
                f"{path} is no plan of this version: {error}; make it again with `landfall load run`"
            ) from None


class _Shape(Struct, frozen=True, forbid_unknown_fields=True):
    stages: tuple[tuple[float, float], ...]


class Mixes(Struct, frozen=True, forbid_unknown_fields=True):
    """Mixes of roles, and shapes, by name."""

    mixes: dict[str, dict[Role, int]]
    shapes: dict[str, _Shape]

    @classmethod
    def read(cls, path: Path = MIXES_FILE) -> Self:
        """Read and check them. Raises PlanError."""
        try:
            found = msgspec.convert(tomllib.loads(path.read_text()), cls, strict=False)
        except OSError as error:
            raise PlanError(f"{path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise PlanError(f"{path}: {error}; roles are {', '.join(Role)}") from None
        for name, mix in found.mixes.items():
            if not mix or min(mix.values()) < 1:
                raise PlanError(f"{path}: the mix {name} is {dict(mix)}: it needs a role, and weights from 1")
        for name, shape in found.shapes.items():
            _check_stages(path, name, shape.stages)
        return found

    def mix(self, name: str) -> dict[Role, int]:
        """A mix by name. Raises PlanError."""
        return self.mixes[_pick(self.mixes, name, "mix")]

    def shape(self, name: str) -> tuple[tuple[float, float], ...]:
        """A shape's stages by name. Raises PlanError."""
        return self.shapes[_pick(self.shapes, name, "shape")].stages


def _check_stages(path: Path, name: str, stages: tuple[tuple[float, float], ...]) -> None:
    times = [time for time, _ in stages]
    if len(times) < 2 or times[0] != 0 or times[-1] != 1 or times != sorted(times):
        raise PlanError(f"{path}: the shape {name} has stages at {times}: they go up from 0.0 to 1.0")
    if any(not 0 <= share <= 1 for _, share in stages) or not any(share for _, share in stages):
        raise PlanError(f"{path}: the shape {name} has shares of users outside 0.0 to 1.0, or none above 0")


def _pick(known: Mapping[str, object], name: str, what: str) -> str:
    if name not in known:
        raise PlanError(f"there is no {what} {name!r}: take one of {', '.join(known)}, or write it into a --mixes file")
    return name
