"""Write one card, read it back, and say what was found.

    outcome = provision_card(link, card)                  # or dry_run=True: reads only
    outcome = verify_card(link, card)                     # never writes, needs no ADM

The steps of `provision_card`, each before anything that costs:

1. The card's own ICCID must be the one meant: an ADM tried on another card costs that one a try.
2. The ADM's tries are asked for, which costs none; at one try left it stops, unless told otherwise.
3. Every file that is needed is looked for, so that no card is left half written for want of one.
4. VERIFY, once. A wrong ADM is `AdmRefusedError`; nobody here tries it a second time.
5. Each file is read, written where it differs, and read back. Keys, which cannot be read back from our card, are
   proved by a challenge in 2G context, which moves no counter.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable

import msgspec

from landfall.errors import LandfallError
from ota.scp80.digits import DigitError, unpack_digits
from simcard.file_access import FileError, open_file
from simcard.known_files import SESSION_KEYS
from simcard.personalisation import Personalisation
from simcard.provisioning_kinds import CardKind, recognise_kind
from simcard.provisioning_plan import Write, plan_writes
from simcard.readers.contract import Link
from simcard.reading import CodeRefusedError, select_usim, tries_left, verify
from simcard.uicc.algorithms import answer_gsm, choose_algorithm
from simcard.uicc.codes import encode_code
from simcard.uicc.comp128 import Comp128
from simcard.uicc.files import ADM1, PIN1

MASKED = "••••"


class ProvisioningError(LandfallError):
    """The card cannot be provisioned so; nothing was written."""


class WrongCardError(ProvisioningError):
    """Another card than the one meant."""


class AdmRefusedError(ProvisioningError, CodeRefusedError):
    """The card did not accept the ADM; it was tried once and must not be tried again."""


class FileOutcome(msgspec.Struct, frozen=True):
    """One file: `action` is written, to write, unchanged, agrees, differs, absent or denied; contents in hex."""

    file: str
    path: str
    action: str
    was: str | None
    now: str | None


class CardOutcome(msgspec.Struct, frozen=True):
    """What became of one card. `adm_tries` is None where the card does not tell; `keys` what the challenge said."""

    iccid: str
    imsi: str | None
    kind: str
    result: str
    adm_tries: int | None
    keys: str
    files: list[FileOutcome]
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the card is as it should be, or would be after a dry run."""
        return self.result in ("provisioned", "made", "agrees", "dry run")


def read_iccid(link: Link) -> str:
    """The ICCID of the card on `link`; `LandfallError` when it shows none."""
    file = open_file(link, "3f00", "2fe2")
    try:
        digits = unpack_digits((file and file.read()) or b"")
    except DigitError:
        digits = ""
    if not digits:
        raise LandfallError("the card shows no ICCID; is it a UICC?")
    return digits


def adm_tries(link: Link) -> int | None:
    """Tries left of ADM1, which costs none; 0 when blocked, None when the card does not tell."""
    return tries_left(link, ADM1)


def guard_adm(link: Link, tell: Callable[[str], None]) -> None:
    """Tell the tries left before an ADM is used; `ProvisioningError` where a wrong one would be the last."""
    tries = adm_tries(link)
    tell(f"tries of the ADM left: {'the card does not tell' if tries is None else tries}")
    if tries is not None and tries < 2:
        raise ProvisioningError(f"the ADM has {tries} tries left; nothing was tried (`provision --last-try` would)")


def provision_card(
    link: Link,
    card: Personalisation,
    *,
    pin: str | None = None,
    dry_run: bool = False,
    last_try: bool = False,
    show_keys: bool = False,
    before_verify: Callable[[str, int | None], None] = lambda kind, tries: None,
) -> CardOutcome:
    """Write `card` to the card on a connected `link`; with `dry_run`, only say what would be written.

    `before_verify` hears the kind and the tries left before any code is tried. Raises `WrongCardError`,
    `CodeRefusedError`, `ProvisioningError` before anything was written, `FileError` and `LinkError` in the middle: a
    repetition writes what is missing.
    """
    kind = _recognise(link, card)
    tries = adm_tries(link)
    before_verify(kind.name, tries)
    if card.k is not None and card.algorithm not in kind.key_files:
        raise ProvisioningError(
            f"a {kind.name} has no {card.algorithm}; it has {', '.join(kind.key_files)}"
            if kind.key_files
            else f"where a {kind.name} keeps K and OPc is not known; leave them out, or use another tool"
        )
    writes = plan_writes(card, kind)
    _require_files(link, writes)
    if dry_run:
        files = [_compare(link, write, differs="to write", show_keys=show_keys) for write in writes]
        return _tell(card, kind, "dry run", tries, "not asked", files)
    if pin is not None:
        verify(link, PIN1, pin)
    keys_are_there = check_keys(link, card) == "agree"
    _verify_adm(link, card, tries, last_try=last_try)
    files = [_write(link, write, show_keys=show_keys, keys_are_there=keys_are_there) for write in writes]
    link.reset_card()
    if pin is not None:
        verify(link, PIN1, pin)
    keys = check_keys(link, card)
    if keys == "differ":
        raise FileError(f"card {card.iccid} took K and OPc but answers a challenge with others")
    return _tell(card, kind, "provisioned", adm_tries(link), keys, files)


