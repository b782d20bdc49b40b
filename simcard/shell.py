"""An interactive shell on one card: select, read, update, verify, authenticate, or raw APDUs.

What a person mistypes, or the card refuses, is told and the shell goes on; codes are asked for without being shown,
and what was typed is kept nowhere.
"""

from __future__ import annotations

import cmd
import getpass
import sys
from collections.abc import Callable
from typing import IO

from landfall.errors import LandfallError
from simcard.file_access import CardFile, open_file
from simcard.known_files import KNOWN_FILES, resolve
from simcard.provisioning import adm_tries, guard_adm, read_iccid
from simcard.provisioning_kinds import recognise_kind
from simcard.readers.contract import Link
from simcard.reading import select_usim, verify
from simcard.uicc.files import ADM1, PIN1

REFERENCES = {"pin": PIN1, "adm": ADM1}


class CardShell(cmd.Cmd):
    """Commands on the card of a connected `link`; `ask` is asked for codes, with a prompt."""

    def __init__(
        self, link: Link, *, ask: Callable[[str], str] = getpass.getpass, stdin: IO[str] | None = None
    ) -> None:
        super().__init__(stdin=stdin)
        self._link, self._ask = link, ask
        self._file: CardFile | None = None
        self.use_rawinput = stdin is None and sys.stdin.isatty()
        self.prompt = "sim> " if self.use_rawinput else ""
        self.failed = False

    def onecmd(self, line: str) -> bool:
        """Run one line; True ends the shell."""
        try:
            return bool(super().onecmd(line))
        except LandfallError as error:
            self.failed = True
            self._say(f"error: {error}")
            return False

    def emptyline(self) -> bool:
        """Nothing, rather than the last command again: it may have been an UPDATE."""
        return False

    def default(self, line: str) -> None:
        """Say that there is no such command."""
        if line == "EOF":
            return
        self.failed = True
        self._say(f"there is no command {line.split()[0]!r}; `help` lists them")

    def precmd(self, line: str) -> str:
        """End the input as `quit` does."""
        return "quit" if line == "EOF" else line

    def do_info(self, _: str) -> None:
        """`info`: kind, ATR, ICCID and the tries left of the ADM; costs none."""
        tries = adm_tries(self._link)
        self._say(f"{recognise_kind(self._link).name}, ATR {self._link.get_atr()}")
        self._say(f"ICCID {read_iccid(self._link)}, tries of the ADM left: {'not told' if tries is None else tries}")
        self._file = None

    def do_files(self, _: str) -> None:
        """`files`: the names that `select` knows."""
        for path, name in KNOWN_FILES.items():
            self._say(f"{path:16} {name}")

    def do_select(self, text: str) -> None:
        """`select FILE`: usim/EF.IMSI, usim/6f07, gsm/IMSI, mf/ICCID, 3f00/7f20/6f07."""
        self._file = open_file(self._link, *resolve(text))
        if self._file is None:
            raise LandfallError(f"the card has no {text}")
        file = self._file
        records = f", {file.records} records of {file.record_bytes}" if file.record_bytes else ""
        self._say(f"{KNOWN_FILES.get(file.path, file.path)}: {file.kind}, {file.size} octets{records}")

    def do_read(self, text: str) -> None:
        """`read [RECORD]`: the selected file, or one record of it; all records when left out."""
        file = self._selected()
        if not file.record_bytes:
            self._show(file.read())
            return
        for number in [_number(text)] if text else range(1, file.records + 1):
            self._show(file.read_record(number), f"{number}: ")

    def do_update(self, text: str) -> None:
        """`update HEX [OFFSET]`: write into the selected transparent file."""
        digits, _, offset = text.partition(" ")
        self._selected().update(_hex(digits), _number(offset or "0"))

    def do_update_record(self, text: str) -> None:
        """`update_record NUMBER HEX`: replace one record of the selected file."""
        number, _, digits = text.partition(" ")
        self._selected().update_record(_number(number), _hex(digits))

    def do_verify(self, text: str) -> None:
        """`verify pin|adm [CODE]`: once; the code is asked for, unseen, when left out."""
        name, _, code = text.partition(" ")
        if name not in REFERENCES:
            raise LandfallError("write `verify pin` or `verify adm`")
        code = code or self._ask(f"{name.upper()}: ")
        if name == "adm":
            guard_adm(self._link, self._say)
        verify(self._link, REFERENCES[name], code)

    def do_auth(self, text: str) -> None:
        """`auth RAND [AUTN]`: a challenge in 2G context, or with AUTN in 3G, which counts."""
        fields = [_hex(field) for field in text.split()]
        if len(fields) not in (1, 2) or any(len(field) != 16 for field in fields):
            raise LandfallError("auth takes RAND and, for 3G, AUTN: 32 hex digits each")
        select_usim(self._link)
        self._file = None
        challenge = b"".join(b"\x10" + field for field in fields)
        self._exchange(f"008800{0x7F + len(fields):02x}{len(challenge):02x}{challenge.hex()}")

    def do_apdu(self, text: str) -> None:
        """`apdu HEX`: any command; 61xx and 6Cxx are followed. What it selects, `read` does not know of."""
        self._file = None
        self._exchange(_hex(text).hex())

    def do_reset(self, _: str) -> None:
        """`reset`: the card forgets selection and verified codes."""
        self._file = None
        self._say(self._link.reset_card())

    def do_quit(self, _: str) -> bool:
        """`quit`: let the card go (also Ctrl-D)."""
        return True

    def _exchange(self, pdu: str) -> None:
        data, sw = self._link.send_apdu(pdu)
        self._say(f"{data} {sw}".strip())

    def _selected(self) -> CardFile:
        if self._file is None:
            raise LandfallError("no file is selected; `select usim/EF.IMSI` does it")
        return self._file

    def _show(self, content: bytes | None, before: str = "") -> None:
        self._say(before + ("access is denied; `verify pin` or `verify adm`" if content is None else content.hex()))

    def _say(self, text: str) -> None:
        self.stdout.write(text + "\n")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise LandfallError(f"{text!r} is not hex") from None


def _number(text: str) -> int:
    if not text.strip().isdecimal() or not 0 <= int(text) <= 0x7FFF:
        raise LandfallError(f"{text!r} is no number from 0 to 32767")
    return int(text)
