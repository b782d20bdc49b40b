"""Provision many cards, one after another, so that an interruption costs nothing but the card under way.

    run = BatchRun(cards, Journal(Path("cards.csv.journal")))
    for outcome in run.through_folder(Path("cards")): …          # software cards, made where they are not yet
    for outcome in run.through_reader(LinkOptions(…)): …         # cards put into a reader, in any order

Each card's outcome is in the journal, on disk, before the next is begun; what is done is passed over when the batch is
run again, what failed is done again. An ADM or PIN that was refused is not: its card is passed over until it is named,
and the batch stops there, because a file whose columns have slipped would cost every card a try. No keys are noted.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from landfall.errors import LandfallError
from simcard.personalisation import Personalisation
from simcard.provisioning import (
    AdmRefusedError,
    CardOutcome,
    ProvisioningError,
    check_keys,
    provision_card,
    read_iccid,
)
from simcard.readers import Link, LinkOptions, MemoryLink, open_link
from simcard.readers.options import CARD_WAIT_S
from simcard.reading import CodeRefusedError
from simcard.uicc import CardFolder, open_card, personalise

DONE = ("provisioned", "made")
DONE_ALREADY = "done already"
REFUSED, TRYING, FAILED = "code refused", "trying", "failed"
BATCH_WAIT_S = 300.0


class Entry(msgspec.Struct, frozen=True):
    """A line of the journal; `digest` is of what the card was to carry, without its ADM."""

    iccid: str
    result: str
    digest: str
    time_s: int
    adm_tries: int | None = None
    error: str | None = None


class Journal:
    """The last word on each card of a batch. Without a path it forgets."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._last: dict[str, Entry] = {}
        if path is None or not path.exists():
            return
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], 1):  # what follows the last newline was torn off by a fault
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.DecodeError as error:
                raise LandfallError(f"{path}, line {number}: no journal of ours ({error}); name another") from None
            self._last[entry.iccid] = entry
        if lines[-1]:
            os.truncate(path, sum(len(line) + 1 for line in lines[:-1]))

    def last(self, iccid: str) -> Entry | None:
        """The last entry of that card."""
        return self._last.get(iccid)

    def add(self, entry: Entry) -> None:
        """Append, and return when it is on disk."""
        self._last[entry.iccid] = entry
        if self._path is None:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(entry) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class BatchRun:
    """One pass over `cards`. `again` names ICCIDs whose refused ADM is to be tried once more; `tell` hears progress."""

    def __init__(
        self,
        cards: Iterable[Personalisation],
        journal: Journal,
        *,
        pin: str | None = None,
        dry_run: bool = False,
        last_try: bool = False,
        show_keys: bool = False,
        again: Iterable[str] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._journal = Journal() if dry_run else journal
        self._pin, self._dry_run, self._last_try, self._show_keys = pin, dry_run, last_try, show_keys
        self._again, self._tell = frozenset(again), tell
        self.cards = list(cards)
        self.passed_over = {card.iccid: why for card in self.cards if (why := self._why_not(card, journal))}
        self.waiting = {card.iccid: card for card in self.cards if card.iccid not in self.passed_over}

    def through_folder(self, folder: Path) -> Iterator[CardOutcome]:
        """Every waiting card as a software card in `folder`/ICCID; one that is not there is made."""
        for card in list(self.waiting.values()):
            home = folder / card.iccid
            if (home / "card.json").exists():
                with CardFolder(home) as store:
                    link = MemoryLink(open_card(store))
                    link.connect()
                    outcome = self.provision(link, card)
            else:
                outcome = self._note(card, partial(self._make, card, home))
            yield outcome
            if outcome.result == REFUSED:
                return

    def through_reader(self, where: LinkOptions, *, wait_s: float = BATCH_WAIT_S) -> Iterator[CardOutcome]:
        """Every waiting card as it is put into the reader, whichever comes; ends when none waits.

        `LinkError` when none came in `wait_s`. A card that is not in the batch is told and left alone.
        """
        first = True
        while self.waiting:
            self._tell(f"{len(self.waiting)} to go; put a card in")
            with open_link(where, wait_s=CARD_WAIT_S if first else wait_s, new_card=not first) as link:
                first = False
                try:
                    link.reset_card()
                    iccid = read_iccid(link)
                except LandfallError as error:
                    self._tell(str(error))
                    continue
                if (card := self.waiting.get(iccid)) is None:
                    self._tell(f"card {iccid} is not one of those waiting: {self.passed_over.get(iccid, 'unknown')}")
                    continue
                outcome = self.provision(link, card)
            yield outcome
            if outcome.result == REFUSED:
                return

    def provision(self, link: Link, card: Personalisation) -> CardOutcome:
        """One card that is there; what goes wrong with it is in the outcome and the journal."""

        def before_verify(kind: str, tries: int | None) -> None:
            left = "does not tell" if tries is None else tries
            self._tell(f"card {card.iccid}: {kind}, tries of the ADM left: {left}")
            before = self._journal.last(card.iccid)
            cut_off = before is not None and before.result == TRYING and card.iccid not in self._again
            # The last run ended between VERIFY and its answer's being noted; fewer tries mean that it was refused.
            if before and cut_off and (tries is None or (before.adm_tries or 0) > tries):
                raise AdmRefusedError(f"card {card.iccid} may have refused this ADM when the last run was cut off")
            self._journal.add(self._entry(card, TRYING, tries))

        return self._note(
            card,
            lambda: provision_card(
                link,
                card,
                pin=self._pin,
                dry_run=self._dry_run,
                last_try=self._last_try,
                show_keys=self._show_keys,
                before_verify=before_verify,
            ),
        )

    def _make(self, card: Personalisation, home: Path) -> CardOutcome:
        if card.adm is None:
            raise ProvisioningError(f"card {card.iccid} cannot be made without an ADM")
        profile = card.to_home_profile()
        if self._dry_run:
            return CardOutcome(card.iccid, card.imsi, "landfall", "dry run", None, "not asked", [])
        with CardFolder(home) as store:
            link = MemoryLink(personalise(iccid=card.iccid, home=profile, ota=card.ota, adm=card.adm, store=store))
            link.connect()
            keys = check_keys(link, card)
        return CardOutcome(card.iccid, card.imsi, "landfall", "made", None, keys, [])

    def _note(self, card: Personalisation, do: Callable[[], CardOutcome]) -> CardOutcome:
        try:
            outcome = do()
        except (LandfallError, OSError) as error:
            result = REFUSED if isinstance(error, CodeRefusedError) else FAILED
            outcome = CardOutcome(card.iccid, card.imsi, "", result, None, "not asked", [], str(error))
        self._journal.add(self._entry(card, outcome.result, outcome.adm_tries, outcome.error))
        if outcome.ok or outcome.result == REFUSED:
            self.waiting.pop(card.iccid, None)
        return outcome

    def _why_not(self, card: Personalisation, journal: Journal) -> str | None:
        entry = journal.last(card.iccid)
        if entry is None:
            return None
        if entry.result in DONE and entry.digest == _digest(card):
            return DONE_ALREADY
        if entry.result == REFUSED and card.iccid not in self._again:
            return "it refused its ADM or PIN; correct it, then say --adm-again with the ICCID"
        return None

    def _entry(self, card: Personalisation, result: str, tries: int | None, error: str | None = None) -> Entry:
        return Entry(card.iccid, result, _digest(card), int(time.time()), tries, error)


def _digest(card: Personalisation) -> str:
    """Of what is written. Not of the ADM: eight digits are soon found from their digest."""
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(card, adm=None))).hexdigest()[:16]
