"""`landfall sim`: cards from the command line, software ones (`--card FOLDER`) and those in a reader (`-p 0`).

landfall sim new cards/one --imsi 250990000000001 --plmn 25099 --spn Home --smsc +79990000000
landfall sim serve cards/one                     # behind vpcd: now any PC/SC program sees it
landfall sim readers
landfall sim read -p 0 --adm 12345678
landfall sim auth --card cards/one RAND AUTN
"""

from __future__ import annotations

import secrets
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from landfall.cli import emit
from landfall.errors import LandfallError
from ota.scp80.packet import KeySet
from ota.scp80.parameters import CipherAlgorithm, KeyByte
from simcard.cli_files import export, shell
from simcard.cli_link import on_card
from simcard.cli_provisioning import provision
from simcard.cli_provisioning import verify as verify_cards
from simcard.provisioning import guard_adm
from simcard.provisioning_batch import card_from_values
from simcard.readers import LinkOptions, VpcdServer, list_readers, open_link
from simcard.readers.vpcd import VPCD_HOST, VPCD_PORT
from simcard.reading import read_card, select_usim, verify
from simcard.uicc import CardFolder, open_card, personalise
from simcard.uicc.algorithms import ALGORITHMS
from simcard.uicc.files import PIN1

app = typer.Typer(no_args_is_help=True, help="Make, serve, read and provision SIM cards.")

