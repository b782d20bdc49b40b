"""Key sets of a provisioning batch in a real node: dry run, again, refusals, and the cards they reach."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from typer.testing import CliRunner

from landfall.postgres import Server
from marketplace import operator_cli
from ota.scp80.key_management import check_value
from ota.scp80.parameters import CipherAlgorithm
from simulator.smsc import Faults
from tests.integration.ledger_world import LedgerWorld
from tests.integration.operator_world import NodeRefused
from tests.integration.ota_world import OtaWorld, open_ota
from tests.integration.test_operator_cli import staff_of


def rows_of(world: OtaWorld) -> list[list[str]]:
    head = ["ICCID", "KIC1", "KID1", "KIC3", "KID3", "MSISDN"]
    return [head] + [
        [iccid, keys.kic_key.hex(), keys.kid_key.hex(), "33" * 16, "44" * 16, f"+7999{number:07d}"]
        for number, (iccid, keys) in enumerate(zip(world.iccids, world.keys, strict=True))
    ]


def to_csv(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(",".join(row) for row in rows)


async def take(world: OtaWorld, text: str, **params: Any) -> Any:
    answer = await world.node.api.post(
        "/ota/keys/import", content=text, params=params, headers={"content-type": "text/csv"}
    )
    if answer.status_code >= 400:
        raise NodeRefused(answer)
    return answer.json()


async def test_a_batch_is_tried_taken_and_taken_again_and_its_cards_are_reached(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=3, smpp=Faults(), subscribers=False) as world:
        batch = rows_of(world)
        tried = await take(world, to_csv(batch), dry_run=True)
        assert (tried["added"], tried["known"], tried["dry_run"]) == (3, 0, True)
        assert (await take(world, to_csv(batch)))["added"] == 3
        again = await take(world, to_csv(batch))
        assert (again["added"], again["known"]) == (0, 3)
        kic = check_value(CipherAlgorithm.AES_CBC, world.keys[0].kic_key).hex()
        assert again["rows"][0]["kic"] == f"aes_cbc 128 •••• check {kic}"
        assert world.keys[0].kic_key.hex() not in str(again)

        job = await world.node.post("/ota/jobs", {"iccid": world.iccids[0], "commands": [{"do": "list-slots"}]})
        await world.node.wait(f"/ota/jobs/{job['id']}", lambda seen: seen["state"] == "proven")

        # The counter stands at one now, and stays.
        assert (await take(world, to_csv(batch)))["rows"][0]["counter"] == 1
        lowered = await take(world, to_csv(batch), counter=0)
        assert (lowered["refused"], lowered["known"]) == (1, 2)
        assert "never lowered" in lowered["rows"][0]["words"]
        assert (await take(world, to_csv(batch), counter=9))["raised"] == 3

        other = await take(world, to_csv(batch), key_index=3)
        assert other["refused"] == 3
        assert "another key set stands" in other["rows"][0]["words"]
        assert (await take(world, to_csv(batch), key_index=3, replace=True, dry_run=True))["replaced"] == 3
        assert (await take(world, to_csv(batch)))["known"] == 3
        with pytest.raises(NodeRefused, match="row 2, column KIC1"):
            await take(world, "ICCID,KIC1,KID1\n8970199000000000001,12,34")


async def test_an_engineer_imports_a_workbook_by_command(
    ledger: LedgerWorld, postgres_server: Server, tmp_path: Path
) -> None:
    async with open_ota(ledger, postgres_server, tmp_path, cards=2, subscribers=False) as world:
        staff = staff_of(world.node)
        book, path = Workbook(), tmp_path / "cards.xlsx"
        for row in rows_of(world):
            book.worksheets[0].append(row)
        book.save(path)
        told = await staff("ota", "keys", "import", str(path), "--dry-run", table=True)
        assert "Nothing was written" in told
        assert world.keys[0].kic_key.hex() not in told
        assert (await staff("ota", "keys", "import", str(path)))["added"] == 2
        refused = CliRunner().invoke(
            operator_cli.app,
            ["ota", "keys", "import", str(path), "--key-index", "3"],
            env={**world.node.environment, "COLUMNS": "240"},
        )
        assert refused.exit_code == 1
        assert "another key set stands" in refused.stdout
