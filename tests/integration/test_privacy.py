"""Nothing of a person and no key is in the log, in the ledger's database, or in anybody's log file.

Each secret is looked for as it is written by people (text), by programs (hex of text and of octets, either case), by
cards (swapped BCD, with either filler) and inside base64 and base64url, whichever octet of a group of three it begins
at. The search is shown to find what is planted in each of those forms.
"""

import base64
import binascii
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ota.scp80.digits import pack_digits
from settlement.ledger.envelope import parse
from settlement.ledger.export import bundles_of
from settlement.ledger.log import read_leaf
from settlement.ledger.note import parse_note
from settlement.ledger.tiles import decode_bundle
from simulator.demo.cast import Secret
from tests.integration.demo_run import DemoRun, share_demo

pytestmark = pytest.mark.slow

DIGITS = ("imsi", "msisdn", "iccid")
KEYS = ("k", "opc", "kic", "kid")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> DemoRun:
    return share_demo(tmp_path_factory, worker_id)


def octets_of(secret: Secret) -> Iterator[bytes]:
    """The octets a secret may stand as, before anything is written in hex or base64."""
    if secret.kind in KEYS:
        yield bytes.fromhex(secret.value)
        return
    yield secret.value.encode()
    if secret.kind in DIGITS:
        # An odd count of digits has the filler F; an EF(IMSI) puts a parity nibble before them (TS 31.102 §4.2.2).
        yield pack_digits(secret.value)
        parity = "9" if len(secret.value) % 2 else "1"
        yield pack_digits(parity + secret.value)


def forms_of(secret: Secret) -> set[bytes]:
    """Everything to look for. Lower case is looked for in lower-cased text, so hex needs one form."""
    forms: set[bytes] = set()
    for octets in octets_of(secret):
        forms |= {octets, octets.lower(), binascii.hexlify(octets)}
        forms |= set(base64_forms(octets))
    if secret.kind in KEYS:
        forms.add(secret.value.encode())
    if secret.kind == "name":
        given, family = secret.value.split()
        forms |= {f"{family} {given}".lower().encode(), f"{family}, {given}".lower().encode()}
        forms |= set(base64_forms(secret.value.lower().encode()))
    return forms


def base64_forms(octets: bytes) -> Iterator[bytes]:
    """What of its base64 does not depend on the octets before and after, at each of three places in a group."""
    for before, encode in itertools.product(range(3), (base64.b64encode, base64.urlsafe_b64encode)):
        text = encode(bytes(before) + octets).rstrip(b"=")
        first = -(-before * 8 // 6)
        whole = (before + len(octets)) * 8 // 6
        yield text[first:whole]


def find_leaks(content: bytes, secrets: list[Secret]) -> list[str]:
    """Which secrets are in the content, in any form."""
    lowered = content.lower()
    return [
        f"{secret.kind} of {secret.whose}"
        for secret in secrets
        if any(form in content or form in lowered for form in forms_of(secret))
    ]


def decoded_log(export: Path) -> Iterator[tuple[str, bytes]]:
    """Every envelope of an export: as it is, and what its header and payload say."""
    size = int(parse_note((export / "checkpoint").read_bytes()).text.splitlines()[1])
    index = 0
    for bundle in bundles_of(size):
        for leaf in decode_bundle((export / bundle.path).read_bytes(), bundle.width):
            _, raw = read_leaf(leaf)
            parts = [base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in raw.split(b".")]
            said = msgspec.json.encode(parse(raw).message)
            yield f"entry {index}", b"\n".join([raw, *parts, said])
            index += 1
    assert index == size > 0


def test_the_ground_truth_is_of_everybody_and_of_every_kind(demo: DemoRun) -> None:
    assert {secret.kind for secret in demo.truth} == {"name", *DIGITS, *KEYS}
    assert len({secret.whose for secret in demo.truth}) == 4 + 2


def test_no_envelope_of_the_log_has_a_persons_data_or_a_key(demo: DemoRun) -> None:
    for place, content in decoded_log(demo.export):
        assert find_leaks(content, demo.truth) == [], place


def test_the_exported_files_have_none_either(demo: DemoRun) -> None:
    for path in demo.export.rglob("*"):
        if path.is_file():
            assert find_leaks(path.read_bytes(), demo.truth) == [], path


def test_the_ledgers_database_has_none_in_any_table(demo: DemoRun) -> None:
    content = demo.dump.read_bytes()
    for table in ("entries", "operators", "requests", "payloads"):
        assert f"-- public.{table}\n".encode() in content
    assert find_leaks(content, demo.truth) == []
    # Binary columns are in hex: what they say as text is looked for as well.
    unpacked = [
        bytes.fromhex(cell[3:].decode())
        for cell in content.replace(b"\n", b"\t").split(b"\t")
        if cell.startswith(rb"\\x")
    ]
    assert unpacked
    assert find_leaks(b"\n".join(unpacked), demo.truth) == []


def test_no_log_file_of_any_process_has_one(demo: DemoRun) -> None:
    assert {path.stem for path in demo.logs} >= {"ledger", "alfa-mobile", "gulf-connect", "safe-journey", "postgres"}
    for path in demo.logs:
        assert path.stat().st_size > 0, path
        assert find_leaks(path.read_bytes(), demo.truth) == [], path


def test_the_account_and_the_report_have_none_either(demo: DemoRun) -> None:
    for content in (demo.output, *((demo.folder / name).read_text() for name in ("report.json", "report.html"))):
        assert find_leaks(content.encode(), demo.truth) == []


def test_what_is_planted_in_any_form_is_found(demo: DemoRun) -> None:
    draw = random.Random(1)
    clean = (demo.dump.read_bytes(), next(iter(demo.logs)).read_bytes())
    for kind in ("name", *DIGITS, *KEYS):
        secret = next(one for one in demo.truth if one.kind == kind)
        for octets in octets_of(secret):
            for planted in (
                octets,
                octets.hex().encode(),
                octets.hex().upper().encode(),
                *(base64.b64encode(draw.randbytes(before) + octets + b"!") for before in range(3)),
                *(base64.urlsafe_b64encode(draw.randbytes(before) + octets + b"!") for before in range(3)),
            ):
                for content in clean:
                    at = draw.randrange(len(content))
                    soiled = content[:at] + planted + content[at:]
                    assert find_leaks(soiled, [secret]) == [f"{kind} of {secret.whose}"], (kind, planted)
