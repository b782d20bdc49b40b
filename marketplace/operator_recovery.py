"""After a signing key was lost or stolen: the offline recovery key replaces or revokes keys, past the node's outbox.

    kid = await recover(settings, old_file, new_file)        # new signing key, new recovery key, all old ones ended
    await revoke(settings, kid, recovery_file)               # one key ends, the others stay

Both may be run again after a crash: the new keys are stored before they are sent, and what the ledger has taken already
is not sent twice. The node must be restarted afterwards, as it signs with the key it read when it started.
"""

from pathlib import Path

import msgspec

from landfall.errors import LandfallError
from landfall.keystore import Keystore
from landfall.settings import Settings
from marketplace.ledger_link.keys import OperatorKeys, make_recovery_key
from marketplace.operator_settings import KEYS_FOLDER, read_operator_settings
from marketplace.operator_setup import RecoveryFile, write_once
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient, Rejected
from settlement.ledger.envelope import Signer
from settlement.ledger.keys import from_base64url, prove_possession, to_base64url
from settlement.ledger.messages import Recover, RevokeKey
from settlement.ledger.note import VerifierKey


class RecoveryError(LandfallError):
    """The keys cannot be replaced; says why and what to do."""


async def recover(settings: Settings, recovery_file: Path, new_recovery_file: Path) -> str:
    """Replace every signing key and the recovery key; returns the new signing key's kid.

    Raises RecoveryError where a file is not this operator's or the ledger refuses.
    """
    own = read_operator_settings(settings.data_dir)
    recovery = _read(recovery_file, own.id)
    following = _make_following(settings, new_recovery_file, own.id)
    if following.public == recovery.public:
        raise RecoveryError(f"{new_recovery_file} is the old recovery file: name a new one")
    keys = OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))
    signer = keys.create_next_signer()
    async with _connect(settings, recovery) as ledger:
        if signer.kid not in {key.kid for key in await ledger.operator_keys(own.id)}:
            message = ledger.make(
                Recover,
                key=to_base64url(signer.public),
                proof=prove_possession(signer.key, ledger.origin, own.id),
                recovery_key=following.public,
            )
            try:
                await ledger.submit(message)
            except Rejected as rejected:
                raise RecoveryError(f"the ledger refuses to replace the keys of {own.id}: {rejected}") from None
    keys.promote(signer.kid)
    return signer.kid


async def revoke(settings: Settings, kid: str, recovery_file: Path) -> Receipt:
    """End one signing or sealing key at once, by the recovery key. Raises RecoveryError."""
    recovery = _read(recovery_file, read_operator_settings(settings.data_dir).id)
    async with _connect(settings, recovery) as ledger:
        try:
            return await ledger.submit(ledger.make(RevokeKey, kid=kid))
        except Rejected as rejected:
            raise RecoveryError(f"the ledger refuses to revoke {kid}: {rejected}") from None


def _make_following(settings: Settings, path: Path, operator: str) -> RecoveryFile:
    """The next recovery key, in its file before anybody hears of it; one that an interrupted run left is taken up."""
    if path.resolve().is_relative_to(settings.data_dir):
        raise RecoveryError(f"{path} lies in the data folder: name a place that is taken offline")
    seed, public = make_recovery_key()
    write_once(path, msgspec.json.encode(RecoveryFile(operator, to_base64url(seed), public)))
    return _read(path, operator)


def _connect(settings: Settings, recovery: RecoveryFile) -> LedgerClient:
    own = read_operator_settings(settings.data_dir)
    signer = Signer(from_base64url(recovery.seed.encode()))
    return LedgerClient(own.ledger.url, log=VerifierKey.parse(own.ledger.key), signer=signer, operator=own.id)


def _read(path: Path, operator: str) -> RecoveryFile:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RecoveryFile)
    except OSError as error:
        raise RecoveryError(f"{path} cannot be read ({error.strerror}): bring the offline medium") from None
    except msgspec.MsgspecError as error:
        raise RecoveryError(f"{path} is no recovery file: {error}") from None
    if found.operator != operator:
        raise RecoveryError(f"{path} is the recovery file of {found.operator}, this node is {operator}")
    return found