def verify_card(link: Link, card: Personalisation, *, pin: str | None = None, show_keys: bool = False) -> CardOutcome:
    """Compare the card with `card`; writes nothing. `WrongCardError` when it is another one."""
    kind = _recognise(link, card)
    if pin is not None:
        verify(link, PIN1, pin)
    # Where the phone was registered since is no difference.
    writes = [write for write in plan_writes(card, kind) if write.needed and not write.secret]
    files = [_compare(link, write, differs="differs", show_keys=show_keys) for write in writes]
    keys = check_keys(link, card)
    same = keys in ("agree", "not asked") and all(file.action in ("agrees", "absent") for file in files)
    return _tell(card, kind, "agrees" if same else "differs", adm_tries(link), keys, files)


def check_keys(link: Link, card: Personalisation) -> str:
    """Whether the card has these keys and this algorithm: agree, differ, or why it is not known.

    Asked in 2G context (TS 31.102 §7.1.2), of COMP128 by RUN GSM ALGORITHM (TS 51.011 §9.2.16): a card may have it
    in DF.GSM alone.
    """
    if card.keys is None:
        return "not asked"
    rand = secrets.token_bytes(16)
    algorithm = choose_algorithm(card.algorithm, *card.keys)
    if isinstance(algorithm, Comp128):
        link.send_apdu("a0a40000027f20")
        data, sw = link.send_apdu(f"a088000010{rand.hex()}")
        kc_at, length = 4, 12
    else:
        select_usim(link)
        data, sw = link.send_apdu(f"0088008011{16:02x}{rand.hex()}")
        kc_at, length = 6, 14
    answer = bytes.fromhex(data)
    if sw in ("6982", "9804"):
        return "unknown: the card asks for its PIN"
    if not sw.startswith(("90", "91")) or len(answer) != length:
        return f"unknown: the card answers {sw} to a 2G challenge"
    _, kc = answer_gsm(algorithm, rand)
    # Kc only: how SRES is cut is a setting of the card.
    return "agree" if hmac.compare_digest(answer[kc_at:], kc) else "differ"


def _recognise(link: Link, card: Personalisation) -> CardKind:
    link.reset_card()
    found = read_iccid(link)
    if found != card.iccid:
        raise WrongCardError(f"this is card {found}, not {card.iccid}; nothing was tried on it")
    return recognise_kind(link)


def _require_files(link: Link, writes: Iterable[Write]) -> None:
    missing = [write.file for write in writes if write.needed and open_file(link, *write.path) is None]
    if missing:
        raise ProvisioningError(f"the card has no {', '.join(missing)}; nothing was written")


def _verify_adm(link: Link, card: Personalisation, tries: int | None, *, last_try: bool) -> None:
    if card.adm is None:
        raise ProvisioningError(f"no ADM is given for card {card.iccid}; nothing can be written without")
    if tries == 0:
        raise ProvisioningError(f"the ADM of card {card.iccid} is blocked for good; nothing can be written to it")
    if tries == 1 and not last_try:
        raise ProvisioningError(
            f"card {card.iccid} has one try of its ADM left, and a wrong one blocks it for good: "
            "make sure of the ADM, then say --last-try"
        )
    _, sw = link.send_apdu(f"002000{ADM1:02x}08{encode_code(card.adm).hex()}")
    if not sw.startswith(("90", "91")):
        left = adm_tries(link)
        told = "" if left is None else f", {left} tries left"
        raise AdmRefusedError(f"card {card.iccid} does not accept its ADM ({sw}{told}); it was not tried again")


def _write(link: Link, write: Write, *, show_keys: bool, keys_are_there: bool) -> FileOutcome:
    found = _compare(link, write, differs="to write", show_keys=show_keys)
    if found.action != "to write":
        return msgspec.structs.replace(found, action="unchanged" if found.action == "agrees" else found.action)
    file = open_file(link, *write.path)
    if file is None:
        raise FileError(f"{write.file} was on the card a moment ago and is not any more")
    before = file.read_record(write.record) if write.record else file.read()
    if before is None and write.secret and keys_are_there:
        return msgspec.structs.replace(found, action="unchanged")  # written anew, they might start SQN anew
    size = file.record_bytes or file.size
    wanted = write.compose(size, before)
    try:
        if write.record:
            file.update_record(write.record, wanted)
        else:
            file.update(wanted, write.offset)
    except FileError:
        if write.needed:
            raise
        return msgspec.structs.replace(found, action="denied", now=None)
    after = file.read_record(write.record) if write.record else file.read()
    if after is not None and after[write.offset : write.offset + len(wanted)] != wanted:
        raise FileError(f"{write.file} of the card reads otherwise than it was written")
    return msgspec.structs.replace(found, action="written", now=_shown(wanted, write, show_keys=show_keys))


def _compare(link: Link, write: Write, *, differs: str, show_keys: bool) -> FileOutcome:
    path = "/".join(write.path)
    file = open_file(link, *write.path)
    if file is None:
        return FileOutcome(write.file, path, "absent", None, None)
    before = file.read_record(write.record) if write.record else file.read()
    wanted = write.compose(file.record_bytes or file.size, before)
    now = _shown(wanted, write, show_keys=show_keys)
    if before is None:
        return FileOutcome(write.file, path, "denied" if differs == "differs" else differs, None, now)
    held = before[write.offset : write.offset + len(wanted)]
    action = "agrees" if hmac.compare_digest(held, wanted) else differs
    return FileOutcome(write.file, path, action, _shown(held, write, show_keys=show_keys), now)


def _shown(content: bytes, write: Write, *, show_keys: bool) -> str:
    secret = write.secret or write.file in SESSION_KEYS
    return MASKED if secret and not show_keys else content.hex()


def _tell(
    card: Personalisation, kind: CardKind, result: str, tries: int | None, keys: str, files: list[FileOutcome]
) -> CardOutcome:
    return CardOutcome(card.iccid, card.imsi, kind.name, result, tries, keys, files)
