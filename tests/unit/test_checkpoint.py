"""Signed notes, checkpoints and cosignatures: what is accepted, and each thing that is refused."""

from base64 import b64encode

import pytest

from settlement.ledger.checkpoint import Checkpoint, WrongOriginError, cosign, sign, verify, verify_cosignatures
from settlement.ledger.note import (
    ForgedNoteError,
    NoteError,
    SignatureKind,
    Signer,
    UnsignedNoteError,
    VerifierKey,
    append_signatures,
    parse_note,
)

LOG = Signer("landfall.example/ledger", bytes(range(32)))
WITNESS = Signer("validator.example/one", bytes(range(32, 64)), SignatureKind.COSIGNATURE)
HEAD = Checkpoint("landfall.example/ledger", 20_852_163, bytes(range(32)))
NOTE = sign(HEAD, LOG)


def test_a_checkpoint_is_three_lines() -> None:
    assert HEAD.text() == "landfall.example/ledger\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert Checkpoint.parse(HEAD.text()) == HEAD


def test_a_signed_checkpoint_verifies_with_the_key_in_its_one_line_form() -> None:
    assert verify(NOTE, VerifierKey.parse(f"{LOG.verifier}\n")) == HEAD


def test_a_verifier_key_published_with_gos_sumdb_is_read() -> None:
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    key = VerifierKey.parse(text)
    assert (key.name, key.key_id.hex(), key.kind, str(key)) == ("sum.golang.org", "033de0ae", SignatureKind.NOTE, text)


@pytest.mark.parametrize("position", range(len(NOTE)))
def test_a_note_with_any_octet_altered_is_refused(position: int) -> None:
    altered = bytearray(NOTE)
    altered[position] ^= 0x01
    with pytest.raises(NoteError):
        verify(bytes(altered), LOG.verifier)


def test_a_log_of_the_same_name_with_another_key_did_not_sign() -> None:
    with pytest.raises(UnsignedNoteError, match="is this verifier key the log's"):
        verify(NOTE, Signer(HEAD.origin, bytes(32)).verifier)


def test_a_known_key_with_a_signature_of_another_text_condemns_the_note() -> None:
    other = sign(Checkpoint(HEAD.origin, 1, HEAD.root), LOG)
    forged = NOTE.partition(b"\n\n")[0] + b"\n\n" + other.partition(b"\n\n")[2]
    with pytest.raises(ForgedNoteError, match="do not trust"):
        verify(forged, LOG.verifier)


def test_a_good_and_a_bad_signature_of_one_key_are_refused_together() -> None:
    other = sign(Checkpoint(HEAD.origin, 1, HEAD.root), LOG)
    with pytest.raises(ForgedNoteError):
        verify(NOTE + other.partition(b"\n\n")[2], LOG.verifier)


def test_a_checkpoint_of_another_origin_is_neither_signed_nor_believed() -> None:
    foreign = Checkpoint("elsewhere.example", 1, HEAD.root)
    with pytest.raises(WrongOriginError):
        sign(foreign, LOG)
    text = foreign.text()
    with pytest.raises(WrongOriginError, match="another log's"):
        verify(f"{text}\n{LOG.sign_line(text.encode())}".encode(), LOG.verifier)


def test_lines_by_unknown_keys_are_ignored_but_must_be_well_formed() -> None:
    stranger = Signer("stranger.example", bytes(32)).sign_line(b"anything").encode()
    assert verify(append_signatures(NOTE, [stranger]), LOG.verifier) == HEAD
    for line in (
        "— stranger.example !!!!\n",
        "— stranger.example AAAA\n",
        "— AAAAAAAA\n",
        "- s AAAAAAAA\n",
        "— s AAAAAAAA",
    ):
        with pytest.raises(NoteError):
            verify(NOTE + line.encode(), LOG.verifier)