# ICCID: telecom (89), an issuer that ITU-T E.118 has given nobody (999), then the account number (18 digits in all).
TEST_ISSUER = "89999"
ATR_BYTES_MAX = 33
MASK = "•••• (--show-keys)"
# OPc (TS 35.206) and TOPc (TS 35.231), in octets; the other algorithms have none.
OPC_LENGTHS = {"milenage": 16, "tuak": 32}
Folder = Annotated[Path, typer.Argument(help="The card's folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app.command()(provision)
app.command("verify")(verify_cards)

app.command()(export)
app.command()(shell)


class Reader(msgspec.Struct, frozen=True):
    """A PC/SC reader."""

    number: int
    name: str


class NewCard(msgspec.Struct):
    """What `new` has made; keys are masked unless asked for."""

    folder: str
    iccid: str
    imsi: str
    plmn: str
    algorithm: str
    k: str
    opc: str
    adm: str
    ota_key_index: int
    kic: str
    kid: str


class AuthResult(msgspec.Struct, omit_defaults=True):
    """The card's answer to a challenge, hex: RES, CK, IK, Kc, or AUTS when it wants to be resynchronised."""

    outcome: str
    res: str = ""
    ck: str = ""
    ik: str = ""
    kc: str = ""
    auts: str = ""


@app.command()
def new(
    folder: Folder,
    imsi: Annotated[str, typer.Option(help="IMSI of the home profile, 6 to 15 digits.", show_default=False)],
    plmn: Annotated[str, typer.Option(help="Its PLMN, MCC and MNC: 25099.", show_default=False)],
    smsc: Annotated[str, typer.Option(help="Service centre, international: +79990000000.", show_default=False)],
    iccid: Annotated[str | None, typer.Option(help="18 to 20 digits; made up when left out.")] = None,
    spn: Annotated[str, typer.Option(help="Service provider name, up to 16 characters.")] = "Landfall",
    msisdn: Annotated[str | None, typer.Option(help="Number, international.")] = None,
    acc: Annotated[str | None, typer.Option(help="EF.ACC, 4 hex digits; from the IMSI when left out.")] = None,
    algorithm: Annotated[str, typer.Option(help=f"{', '.join(ALGORITHMS)}.")] = "milenage",
    k: Annotated[
        str | None, typer.Option(help="K, 32 hex digits (TUAK: or 64); random when left out.", envvar="SIM_K")
    ] = None,
    opc: Annotated[
        str | None,
        typer.Option(
            help="OPc, 32 hex digits; TUAK's TOPc, 64; random when left out. COMP128 and XOR have none.",
            envvar="SIM_OPC",
        ),
    ] = None,
    adm: Annotated[str | None, typer.Option(help="ADM1; random when left out.", envvar="SIM_ADM")] = None,
    pin: Annotated[str | None, typer.Option(help="PIN; none is asked for when left out.", envvar="SIM_PIN")] = None,
    puk: Annotated[str | None, typer.Option(help="PUK.", envvar="SIM_PUK")] = None,
    kic: Annotated[str | None, typer.Option(help="OTA KIc, AES; random when left out.", envvar="SIM_KIC")] = None,
    kid: Annotated[str | None, typer.Option(help="OTA KID, AES; random when left out.", envvar="SIM_KID")] = None,
    key_index: Annotated[int, typer.Option(help="Index of the OTA key set.", min=1, max=15)] = 1,
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Print keys and ADM; you need them once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a software card in FOLDER with a home profile in slot 0 and one OTA key set.

    Keys left out are random. Give keys in the environment (SIM_K, SIM_OPC …) rather than on the command line, where
    others on the machine can see them.
    """
    card = card_from_values(
        {
            "ICCID": iccid or f"{TEST_ISSUER}{secrets.randbelow(10**13):013d}",
            "IMSI": imsi,
            "PLMN": plmn,
            "ALGORITHM": algorithm,
            "K": k or secrets.token_hex(16),
            "OPC": opc or secrets.token_hex(OPC_LENGTHS.get(algorithm, 0)),
            "ADM": adm or f"{secrets.randbelow(10**8):08d}",
            "ACC": acc or "",
            "MSISDN": msisdn or "",
            "SMSC": smsc,
            "SPN": spn,
        }
    )
    home = card.to_home_profile()
    byte = KeyByte(key_index, CipherAlgorithm.AES_CBC)
    keys = KeySet(kic=byte, kid=byte, kic_key=_key("KIc", kic), kid_key=_key("KID", kid))
    assert card.adm is not None, "made up when left out"
    try:
        with CardFolder(folder) as store:
            if store.exists:
                raise LandfallError(f"{folder} holds a card already; choose another folder")
            personalise(iccid=card.iccid, home=home, ota=[keys], adm=card.adm, pin=pin, puk=puk, store=store)
    except ValueError as error:
        raise LandfallError(f"PIN or PUK: {error}") from None

    def shown(value: str) -> str:
        return value if show_keys else MASK

    made = NewCard(
        folder=str(folder),
        iccid=card.iccid,
        imsi=imsi,
        plmn=plmn,
        algorithm=card.algorithm,
        k=shown(home.k.hex()),
        opc=shown(home.opc.hex()) if home.opc else "",
        adm=shown(card.adm),
        ota_key_index=key_index,
        kic=shown(keys.kic_key.hex()),
        kid=shown(keys.kid_key.hex()),
    )
    emit(made, as_json, title="New card")


@app.command()
def readers(as_json: AsJson = False) -> None:
    """List the PC/SC readers, with the number that -p takes."""
    emit([Reader(number, name) for number, name in enumerate(list_readers())], as_json, title="Readers")


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Where vpcd listens.")] = VPCD_HOST,
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65535)] = VPCD_PORT,
    atr: Annotated[str | None, typer.Option(help="Another ATR, in hex; tools choose how to talk by it.")] = None,
) -> None:
    """Put the card into vpcd's virtual reader, for any PC/SC program; Ctrl-C takes it out.

    Needs Debian's vsmartcard-vpcd and a running pcscd. Starts in any order, and connects again when pcscd comes back.
    """
    if not folder.is_dir():
        raise LandfallError(f"there is no card in {folder}; make one with `landfall sim new`")
    with CardFolder(folder) as store:
        card = open_card(store)
        server = VpcdServer(card.transmit, card.reset, host=host, port=port, atr=_atr(atr))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        typer.echo(f"the card in {folder} is for vpcd at {host}:{port}; Ctrl-C takes it out", err=True)
        server.run()


@app.command()
@on_card
def read(
    where: LinkOptions,
    pin: Annotated[str | None, typer.Option(help="PIN, when the card asks for one.", envvar="SIM_PIN")] = None,
    adm: Annotated[str | None, typer.Option(help="ADM1, to list the slots too.", envvar="SIM_ADM")] = None,
    as_json: AsJson = False,
) -> None:
    """Show ICCID, IMSI, name, numbers and, with the ADM, the slots. Keys cannot be read from a card."""
    with open_link(where) as link:
        if adm is not None:
            guard_adm(link, lambda text: typer.echo(text, err=True))
        report = read_card(link, pin=pin, adm=adm)
    if as_json or report.slots is None:
        emit(report, as_json, title="Card")
        return
    emit(msgspec.structs.replace(report, slots=None), title="Card")
    emit(report.slots, title="Slots")


@app.command()
@on_card
def auth(
    where: LinkOptions,
    rand: Annotated[str, typer.Argument(help="RAND, 32 hex digits.", show_default=False)],
    autn: Annotated[str | None, typer.Argument(help="AUTN, 32 hex digits; left out: 2G context.")] = None,
    pin: Annotated[str | None, typer.Option(help="PIN, when the card asks for one.", envvar="SIM_PIN")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a challenge to the card, as a network does. It counts: a 3G challenge is accepted once."""
    challenge = "10" + _hex("RAND", rand)
    if autn is not None:
        challenge += "10" + _hex("AUTN", autn)
    with open_link(where) as link:
        select_usim(link)
        if pin is not None:
            verify(link, PIN1, pin)
        context = "80" if autn is None else "81"
        data, sw = link.send_apdu(f"008800{context}{len(challenge) // 2:02x}{challenge}")
    emit(_read_answer(bytes.fromhex(data), sw, two_g=autn is None), as_json, title="Answer")


def _read_answer(data: bytes, sw: str, *, two_g: bool) -> AuthResult:
    if sw == "9862":
        raise LandfallError("the card finds the MAC in AUTN wrong: K, OPc or the challenge are another subscriber's")
    if sw == "6982":
        raise LandfallError("this card asks for its PIN; give --pin")
    if sw == "9864":
        raise LandfallError("this card's algorithm is for 2G only (COMP128): leave AUTN out")
    if not data:
        raise LandfallError(f"the card answered {sw}")
    fields, at = [], 0 if two_g else 1
    while at < len(data):
        fields.append(data[at + 1 : at + 1 + data[at]].hex())
        at += 1 + data[at]
    if two_g:
        return AuthResult("authenticated", res=fields[0], kc=fields[1])
    if data[0] == 0xDC:
        return AuthResult("resynchronisation needed", auts=fields[0])
    return AuthResult("authenticated", *fields)


def _atr(digits: str | None) -> bytes | None:
    """TS, T0 and what follows, at most 33 octets (ISO/IEC 7816-3 §8.2)."""
    if digits is None:
        return None
    try:
        atr = bytes.fromhex(digits)
    except ValueError:
        atr = b""
    if not 2 <= len(atr) <= ATR_BYTES_MAX or atr[0] not in (0x3B, 0x3F):
        raise LandfallError(f"--atr {digits!r} is no ATR: hex of 2 to {ATR_BYTES_MAX} octets that begins with 3b or 3f")
    return atr


def _key(name: str, digits: str | None) -> bytes:
    """The AES key given, or a new one."""
    if digits is None:
        return secrets.token_bytes(16)
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) not in (16, 24, 32):
        raise LandfallError(f"{name} (hidden, {len(digits)} characters) is not 32, 48 or 64 hex digits")
    return key


def _hex(name: str, digits: str) -> str:
    if len(digits) != 32 or not set(digits.lower()) <= set("0123456789abcdef"):
        raise LandfallError(f"{name} must be 32 hex digits, this has {len(digits)} characters")
    return digits
