"""Finding a document on the ledger by its SHA-256.

A digest is on the ledger where a signed entry has it: one that records a document, an uploaded invoice, the evidence
of a dispute. `find_in_export` proves an exported log whole (`settlement.ledger.audit`), looks through it on the way,
and believes nobody but the log's key; `find_on_ledger` asks a ledger and believes it.
"""

from pathlib import Path
from typing import Final

import httpx
import msgspec

from landfall.errors import LandfallError
from settlement.ledger.api import Path as Address
from settlement.ledger.api import Recorded
from settlement.ledger.audit import audit
from settlement.ledger.envelope import Envelope
from settlement.ledger.note import NoteError, VerifierKey

TIMEOUT_S: Final = 30.0
"""A ledger answers a look-up in milliseconds; half a minute is a network that is gone."""
FOUND, UNKNOWN = 200, 404


def find_in_export(folder: Path, key: VerifierKey, digest: str) -> list[Recorded]:
    """The entries of an exported log that have a SHA-256 (hex), oldest first.

    The log is audited first: raises `AuditError` for the first thing in it that is wrong.
    """
    found: list[Recorded] = []

    def look(index: int, time: int, sender: str, envelope: Envelope) -> None:
        message = envelope.message
        for field in message.__struct_fields__:
            if getattr(message, field) == digest:
                tag = str(message.__struct_config__.tag)
                found.append(Recorded(index=index, time=time, sender=sender, type=tag, field=field))

    audit(folder, key, watch=look)
    return found


async def find_on_ledger(url: str, digest: str) -> list[Recorded]:
    """What a ledger says of a SHA-256 (hex), oldest first. Raises `LandfallError` where it does not answer."""
    address = f"{url.rstrip('/')}{Address.DOCUMENTS}/{digest}"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as http:
            answer = await http.get(address)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise LandfallError(f"{address} does not answer ({type(error).__name__}): is --url right?") from None
    if answer.status_code == UNKNOWN:
        return []
    if answer.status_code != FOUND:
        raise LandfallError(f"{address} answers {answer.status_code}, neither found nor unknown: {answer.text[:200]}")
    try:
        return msgspec.json.decode(answer.content, type=list[Recorded])
    except msgspec.DecodeError as error:
        raise LandfallError(f"{address} answers what is no record of a document ({error})") from None


def read_key(file: Path) -> VerifierKey:
    """The log's verifier key from a file."""
    try:
        return VerifierKey.parse(file.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise LandfallError(f"--key {file} cannot be read ({error.strerror}): name an existing file") from None
    except (NoteError, UnicodeDecodeError) as error:
        raise LandfallError(f"--key {file} is no verifier key: {error}") from None
