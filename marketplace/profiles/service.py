"""The pool: import, assign, activate, quarantine.

Rows come by CSV with a header: `imsi,k,opc,msisdn` and optionally `iccid,acc`; keys in hex, MSISDN in E.164, ACC in
hex (by default the one bit of the IMSI's last digit, TS 22.011 §4.2). K and OPc are stored encrypted and bound to
their IMSI; a keyed mark of each K stays for ever, so that none is taken in, hence issued, twice.
"""

import csv
import io
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from marketplace.ledger_link.keys import OperatorKeys
from marketplace.ledger_link.outbox import now_ms
from marketplace.operator_database import execute, fetch, fetch_one
from marketplace.operator_problems import Refusal
from marketplace.operator_settings import NetworkSettings, OperatorSettings
from ota.profile import MobileProfile
from settlement.ledger.messages import Terms

COLUMNS: Final = ("imsi", "k", "opc", "msisdn")
MAX_ROWS: Final = 100_000
"""Rows of one import: a card manufacturer's batch, some 15 MB."""


class ProfileRow(Struct, frozen=True):
    """A profile of the pool, without its keys."""

    id: int
    imsi: str
    msisdn: str
    iccid: str | None
    acc: int
    state: str
    request: UUID | None
    sent: bool
    since_ms: int


class _Sealed(ProfileRow, frozen=True):
    keys: bytes = b""


class _Keys(Struct, frozen=True):
    k: bytes
    opc: bytes


class Imported(Struct, frozen=True):
    """How many rows an import brought, and how many IMSIs or Ks were there before and stay as they were."""

    imported: int
    known: int


