"""`landfall issuer …`: admit operators, mint against deposits, pay redemptions out, by the ledger's SDK.

The issuer's key is in the keystore of its data folder (LANDFALL_DATA_DIR, LANDFALL_KEK). `init` makes it and prints the
party that the ledger's founder needs; the other commands read where the ledger is from --ledger-url and --ledger-key or
LANDFALL_LEDGER_URL and LANDFALL_LEDGER_KEY.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from landfall.keystore import Keystore
from landfall.settings import read_settings
from marketplace.ledger_link.keys import OperatorKeys, make_recovery_key
from marketplace.operator_cli import read_amount
from marketplace.operator_settings import KEYS_FOLDER
from marketplace.operator_setup import RecoveryFile, write_once
from settlement.ledger.api import Receipt
from settlement.ledger.client import LedgerClient, Rejected, Unreachable, message_of
from settlement.ledger.keys import to_base64url
from settlement.ledger.messages import (
    Admit,
    Message,
    Mint,
    Party,
    Redeem,
    Redeemed,
    RefuseRedemption,
    UpgradeRules,
)
from settlement.ledger.note import VerifierKey
from settlement.ledger.settling import AttestReserves, DecideDispute
from settlement.ledger.state import Dispute
from settlement.ledger.trust import Untrusted
from settlement.money import format_sdrt
from settlement.netting.model import HUB, Method

PARTY_FILE: Final = "issuer.json"
DAY_MS: Final = 86_400_000

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help=__doc__, add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str, typer.Option(envvar="LANDFALL_LEDGER_URL", help="Where the ledger answers.")]
Vkey = Annotated[str, typer.Option(envvar="LANDFALL_LEDGER_KEY", help="The origin's verifier key.")]


class IssuerError(LandfallError):
    """The ledger said no, or the folder is not the issuer's."""


def _keys() -> OperatorKeys:
    settings = read_settings()
    return OperatorKeys(Keystore.open(settings.data_dir / KEYS_FOLDER, settings.require_kek()))


def _party() -> Party:
    file = read_settings().data_dir / PARTY_FILE
    if not file.exists():
        raise IssuerError(f"{file} is missing: make the issuer with `landfall issuer init`")
    return msgspec.json.decode(file.read_bytes(), type=Party)


def _submit(url: str, vkey: str, kind: type[Message], **fields: Any) -> Receipt:
    async def send() -> Receipt:
        client = LedgerClient(url, log=VerifierKey.parse(vkey), signer=_keys().signer(), operator=_party().id)
        async with client as ledger:
            return await ledger.submit(ledger.make(kind, **fields))

    try:
        return asyncio.run(send())
    except (Rejected, Unreachable, Untrusted) as error:
        raise IssuerError(str(error)) from None


@app.command()
def init(
    operator: Annotated[str, typer.Argument(help="The issuer's id, such as sdr-issuer.")],
    name: Annotated[str, typer.Option(help="Its name.")],
    country: Annotated[str, typer.Option(help="ISO 3166-1 alpha-2.")],
    recovery_file: Annotated[Path, typer.Option(help="Where the recovery key goes: a place that is taken offline.")],
    as_json: Json = False,
) -> None:
    """Make the issuer's keys; print the party for `landfall market init --issuer`.

    Example: landfall issuer init sdr-issuer --name "SDRt Issuer" --country CH --recovery-file /media/stick/issuer.json
    """
    keys = _keys()
    keys.create()
    file = read_settings().data_dir / PARTY_FILE
    if not file.exists():
        seed, public = make_recovery_key()
        if not write_once(recovery_file, msgspec.json.encode(RecoveryFile(operator, to_base64url(seed), public))):
            raise IssuerError(f"{recovery_file} is there already: name a new file")
        party = Party(
            id=operator,
            name=name,
            country=country,
            role="issuer",
            key=to_base64url(keys.signer().public),
            recovery_key=public,
        )
        write_once(file, msgspec.json.encode(party))
    emit(_party(), as_json, title="The issuer; found the ledger with: landfall market init --issuer issuer.json")


@app.command()
def admit(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The party, as `operator init` printed it.")
    ],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """Admit an operator, service provider or auditor. Check first, outside, that the key is the party's own."""
    try:
        party = msgspec.json.decode(file.read_bytes(), type=Party)
    except msgspec.MsgspecError as error:
        raise IssuerError(f"{file} is no party: {error}") from None
    emit(_submit(ledger_url, ledger_key, Admit, party=party), as_json, title=f"Admitted {party.id}")


