"""What a card keeps when the power goes, and where.

`CardState` is the whole of it. A memory-only card has no store; `CardFolder` keeps one state in a folder, crash-safe:
a new file is written beside the old one, synced, and renamed over it, so that a reader finds the state before or
after an APDU, never between. A folder belongs to one process at a time (a lock), so counters in it never go back.

The file has the card's keys in clear, as a card's silicon has; the folder is for its owner only (mode 0700).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from landfall.errors import LandfallError
from simcard.uicc.codes import SecretCode
from simcard.uicc.key_management import OtaKeys
from simcard.uicc.multi_account import Accounts

STATE_FILE = "card.json"
LOCK_FILE = "card.lock"
FORMAT = 1


class CardState(msgspec.Struct):
    """A card's non-volatile memory: `files` by path, `codes` by key reference, `ota` key sets by index.

    `atr` is empty for the usual one.
    """

    iccid: str
    codes: dict[int, SecretCode]
    ota: dict[int, OtaKeys]
    accounts: Accounts
    files: dict[str, bytes] = {}
    atr: bytes = b""
    format: int = FORMAT

    def __repr__(self) -> str:
        return f"CardState(iccid={self.iccid!r}, …)"


class CardFolder:
    """The folder of one stored card. Use as a context manager, or `close` it, to let another process have it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LandfallError(f"the card in {folder} is in use by another program; end that one first") from None

    def __enter__(self) -> CardFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def exists(self) -> bool:
        """Whether a card is stored here."""
        return (self._folder / STATE_FILE).exists()

    def load(self) -> CardState:
        """The stored state; `LandfallError` when there is none or it is not one of ours."""
        path = self._folder / STATE_FILE
        try:
            state = msgspec.json.decode(path.read_bytes(), type=CardState)
        except FileNotFoundError:
            raise LandfallError(f"there is no card in {self._folder}; make one with `landfall sim new`") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise LandfallError(f"{path} is not a card's state: {error}") from None
        if state.format != FORMAT:
            raise LandfallError(f"{path} has format {state.format}, this program reads {FORMAT}")
        return state

    def save(self, state: CardState) -> None:
        """Replace the stored state; when it returns, the new one survives a power cut. `OSError` leaves the old one."""
        fresh = self._folder / (STATE_FILE + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(descriptor)
        fresh.rename(self._folder / STATE_FILE)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._lock)
