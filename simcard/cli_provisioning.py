"""`landfall sim provision` and `landfall sim verify`: one card from options, or a batch from a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from simcard.cli_link import bundle, on_card
from simcard.personalisation import Personalisation
from simcard.provisioning import CardOutcome, read_iccid, verify_card
from simcard.provisioning_batch import BatchError, card_from_values, read_batch
from simcard.provisioning_network import NetworkFormat, tell_network
from simcard.provisioning_run import BATCH_WAIT_S, DONE_ALREADY, REFUSED, BatchRun, Journal
from simcard.readers import LinkError, LinkOptions, open_link
from simcard.uicc.algorithms import ALGORITHMS

PANEL = "What the card is to carry"
BATCH_SUFFIXES = ".csv, .tsv or .xlsx"


class Wanted(msgspec.Struct, frozen=True):
    """What the options say of one card, as text by column, or the batch that says it of many."""

    batch: Path | None
    values: dict[str, str]

    def __repr__(self) -> str:
        return f"Wanted(batch={self.batch!r}, …)"


def _wanted(batch: Path | None, **values: str | None) -> Wanted:
    given = {name.upper(): value for name, value in values.items() if value}
    if batch is not None and given:
        name = next(iter(given))
        raise BatchError(f"--batch and --{name.lower()} (or SIM_{name}) exclude each other: the file says it all")
    if batch is None and not given:
        raise BatchError("nothing is said of the card; give --imsi, --k … or --batch FILE (see --help)")
    return Wanted(batch, given)


def _value(told: str, *, envvar: str | None = None) -> tuple[Any, None]:
    option = typer.Option(help=told, show_default=False, envvar=envvar, rich_help_panel=PANEL)
    return Annotated[str | None, option], None


of_cards = bundle(
    "wanted",
    _wanted,
    {
        "batch": (
            Annotated[
                Path | None,
                typer.Option(help=f"{BATCH_SUFFIXES}: a card a row.", show_default=False, rich_help_panel=PANEL),
            ],
            None,
        ),
        "iccid": _value("The card that is meant; another one is refused."),
        "imsi": _value("6 to 15 digits."),
        "plmn": _value("MCC and MNC: 25099. Sets the MNC's length and the home network."),
        "algorithm": _value(f"{', '.join(ALGORITHMS)}; milenage when left out."),
        "k": _value("K, 32 hex digits (TUAK: or 64).", envvar="SIM_K"),
        "opc": _value("OPc, 32 hex digits; TUAK's TOPc, 64; COMP128 and XOR have none.", envvar="SIM_OPC"),
        "op": _value("OP or TOP, from which it is made.", envvar="SIM_OP"),
        "adm": _value("ADM1: 4 to 8 digits, or 16 hex digits.", envvar="SIM_ADM"),
        "acc": _value("EF.ACC, 4 hex digits; from the IMSI when left out."),
        "msisdn": _value("Number, international: +79991234567."),
        "smsc": _value("Service centre, international."),
        "spn": _value("Service provider name."),
    },
)

PinOption = Annotated[str | None, typer.Option(help="PIN, when the card asks for one.", envvar="SIM_PIN")]
ShowKeys = Annotated[bool, typer.Option("--show-keys", help="Print K and OPc instead of ••••.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@on_card
@of_cards
def provision(
    wanted: Wanted,
    where: LinkOptions,
    pin: PinOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read only; say what would be written.")] = False,
    last_try: Annotated[bool, typer.Option("--last-try", help="Use the ADM although one try is left.")] = False,
    adm_again: Annotated[
        list[str] | None, typer.Option(help="ICCID of a card whose refused ADM was corrected in the batch.")
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="Where to resume; FILE.journal when left out.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the next card.", min=1)] = BATCH_WAIT_S,
    network: Annotated[NetworkFormat | None, typer.Option(help="Tell the network too, in this form.")] = None,
    network_file: Annotated[Path | None, typer.Option(help="Where to; holds keys in clear, mode 0600.")] = None,
    show_keys: ShowKeys = False,
    as_json: AsJson = False,
) -> None:
    """Write a card and read it back, or a whole batch card by card.

    The tries left of the ADM are shown before it is used; a wrong ADM is never tried again. Give keys in the
    environment (SIM_K, SIM_OPC, SIM_ADM) or in a batch, not on the command line, where others can see them.

    With --batch and a reader, put the cards in one after another, in any order: each is known by its ICCID. With
    --batch and --card FOLDER, software cards are made in FOLDER/ICCID. An interrupted batch goes on when run again.
    """
    if (network is None) != (network_file is None):
        raise LandfallError("--network and --network-file go together: the form, and the file it is written to")
    if wanted.batch is None:
        cards = [_single(wanted, where)]
        notes = Journal()
    else:
        cards = read_batch(wanted.batch)
        notes = Journal(journal or wanted.batch.with_name(wanted.batch.name + ".journal"))
    if network is not None:
        tell_network(cards, network)  # what the network cannot be told is said before a card is touched
    run = BatchRun(
        cards,
        notes,
        pin=pin,
        dry_run=dry_run,
        last_try=last_try,
        show_keys=show_keys,
        again=adm_again or (),
        tell=_tell,
    )
    if done := sum(why == DONE_ALREADY for why in run.passed_over.values()):
        _tell(f"done already, and passed over: {done} of {len(run.cards)} cards")
    for iccid, why in run.passed_over.items():
        if why != DONE_ALREADY:
            _tell(f"card {iccid} is passed over: {why}")
    outcomes = _run(run, wanted, where, wait)
    if network is not None and network_file is not None and not dry_run:
        _write_network(run, outcomes, network, network_file)
    _report(outcomes, as_json=as_json)
    if run.waiting or any(why != DONE_ALREADY for why in run.passed_over.values()):
        raise typer.Exit(1)


@on_card
@of_cards
def verify(
    wanted: Wanted,
    where: LinkOptions,
    pin: PinOption = None,
    show_keys: ShowKeys = False,
    as_json: AsJson = False,
) -> None:
    """Compare a card, or every software card of a batch, with what it should carry; nothing is written.

    Needs no ADM. K and OPc are proved by a challenge in 2G context, which moves no counter.
    """
    if wanted.batch is None:
        pairs = [(where, _single(wanted, where))]
    elif where.card is not None:
        pairs = [(LinkOptions(card=where.card / card.iccid), card) for card in read_batch(wanted.batch)]
    else:
        found = _iccid(where)
        pairs = [(where, card) for card in read_batch(wanted.batch) if card.iccid == found]
        if not pairs:
            raise LandfallError(f"card {found} is not in {wanted.batch}")
    outcomes = []
    for place, card in pairs:
        try:
            with open_link(place) as link:
                outcomes.append(verify_card(link, card, pin=pin, show_keys=show_keys))
        except LandfallError as error:
            if len(pairs) == 1:
                raise
            outcomes.append(CardOutcome(card.iccid, card.imsi, "", "failed", None, "not asked", [], str(error)))
    _report(outcomes, as_json=as_json)


def _single(wanted: Wanted, where: LinkOptions) -> Personalisation:
    """The card of the options; without --iccid the one that is there is meant."""
    return card_from_values({"ICCID": wanted.values.get("ICCID") or _iccid(where)} | wanted.values)


def _iccid(where: LinkOptions) -> str:
    with open_link(where) as link:
        return read_iccid(link)


def _run(run: BatchRun, wanted: Wanted, where: LinkOptions, wait: float) -> list[CardOutcome]:
    if wanted.batch is None:
        with open_link(where) as link:
            outcome = run.provision(link, run.cards[0])
        if outcome.error:
            _tell(outcome.error)
        return [outcome]
    outcomes = []
    walk = run.through_reader(where, wait_s=wait) if where.card is None else run.through_folder(where.card)
    total = len(run.waiting)
    try:
        for outcome in walk:
            outcomes.append(outcome)
            told = outcome.error or f"{outcome.result}, keys: {outcome.keys}, {_count(outcome)}"
            _tell(f"[{total - len(run.waiting)}/{total}] {outcome.iccid} {told}")
    except (LinkError, KeyboardInterrupt) as error:
        _tell(str(error) or "interrupted")
    if run.waiting and any(outcome.result == REFUSED for outcome in outcomes):
        _tell("a wrong code ends the batch: see whether the file's columns are right before another card pays for it")
    if run.waiting:
        _tell(f"{len(run.waiting)} cards are still to do; run the same command again to go on")
    return outcomes


def _count(outcome: CardOutcome) -> str:
    actions = [file.action for file in outcome.files]
    return ", ".join(f"{actions.count(action)} {action}" for action in dict.fromkeys(actions)) or "as one file"


def _write_network(run: BatchRun, outcomes: list[CardOutcome], network: NetworkFormat, file: Path) -> None:
    """For every card that is done, in this run or an earlier one; a card that failed is not told to the network."""
    done = {outcome.iccid for outcome in outcomes if outcome.ok}
    done |= {iccid for iccid, why in run.passed_over.items() if why == DONE_ALREADY}
    cards = [card for card in run.cards if card.iccid in done]
    text = tell_network(cards, network)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    _tell(f"{len(cards)} subscribers for {network} are in {file}, with keys in clear")


def _report(outcomes: list[CardOutcome], *, as_json: bool) -> None:
    if as_json:
        emit(outcomes, as_json=True)
    elif len(outcomes) == 1 and outcomes[0].files:
        (outcome,) = outcomes
        emit(_row(outcome), title="Card")
        emit(outcome.files, title="Files")
    else:
        emit([_row(outcome) for outcome in outcomes], title="Cards")
    if not all(outcome.ok for outcome in outcomes):
        raise typer.Exit(1)


def _row(outcome: CardOutcome) -> dict[str, Any]:
    row = msgspec.structs.asdict(outcome) | {"files": _count(outcome)}
    return {name: value for name, value in row.items() if value is not None}


def _tell(text: str) -> None:
    """Progress goes to standard error, so that --json stays one document."""
    typer.echo(text, err=True, file=sys.stderr)
