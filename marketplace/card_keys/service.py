"""OTA key sets out of the files that cards are provisioned from (`landfall sim provision`), into the OTA platform.

The same file, the same columns, the same complaints: `simcard.provisioning_batch` reads it. Of a card with several key
sets the one with the lowest index is taken, or the one that is asked for. A MSISDN beside it is kept as the number the
card is reached under while no subscriber has it. Keys go to the database encrypted and are shown to nobody: algorithm
and key check value (GlobalPlatform) say which key is meant.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from marketplace.operator_database import Database, execute
from ota.key_import import Finding, KeyImport, Result
from ota.keysets import CardKeys
from ota.scp80.key_management import check_value
from ota.scp80.parameters import CipherAlgorithm
from simcard.personalisation import Personalisation
from simcard.provisioning_batch import read_batch

ROWS_TOLD: Final = 1000
"""Of 100,000 cards nobody reads each; those refused come first."""


class KeyRow(Struct, frozen=True, kw_only=True):
    """What became of a card's key set. `kic` and `kid` are algorithm and key check value, never the key."""

    iccid: str
    key_index: int
    kic: str
    kid: str
    counter: int
    result: Result
    words: str | None


class Imported(Struct, frozen=True, kw_only=True):
    """Cards by result; `without_keys` have none in the file. `rows` are the first thousand, refused ones before all."""

    dry_run: bool
    added: int
    known: int
    raised: int
    replaced: int
    refused: int
    without_keys: int
    rows: list[KeyRow]


class CardKeyImport:
    """Imports of key sets."""

    def __init__(self, database: Database, keys: KeyImport) -> None:
        self._database = database
        self._keys = keys

    async def take_file(
        self,
        content: bytes,
        *,
        name: str,
        key_index: int | None,
        counter: int | None,
        replace: bool,
        dry_run: bool,
    ) -> Imported:
        """Import a batch file's content; `name` ends in .csv or .xlsx. Raises `BatchError`, `ParameterError`."""
        batch = await asyncio.to_thread(_read, content, name)
        numbers = [(one.iccid, one.msisdn) for one in batch if one.ota and one.msisdn]
        cards = [card for one in batch if (card := _choose(one, key_index)) is not None]
        found = await self._keys.take(cards, counter=counter, replace=replace, dry_run=dry_run)
        if not dry_run:
            await self._note_numbers(numbers)
        told = sorted(zip(cards, found, strict=True), key=lambda pair: pair[1].result is not Result.REFUSED)
        counts = Counter(finding.result.value for finding in found)
        return Imported(
            dry_run=dry_run,
            without_keys=len(batch) - len(cards),
            rows=[_row(card, finding) for card, finding in told[:ROWS_TOLD]],
            **{result.value: counts[result.value] for result in Result},
        )

    async def _note_numbers(self, numbers: Sequence[tuple[str, str | None]]) -> None:
        async with self._database.begin() as connection:
            await execute(
                connection,
                "INSERT INTO card_numbers (iccid, msisdn)"
                " SELECT * FROM unnest(CAST(:iccids AS text[]), CAST(:msisdns AS text[]))"
                " ON CONFLICT (iccid) DO UPDATE SET msisdn = excluded.msisdn",
                iccids=[iccid for iccid, _ in numbers],
                msisdns=[msisdn for _, msisdn in numbers],
            )


def _read(content: bytes, name: str) -> list[Personalisation]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        return read_batch(path)


def _choose(one: Personalisation, key_index: int | None) -> CardKeys | None:
    sets = {keys.kic.key_index: keys for keys in one.ota}
    chosen = sets.get(min(sets, default=0) if key_index is None else key_index)
    return None if chosen is None else CardKeys(iccid=one.iccid, keys=chosen)


def _row(card: CardKeys, finding: Finding) -> KeyRow:
    keys = card.keys
    return KeyRow(
        iccid=card.iccid,
        key_index=card.key_index,
        kic=_mask(keys.kic.algorithm, keys.kic_key),
        kid=_mask(keys.kid.algorithm, keys.kid_key),
        counter=finding.counter,
        result=finding.result,
        words=finding.words,
    )


def _mask(nibble: int, key: bytes) -> str:
    algorithm = CipherAlgorithm(nibble)
    return f"{algorithm.word} {8 * len(key)} •••• check {check_value(algorithm, key).hex()}"