def test_a_checkpoint_cosigned_says_by_whom_and_when() -> None:
    cosigned = append_signatures(NOTE, [cosign(HEAD, WITNESS, time_s=1_800_000_000)])
    assert verify(cosigned, LOG.verifier) == HEAD
    key = VerifierKey.parse(str(WITNESS.verifier))
    assert verify_cosignatures(cosigned, [key]) == {key: 1_800_000_000}
    assert verify_cosignatures(NOTE, [key]) == {}


def test_the_later_of_two_cosignatures_counts_and_counts_once() -> None:
    lines = [cosign(HEAD, WITNESS, time_s=time_s) for time_s in (10, 30, 20)]
    assert verify_cosignatures(append_signatures(NOTE, lines), [WITNESS.verifier]) == {WITNESS.verifier: 30}


def test_a_cosignature_under_another_time_or_head_is_refused() -> None:
    line = cosign(Checkpoint(HEAD.origin, 1, HEAD.root), WITNESS, time_s=7)
    with pytest.raises(ForgedNoteError):
        verify_cosignatures(append_signatures(NOTE, [line]), [WITNESS.verifier])
    (octets,) = parse_note(append_signatures(NOTE, [cosign(HEAD, WITNESS, time_s=7)])).by(WITNESS.verifier)
    later = b64encode(WITNESS.verifier.key_id + bytes([*octets[:7], 8]) + octets[8:])
    with pytest.raises(ForgedNoteError):
        verify_cosignatures(NOTE + "— validator.example/one ".encode() + later + b"\n", [WITNESS.verifier])


def test_one_key_under_two_names_is_not_two_cosigners() -> None:
    twin = Signer("validator.example/two", bytes(range(32, 64)), SignatureKind.COSIGNATURE)
    with pytest.raises(NoteError, match="each cosigner needs its own"):
        verify_cosignatures(NOTE, [WITNESS.verifier, twin.verifier])


def test_logs_keys_and_cosigners_keys_are_not_interchangeable() -> None:
    cosigner_named_as_log = Signer(HEAD.origin, bytes(range(32)), SignatureKind.COSIGNATURE)
    with pytest.raises(NoteError):
        sign(HEAD, cosigner_named_as_log)
    with pytest.raises(NoteError):
        cosign(HEAD, LOG, time_s=1)
    with pytest.raises(NoteError):
        verify(NOTE, cosigner_named_as_log.verifier)
    with pytest.raises(NoteError):
        verify_cosignatures(NOTE, [LOG.verifier])


def test_extension_lines_are_kept_as_signed() -> None:
    extended = Checkpoint(HEAD.origin, 1, HEAD.root, ("more", "and more"))
    assert verify(sign(extended, LOG), LOG.verifier) == extended


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "o\n1\nAAAA\n",
        "o\n01\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n+1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n١\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n9223372036854775808\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "o\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
        "o\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "o\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
        "o\r\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    ],
)
def test_another_spelling_of_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+",
        str(LOG.verifier)[:-4],
        str(LOG.verifier).replace("ledger+", "ledgers+"),
        str(LOG.verifier).upper(),
        f"two words{str(LOG.verifier)[23:]}",
    ],
)
def test_a_damaged_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(text)


def test_a_note_too_large_or_with_too_many_signatures_is_refused() -> None:
    stranger = Signer("s", bytes(32)).sign_line(b"").encode()
    append_signatures(NOTE, [stranger] * 99)
    with pytest.raises(NoteError, match="101 signatures"):
        append_signatures(NOTE, [stranger] * 100)
    with pytest.raises(NoteError, match="refused unread"):
        parse_note(bytes(256 * 1024 + 1))


def test_names_that_a_signature_line_cannot_carry_are_refused() -> None:
    for name in ("", "a b", "a+b", "a\u2003b", "a\nb", "a\x00b", "\ud800"):
        with pytest.raises(NoteError):
            Signer(name, bytes(32))
    with pytest.raises(NoteError, match="31 octets"):
        Signer("name", bytes(31))
