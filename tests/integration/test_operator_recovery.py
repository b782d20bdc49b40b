"""A stolen signing key is worth nothing after the offline recovery key has spoken, and the operator goes on."""

from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from landfall.keystore import Keystore
from landfall.settings import Settings
from marketplace.ledger_link.keys import OperatorKeys
from marketplace.operator_recovery import RecoveryError, recover, revoke
from marketplace.operator_settings import KEYS_FOLDER
from marketplace.operator_setup import initialise
from settlement.ledger.client import Rejected
from settlement.ledger.envelope import Signer
from settlement.ledger.messages import Admit, Redeem
from tests.integration.ledger_world import LedgerWorld


class Operator:
    """An operator's folder as `landfall operator init` makes it, admitted to the ledger."""

    def __init__(self, ledger: LedgerWorld, folder: Path, name: str) -> None:
        self.ledger, self.id = ledger, name
        self.settings: Settings = msgspec.structs.replace(ledger.settings, data_dir=folder / name)
        self.recovery_file = folder / f"{name}-recovery.json"
        example = (files("marketplace") / "examples" / "operator.toml").read_text()
        head, _, _ = example.partition("[ledger]")
        head = head.replace(head.split('id = "')[1].split('"')[0], name, 1)
        configuration = f'{head}[ledger]\nurl = "{ledger.url}"\nkey = "{ledger.log}"\n'
        self.party = initialise(self.settings, configuration, self.recovery_file)

    @property
    def signer(self) -> Signer:
        """The signing key the node would start with now."""
        kek = self.settings.require_kek()
        return OperatorKeys(Keystore.open(self.settings.data_dir / KEYS_FOLDER, kek)).signer()

    async def sign_something(self, signer: Signer) -> str:
        """The ledger's answer to an envelope by this key: the code that says how far it came."""
        async with self.ledger.client(self.id, signer) as client:
            with pytest.raises(Rejected) as refused:
                await client.submit(client.make(Redeem, amount=1, payout="nowhere"))
            return refused.value.rejection.code


@pytest.fixture
async def operator(ledger: LedgerWorld, tmp_path: Path) -> Operator:
    operator = Operator(ledger, tmp_path, f"lost-{tmp_path.name[-8:].replace('_', '-').strip('-')}-x")
    async with ledger.issuer_client() as issuer:
        await issuer.submit(issuer.make(Admit, party=operator.party))
    return operator


async def test_after_recovery_only_the_new_key_signs(operator: Operator, tmp_path: Path) -> None:
    stolen = operator.signer
    assert await operator.sign_something(stolen) == "insufficient-funds"
    kid = await recover(operator.settings, operator.recovery_file, tmp_path / "new.json")
    assert operator.signer.kid == kid != stolen.kid
    assert await operator.sign_something(stolen) == "key-not-valid"
    assert await operator.sign_something(operator.signer) == "insufficient-funds"


async def test_recovery_may_be_run_again_and_the_old_recovery_key_has_ended(operator: Operator, tmp_path: Path) -> None:
    new = tmp_path / "new.json"
    first = await recover(operator.settings, operator.recovery_file, new)
    with pytest.raises(RecoveryError, match="key-not-valid"):
        await recover(operator.settings, operator.recovery_file, tmp_path / "newer.json")
    assert await recover(operator.settings, new, tmp_path / "newest.json") != first


async def test_one_key_can_be_revoked_by_the_recovery_key(operator: Operator) -> None:
    signer = operator.signer
    await revoke(operator.settings, signer.kid, operator.recovery_file)
    assert await operator.sign_something(signer) == "key-not-valid"


async def test_another_operators_recovery_file_is_refused_by_name(operator: Operator, tmp_path: Path) -> None:
    other = Operator(operator.ledger, tmp_path, "somebody-else")
    with pytest.raises(RecoveryError, match="recovery file of somebody-else"):
        await recover(operator.settings, other.recovery_file, tmp_path / "new.json")
