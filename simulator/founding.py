"""The founding of a simulation's site: databases, the ledger's first entry, the nodes' folders, keys and settings.

    parties = find_or_found(site)           # who the issuer is to admit; a later run finds it in the folder
    clear_unfinished(site)                  # a founding that was broken off is begun anew; the keys stay

Whoever has a node gets what an operator gets that sets one up itself; the others are keys in the run's folder.
"""

import hashlib
import shutil
from csv import DictReader
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from landfall.keystore import Keystore
from landfall.postgres import ensure_server
from landfall.settings import read_settings
from marketplace import ledger_setup, operator_setup
from marketplace.ledger_link.keys import OperatorKeys, make_party
from marketplace.operator_settings import KEYS_FOLDER
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import Parameters, Party, Role
from simulator.processes import HOST
from simulator.world import Operator

if TYPE_CHECKING:
    from simulator.site import Site

ORIGIN: Final = "ledger.landfall.example/simulated"
ISSUER: Final = "sdrt-issuer"
AUDITOR: Final = "open-audit"
VKEY_FILE: Final = "origin.vkey"
DIGEST_INTERVAL: Final = 500
"""Entries between two digests of the state: a short run has some, a long one is not slowed by them."""


def clear_unfinished(site: "Site") -> None:
    """Remove what a founding that was not finished left behind; the keys stay."""
    if (site.folder / "data" / "postgres" / "postmaster.pid").exists():
        ensure_server(site.folder / "data").stop()
    for name in ("data", "logs", "private/recovery", "private/parties.json"):
        path = site.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def find_or_found(site: "Site") -> dict[str, Party]:
    """Databases, the ledger's first entry, the operators' folders and keys; who is to be admitted."""
    kept = site.folder / "private" / "parties.json"
    if kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=dict[str, Party])
    for name in ("ledger", *(operator.id for operator in site.world.nodes)):
        site.server.create_database(name)
    issuer = _party(site, ISSUER, "SDRt Issuer", "CH", "issuer", "issuer")
    parameters = Parameters(digest_interval=DIGEST_INTERVAL)
    vkey = ledger_setup.initialise(read_settings(site.settings("ledger")), ORIGIN, issuer, parameters)
    (site.folder / VKEY_FILE).write_text(f"{vkey}\n")
    (site.folder / "private" / "recovery").mkdir(mode=0o700, exist_ok=True)
    _write_rates(site.folder / "rates.csv")
    parties = {AUDITOR: describe_auditor(site, AUDITOR)}
    for operator in site.world.operators:
        has_node = operator.has_node
        parties[operator.id] = _enrol(site, operator, str(vkey)) if has_node else describe_operator(site, operator)
    kept.write_bytes(msgspec.json.encode(parties))
    return parties


def _party(site: "Site", operator: str, name: str, country: str, role: Role, seed: str) -> Party:
    return Party(
        id=operator,
        name=name,
        country=country,
        role=role,
        key=to_base64url(Signer(site.keys.seeds[seed]).public),
        recovery_key=_recovery_key(site, operator),
    )


def describe_auditor(site: "Site", name: str) -> Party:
    """The auditor as it is to be admitted, under this id."""
    return _party(site, name, "Open Audit", "SE", "auditor", "auditor")


def _recovery_key(site: "Site", party: str) -> str:
    """A party's public recovery key; the private one is in no safe, but in the run's folder."""
    seed = hashlib.blake2b(party.encode(), key=site.keys.seeds["recovery"], digest_size=32).digest()
    return to_base64url(Signer(seed).public)


def describe_operator(site: "Site", operator: Operator) -> Party:
    """An operator without a node: its systems use the SDK."""
    return make_party(
        Signer(site.keys.seeds[operator.id]),
        recovery_public=_recovery_key(site, operator.id),
        operator=operator.id,
        name=operator.plan.name,
        country=operator.country.iso,
        tadig=operator.tadig,
        plmns=(operator.plmn,),
    )


def _enrol(site: "Site", operator: Operator, vkey: str) -> Party:
    """Make a node's folder: its settings, its keys, and the secrets it shares with its own surroundings."""
    settings = read_settings(site.settings(operator.id))
    recovery = site.folder / "private" / "recovery" / f"{operator.id}.json"
    party = operator_setup.initialise(settings, _describe(site, operator, vkey), recovery)
    keys = open_operator_keys(site, operator)
    keys.put_secret("carrier", site.keys.passwords[operator.id].encode())
    keys.put_secret(f"network-{operator.plmn}", site.keys.network_secrets[operator.id].encode())
    keys.put_secret(f"webhook-{operator.plmn}", site.keys.webhook_secrets[operator.id].encode())
    return party


def open_operator_keys(site: "Site", operator: Operator) -> OperatorKeys:
    """The keys in a node's folder."""
    settings = read_settings(site.settings(operator.id))
    return OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))


def _describe(site: "Site", operator: Operator, vkey: str) -> str:
    """The node's operator.toml."""
    return f"""id = "{operator.id}"
name = "{operator.plan.name}"
country = "{operator.country.iso}"
currency = "{operator.country.currency}"
tadig = "{operator.tadig}"
plmns = ["{operator.plmn}"]
rates = "{site.folder / "rates.csv"}"
[ledger]
url = "{site.ledger_url}"
key = "{vkey}"
[carrier]
url = "smpp://{operator.id[:15]}@{HOST}:{site.keys.ports["smsc"]}"
sender = "{ota_address(operator)}"
[[networks]]
plmn = "{operator.plmn}"
url = "{site.url("field")}"
spn = "{operator.plan.name[:16]}"
smsc = "+{operator.country.calling}000000"
"""


def _write_rates(path: Path) -> None:
    """Sample rates of every currency there is, dated today: the nodes value their packages by them."""
    text = (files("simulator") / "data" / "currencies.csv").read_text(encoding="utf-8")
    rows = DictReader(line for line in text.splitlines() if not line.startswith("#"))
    day = datetime.now(UTC).date().isoformat()
    lines = [f"{day},{row['currency']},{row['units_per_usd']}" for row in rows]
    path.write_text("\n".join(["date,currency,units_per_usd", *lines]) + "\n")


def ota_address(operator: Operator) -> str:
    """The short code of a home operator's OTA platform: where its cards report to."""
    return f"7{operator.plmn}"