class ProfilePool:
    """The mobile profiles of this operator's networks."""

    def __init__(self, settings: OperatorSettings, keys: OperatorKeys) -> None:
        self._settings = settings
        self._keys = keys

    async def import_csv(self, connection: AsyncConnection, text: str) -> Imported:
        """Take rows into the pool. Raises Refusal `invalid`, naming line and column, never a value."""
        rows = csv.DictReader(io.StringIO(text))
        if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
            raise Refusal("invalid", f"the header lacks {', '.join(missing)}: it is imsi,k,opc,msisdn[,iccid,acc]")
        imported = count = 0
        for count, row in enumerate(rows, start=1):
            if count > MAX_ROWS:
                raise Refusal("invalid", f"more than {MAX_ROWS} rows: split the file")
            try:
                imported += await self._insert(connection, row)
            except (ValueError, TypeError, KeyError) as error:
                raise Refusal("invalid", f"line {count + 1}: {_harmless(error)}") from None
        return Imported(imported, count - imported)

    async def _insert(self, connection: AsyncConnection, row: dict[str, str]) -> int:
        imsi = row["imsi"].strip()
        network = next((one for one in self._settings.networks if imsi.startswith(one.plmn)), None)
        if network is None:
            raise Refusal("invalid", "the IMSI belongs to none of the networks in operator.toml")
        k, opc = bytes.fromhex(row["k"]), bytes.fromhex(row["opc"])
        acc = int(row["acc"], 16) if row.get("acc") else 1 << int(imsi[-1])
        profile = MobileProfile(
            imsi=imsi,
            k=k,
            opc=opc,
            plmn=network.plmn,
            spn=network.spn,
            acc=acc,
            smsc=network.smsc,
            coverage=(),
            msisdn=row["msisdn"].strip(),
            iccid=row.get("iccid") or None,
        )
        return await execute(
            connection,
            "INSERT INTO profiles (imsi, mark, keys, msisdn, iccid, acc, since_ms)"
            " VALUES (:imsi, :mark, :keys, :msisdn, :iccid, :acc, :now) ON CONFLICT DO NOTHING",
            imsi=imsi,
            mark=self._keys.mark(k),
            keys=self._keys.encrypt(msgspec.msgpack.encode(_Keys(k, opc)), imsi.encode()),
            msisdn=profile.msisdn,
            iccid=profile.iccid,
            acc=acc,
            now=now_ms(),
        )

    async def assign(self, connection: AsyncConnection, request: UUID, terms: Terms) -> MobileProfile | None:
        """The profile of a request: the one it has, or a free one from now on its own; None where none is free."""
        row = await fetch_one(connection, _Sealed, "SELECT * FROM profiles WHERE request = :request", request=request)
        if row is None:
            row = await fetch_one(
                connection,
                _Sealed,
                "UPDATE profiles SET state = 'assigned', request = :request, since_ms = :now WHERE id ="
                " (SELECT id FROM profiles WHERE state = 'free' AND imsi ^@ :plmn ORDER BY id LIMIT 1"
                " FOR UPDATE SKIP LOCKED) RETURNING *",
                request=request,
                plmn=self._choose_network(terms).plmn,
                now=now_ms(),
            )
        if row is None:
            return None
        network = self.network_of(row.imsi)
        secret = msgspec.msgpack.decode(self._keys.decrypt(row.keys, row.imsi.encode()), type=_Keys)
        return MobileProfile(
            imsi=row.imsi,
            k=secret.k,
            opc=secret.opc,
            plmn=network.plmn,
            spn=network.spn,
            acc=row.acc,
            smsc=network.smsc,
            coverage=_coverage(network, terms),
            msisdn=row.msisdn,
            iccid=row.iccid,
        )

    def network_of(self, imsi: str) -> NetworkSettings:
        """The own network an IMSI belongs to."""
        network = next((one for one in self._settings.networks if imsi.startswith(one.plmn)), None)
        if network is None:
            raise Refusal("invalid", "a profile's network is no longer in operator.toml: put it back")
        return network

    def _choose_network(self, terms: Terms) -> NetworkSettings:
        if not self._settings.networks:
            raise Refusal("invalid", "operator.toml names no network, so there are no profiles to give")
        return next((one for one in self._settings.networks if one.plmn in terms.plmns), self._settings.networks[0])

    async def mark_sent(self, connection: AsyncConnection, request: UUID) -> bool:
        """From now on somebody else may know the keys; False where the request has no profile any more."""
        sql = "UPDATE profiles SET sent = true WHERE request = :request AND state = 'assigned'"
        return await execute(connection, sql, request=request) == 1

    async def find_by_imsi(self, connection: AsyncConnection, imsi: str) -> ProfileRow | None:
        """The profile that bears an IMSI."""
        return await fetch_one(connection, ProfileRow, "SELECT * FROM profiles WHERE imsi = :imsi", imsi=imsi)

    async def find_by_request(self, connection: AsyncConnection, request: UUID) -> ProfileRow | None:
        """The profile that serves, or served, a request."""
        return await fetch_one(connection, ProfileRow, "SELECT * FROM profiles WHERE request = :r", r=request)

    async def set_active(self, connection: AsyncConnection, profile: int) -> None:
        """The profile has registered for the first time."""
        await self._move(connection, profile, "active")

    async def quarantine(self, connection: AsyncConnection, profile: int) -> None:
        """The profile's life has ended: neither its IMSI nor its K is issued again."""
        await self._move(connection, profile, "quarantined")

    async def give_back(self, connection: AsyncConnection, profile: int) -> bool:
        """A profile that never left this node is free again; False where it has left."""
        sql = "UPDATE profiles SET state = 'free', request = NULL, since_ms = :now WHERE id = :id AND NOT sent"
        return await execute(connection, sql, id=profile, now=now_ms()) == 1

    async def list(self, connection: AsyncConnection, state: str | None) -> list[ProfileRow]:
        """The pool, in order of import."""
        sql = "SELECT * FROM profiles WHERE CAST(:state AS text) IS NULL OR state = :state ORDER BY id"
        return await fetch(connection, ProfileRow, sql, state=state)

    async def _move(self, connection: AsyncConnection, profile: int, state: str) -> None:
        sql = "UPDATE profiles SET state = :state, since_ms = :now WHERE id = :id"
        await execute(connection, sql, id=profile, state=state, now=now_ms())


def _coverage(network: NetworkSettings, terms: Terms) -> tuple[str, ...]:
    """Where the card is to try this profile: the offer's PLMNs first, then what the network says, or its country."""
    return tuple(dict.fromkeys((network.plmn, *terms.plmns, *(network.coverage or (network.plmn[:3],)))))


def _harmless(error: Exception) -> str:
    """An error's text, unless it may repeat the value it stumbled over."""
    return str(error) if type(error).__module__.startswith(("ota", "marketplace")) else "a value is missing or no hex"
