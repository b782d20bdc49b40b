"""`landfall operator init`: a node's folder made ready, and what the issuer needs to admit the operator.

    party = initialise(settings, operator_toml, recovery_file)

writes `operator.toml`, the keystore with signing and sealing key, the staff token (mode 0600) and, elsewhere, the
recovery key's file, which is to be taken offline and is not kept here. Done again it changes nothing but operator.toml.
"""

import os
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from landfall.errors import LandfallError
from landfall.keystore import Keystore
from landfall.settings import Settings
from marketplace.ledger_link.keys import OperatorKeys, make_party, make_recovery_key
from marketplace.operator_settings import FILE, KEYS_FOLDER, TOKEN_FILE, parse_operator_settings
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import Party

PARTY_FILE = "party.json"


class SetupError(LandfallError):
    """The folder cannot be made ready; says why and what to do."""


class RecoveryFile(Struct, frozen=True):
    """The offline file: whoever has it can replace the operator's keys (message `recover`)."""

    operator: str
    seed: str
    public: str

    def __repr__(self) -> str:
        return f"RecoveryFile({self.operator})"


def initialise(settings: Settings, configuration: str, recovery_file: Path) -> Party:
    """Make the folder ready; `configuration` is operator.toml's text. Raises SetupError, SettingsError."""
    own = parse_operator_settings(configuration, "the configuration")
    if recovery_file.resolve().is_relative_to(settings.data_dir):
        raise SetupError(
            f"{recovery_file} lies in the data folder: name a place that is taken offline, such as a stick"
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    keys.create()
    (settings.data_dir / FILE).write_text(configuration, encoding="utf-8")
    write_once(settings.data_dir / TOKEN_FILE, secrets.token_urlsafe(32).encode())
    party_file = settings.data_dir / PARTY_FILE
    if not party_file.exists():
        seed, public = make_recovery_key()
        kept = RecoveryFile(own.id, to_base64url(seed), public)
        if not write_once(recovery_file, msgspec.json.encode(kept)):
            raise SetupError(f"{recovery_file} is there already and may be another operator's: name a new file")
        party = make_party(
            keys.signer(),
            recovery_public=public,
            operator=own.id,
            name=own.name,
            country=own.country,
            tadig=own.tadig,
            plmns=own.plmns,
        )
        write_once(party_file, msgspec.json.encode(party))
    return msgspec.json.decode(party_file.read_bytes(), type=Party)


def write_once(path: Path, content: bytes) -> bool:
    """Write a file of mode 0600 where there is none; False where there is one, which stays."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return True