@app.command()
def mint(
    to: Annotated[str, typer.Argument(help="The operator's id.")],
    amount: Annotated[str, typer.Argument(help="In SDRt: 1000")],
    deposit: Annotated[str, typer.Option(help="Reference of the deposit; each is used once.")],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """Create SDRt against a deposit that has arrived.

    Example: landfall issuer mint alfa 1000 --deposit "MT103 2026-11-20 0001"
    """
    receipt = _submit(ledger_url, ledger_key, Mint, to=to, amount=read_amount(amount), deposit=deposit)
    emit(receipt, as_json, title=f"Minted {format_sdrt(read_amount(amount))} to {to}")


@app.command("upgrade-rules")
def upgrade_rules(
    version: Annotated[int, typer.Argument(help="The newer version, such as 2.")],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """From the next entry on the ledger's rules are those of a newer version. There is no way back.

    Upgrade the programs of all who execute the log first: an older one stops at this entry.

    Example: landfall issuer upgrade-rules 2
    """
    receipt = _submit(ledger_url, ledger_key, UpgradeRules, version=version)
    emit(receipt, as_json, title=f"The ledger is under rules version {version}")


@app.command()
def attest(
    deposits: Annotated[str, typer.Argument(help="All deposits behind the SDRt, in SDRt: 1000")],
    as_of: Annotated[datetime, typer.Option(help="When, in UTC: 2026-10-31 or 2026-10-31T23:59:59.")],
    document: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="What shows it, such as the bank's statement.")
    ],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """State the deposits that stand behind the SDRt; every audit then compares them with what was minted and burnt.

    Only the document's SHA-256 goes on the ledger: keep the file.

    Example: landfall issuer attest 1000 --as-of 2026-10-31 --document statement.pdf
    """
    with document.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    moment = int(as_of.replace(tzinfo=UTC).timestamp() * 1000)
    fields = {"as_of": moment, "deposits": read_amount(deposits), "digest": digest}
    emit(_submit(ledger_url, ledger_key, AttestReserves, **fields), as_json, title="Attested")


@app.command()
def disputes(ledger_url: Url, ledger_key: Vkey, as_json: Json = False) -> None:
    """List disputes that were escalated and wait for your decision."""

    async def read() -> list[Dispute]:
        client = LedgerClient(
            ledger_url, log=VerifierKey.parse(ledger_key), signer=_keys().signer(), operator=_party().id
        )
        async with client as ledger:
            return await ledger.disputes(state="escalated")

    rows = [
        {
            "id": str(row.id),
            "home": row.home,
            "visited": row.visited,
            "disputed": format_sdrt(row.amount),
            "entry": row.entry,
            "record": row.record,
            "cause": row.cause,
            "home's evidence": row.evidence,
            "visited's evidence": row.answer,
            "decide by": f"{datetime.fromtimestamp(row.deadline / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        }
        for row in asyncio.run(read())
    ]
    emit(rows, as_json, title="Disputes to decide")


@app.command()
def decide(
    dispute: UUID,
    award: Annotated[str, typer.Argument(help="What the home operator gets back, in SDRt: 0 to all that is disputed.")],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """Decide an escalated dispute: the award goes to the home operator, the rest of what is held back.

    Example: landfall issuer decide 01890a5d-ac96-774b-bcce-b302099a8057 12.5
    """
    emit(_submit(ledger_url, ledger_key, DecideDispute, dispute=dispute, award=read_amount(award)), as_json)


@app.command("net")
def net_obligations(
    ledger_url: Url,
    ledger_key: Vkey,
    method: Annotated[Method, typer.Option(help="Only lower debts that exist, or put a hub between all.")],
    hub: Annotated[
        str | None, typer.Option(help="With novation: the operator in the middle, who must consent.")
    ] = None,
    caps: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV debtor,creditor,cap: the most that is netted.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A,B: nothing between these two takes part.")] = None,
    days: Annotated[int, typer.Option(min=1, max=30, help="How long the operators may take to consent.")] = 7,
    due_days: Annotated[int, typer.Option(min=1, max=366, help="With novation: when the new debts are due.")] = 30,
    picture: Annotated[Path | None, typer.Option(help="Draw before and after into this file, .svg or .html.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, propose nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Net the open obligations of all operators: propose cycles, which their parties consent to.

    Nobody's net position changes. An entry holds 700 obligations: a larger netting is proposed as several cycles, each
    balanced in itself. What stands in a cycle that still waits for consents takes no part, so it may be run again.

    Example: landfall issuer net --method setoff --dry-run
    """
    from marketplace.issuer_netting import NettingPlan, ProposedCycle, find_taken, plan, propose
    from settlement.cli import read_pairs
    from settlement.netting import Terms, read_caps
    from settlement.netting.picture import draw

    if (method is Method.NOVATION) != (hub is not None):
        raise IssuerError("--hub names the operator in the middle of a novation: give it with --method novation only")
    terms = Terms(caps=read_caps(caps) if caps else {}, excluded=read_pairs(exclude or []), hub=hub or HUB)

    async def work() -> tuple[NettingPlan, list[ProposedCycle]]:
        client = LedgerClient(
            ledger_url, log=VerifierKey.parse(ledger_key), signer=_keys().signer(), operator=_party().id
        )
        async with client as issuer:
            found = plan(await issuer.obligations(state="open"), method, terms, await find_taken(issuer))
            now = int(datetime.now(UTC).timestamp() * 1000)
            until, due = now + days * DAY_MS, now + (days + due_days) * DAY_MS
            return found, [] if dry_run else await propose(issuer, found, until_ms=until, due_ms=due)

    try:
        found, proposed = asyncio.run(work())
    except (Rejected, Unreachable, Untrusted) as error:
        raise IssuerError(str(error)) from None
    if picture is not None:
        draw(list(found.debts), found.netting, picture, hub=terms.hub)
    netting = found.netting
    summary = {
        "method": netting.method.value,
        "obligations": len(found.debts),
        "gross_before": netting.gross_before,
        "gross_after": netting.gross_after,
        "saved_percent": netting.saved_percent,
        "cycles": len(found.cycles),
    }
    if as_json:
        emit({**summary, "proposed": proposed}, as_json=True)
        return
    amounts = {"gross_before": format_sdrt(netting.gross_before), "gross_after": format_sdrt(netting.gross_after)}
    emit({**summary, **amounts}, title="Nothing was proposed" if dry_run or not proposed else "Proposed")
    if proposed:
        emit(
            [
                {"cycle": str(one.id), "obligations": one.obligations, "waits for": ", ".join(one.parties)}
                for one in proposed
            ]
        )


@app.command()
def redemptions(ledger_url: Url, ledger_key: Vkey, as_json: Json = False) -> None:
    """List redemptions that wait for a payment."""

    async def read() -> list[dict[str, str]]:
        client = LedgerClient(
            ledger_url, log=VerifierKey.parse(ledger_key), signer=_keys().signer(), operator=_party().id
        )
        waiting: dict[UUID, dict[str, str]] = {}
        after = -1
        async with client as ledger:
            while entries := await ledger.entries(after=after, limit=1000):
                for entry in entries:
                    message = message_of(entry)
                    if isinstance(message, Redeem):
                        waiting[message.id] = {
                            "id": str(message.id),
                            "operator": entry.sender,
                            "amount": format_sdrt(message.amount),
                            "payout": message.payout,
                        }
                    elif isinstance(message, Redeemed | RefuseRedemption):
                        waiting.pop(message.redemption, None)
                after = entries[-1].index
        return list(waiting.values())

    emit(asyncio.run(read()), as_json, title="Redemptions asked")


@app.command()
def redeemed(
    redemption: UUID,
    payment: Annotated[str, typer.Option(help="Reference of the payment made.")],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """A redemption was paid: the held SDRt is burnt."""
    emit(_submit(ledger_url, ledger_key, Redeemed, redemption=redemption, payment=payment), as_json)


@app.command()
def refuse(
    redemption: UUID,
    cause: Annotated[str, typer.Option(help="A word of small letters and hyphens.")],
    ledger_url: Url,
    ledger_key: Vkey,
    as_json: Json = False,
) -> None:
    """A redemption is not paid: the held SDRt is available again."""
    emit(_submit(ledger_url, ledger_key, RefuseRedemption, redemption=redemption, cause=cause), as_json)
