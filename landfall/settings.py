"""What a node is told from outside: LANDFALL_* variables first, then an optional TOML file, then defaults.

    settings = read_settings()                       # os.environ, and the file LANDFALL_CONFIG names, if any
    kek = settings.require_kek()

The key-encryption key comes from LANDFALL_KEK or from the file LANDFALL_KEK_FILE, and that file may not lie in the data
folder: whoever copies the folder must not copy the key with it. For the same reason the TOML file cannot hold it.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

import msgspec

from landfall.errors import LandfallError
from landfall.keystore import HOW_TO_MAKE_A_KEK, KeystoreError, derive_kek
from landfall.secret import Secret

LogLevel = Literal["debug", "info", "warning", "error"]

MOST_WORKERS: Final = 64
"""More API processes than this on one machine is a typing error; each holds several of the 200 connections."""

_FLAGS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

T = TypeVar("T")


class SettingsError(LandfallError):
    """A setting is not usable; the message names the variable, its value (never a secret one) and the remedy."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One node's settings."""

    data_dir: Path
    """Everything the node keeps on disk; absolute."""
    database_url: str | None
    """External PostgreSQL (`postgresql://…`), or None for the embedded one."""
    key_encryption_key: Secret[bytes] | None
    """32 octets; None where nobody gave one, which only commands without keys can live with."""
    log_level: LogLevel
    log_json: bool
    host: str
    port: int
    """0 takes a free one."""
    workers: int
    """API processes."""

    def require_kek(self) -> bytes:
        """Return the key-encryption key. Raises `SettingsError` where none was given."""
        if self.key_encryption_key is None:
            raise SettingsError(
                "no key-encryption key: set LANDFALL_KEK, or LANDFALL_KEK_FILE to a file outside the data folder; "
                + HOW_TO_MAKE_A_KEK
            )
        return self.key_encryption_key.reveal()

    def __repr__(self) -> str:
        hidden = {"database_url": self.database_url and "…"}
        shown = {field: hidden.get(field, getattr(self, field)) for field in self.__struct_fields__}
        return f"Settings({', '.join(f'{field}={value!r}' for field, value in shown.items())})"


def read_settings(environment: Mapping[str, str] = os.environ, *, file: Path | None = None) -> Settings:
    """Read and check all settings.

    `file` is a TOML table of the same names in lower case without the prefix (`data_dir`, `kek_file`, …); by default
    the one LANDFALL_CONFIG names. Raises `SettingsError`.
    """
    if file is None and (named := environment.get("LANDFALL_CONFIG")):
        file = Path(named)
    source = _Source(environment, file)
    data_dir = source.read("data_dir", "data", _path)
    settings = Settings(
        data_dir=data_dir,
        database_url=source.read("database_url", "", _database_url),
        key_encryption_key=_read_kek(environment, source, data_dir),
        log_level=source.read("log_level", "info", _log_level),
        log_json=source.read("log_json", "true", _flag),
        host=source.read("host", "127.0.0.1", _host),
        port=source.read("port", "8400", _number(0, 65535)),
        workers=source.read("workers", "1", _number(1, MOST_WORKERS)),
    )
    source.refuse_unknown()
    return settings


class _Source:
    """Values by name, from the environment, the file or a default; an error tells which."""

    def __init__(self, environment: Mapping[str, str], file: Path | None) -> None:
        self._environment = environment
        self._file = file
        self._table = _read_table(file) if file else {}
        self._asked: set[str] = set()

    def read(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        self._asked.add(name)
        where, value = f"LANDFALL_{name.upper()}", self._environment.get(f"LANDFALL_{name.upper()}")
        if not value and name in self._table:
            where, value = f"{name} in {self._file}", str(self._table[name])
        try:
            return parse(value or default)
        except ValueError as error:
            raise SettingsError(f"{where} is {value or default!r}: {error}") from None

    def refuse_unknown(self) -> None:
        """Refuse names in the file that nothing asked for: a misspelt setting must not be silently without effect."""
        if "kek" in self._table:
            raise SettingsError(f"kek in {self._file}: settings files get copied; use kek_file or LANDFALL_KEK instead")
        if unknown := sorted(self._table.keys() - self._asked):
            raise SettingsError(
                f"{unknown[0]} in {self._file} is no setting: there are {', '.join(sorted(self._asked))}"
            )


def _read_table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(
            f"LANDFALL_CONFIG: {file} cannot be read ({error.strerror}): name an existing file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"LANDFALL_CONFIG: {file} is not TOML ({error}): correct it") from None


def _read_kek(environment: Mapping[str, str], source: _Source, data_dir: Path) -> Secret[bytes] | None:
    direct, file = environment.get("LANDFALL_KEK"), source.read("kek_file", "", _optional_path)
    if direct and file:
        raise SettingsError(f"LANDFALL_KEK and LANDFALL_KEK_FILE={file} are both set: unset one of them")
    if file is None and not direct:
        return None
    try:
        if file is None:
            return Secret(derive_kek(direct or ""))
        if file.is_relative_to(data_dir):
            raise SettingsError(
                f"LANDFALL_KEK_FILE is {file}, inside the data folder {data_dir}, where a copy of the data would carry "
                "its own key: move the file out of there"
            )
        return Secret(derive_kek(file.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"LANDFALL_KEK_FILE is {file}, which cannot be read ({error}): name a text file") from None
    except KeystoreError as error:
        raise SettingsError(f"{'LANDFALL_KEK_FILE' if file else 'LANDFALL_KEK'}: {error}") from None


def _path(text: str) -> Path:
    return Path(text).expanduser().resolve()


def _optional_path(text: str) -> Path | None:
    return _path(text) if text else None


def _database_url(text: str) -> str | None:
    if text and not text.startswith(("postgresql://", "postgres://")):
        # Not the value itself: it may hold a password.
        raise SettingsError(
            "LANDFALL_DATABASE_URL does not start with postgresql://: write postgresql://user@host/name"
        )
    return text or None


def _log_level(text: str) -> LogLevel:
    for level in get_args(LogLevel):
        if text.lower() == level:
            return cast(LogLevel, level)
    raise ValueError(f"use one of {', '.join(get_args(LogLevel))}")


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(f"use one of {', '.join(_FLAGS)}")
    return _FLAGS[text.lower()]


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not lowest <= int(text) <= highest:
            raise ValueError(f"use a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _host(text: str) -> str:
    if not text or any(character in text for character in " /@"):
        raise ValueError("use an address or a host name, such as 127.0.0.1")
    return text
