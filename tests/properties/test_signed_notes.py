"""Whatever the octets: a note verifies as it was signed, or one typed error says that it does not."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from settlement.ledger.checkpoint import Checkpoint, cosign, sign, verify, verify_cosignatures
from settlement.ledger.note import NoteError, SignatureKind, Signer, VerifierKey, append_signatures, parse_note

seeds = st.binary(min_size=32, max_size=32)
names = st.text(st.characters(min_codepoint=33, exclude_categories=("Cs", "Zs", "Zl", "Zp")), min_size=1).filter(
    lambda name: "+" not in name and not any(character.isspace() for character in name)
)
LOG = Signer("log.example", bytes(32))
COSIGNER = Signer("validator.example", bytes(31) + b"\x01", SignatureKind.COSIGNATURE)
HEAD = Checkpoint("log.example", 42, bytes(32))
NOTE = append_signatures(sign(HEAD, LOG), [cosign(HEAD, COSIGNER, time_s=1)])


@given(names, seeds, st.integers(0, 2**63 - 1), seeds)
def test_what_is_signed_verifies(name: str, seed: bytes, size: int, root: bytes) -> None:
    signer = Signer(name, seed)
    checkpoint = Checkpoint(name, size, root)
    assert verify(sign(checkpoint, signer), VerifierKey.parse(str(signer.verifier))) == checkpoint


@given(seeds, st.integers(0, 2**63 - 1))
def test_a_cosignature_says_the_time_it_was_made(seed: bytes, time_s: int) -> None:
    cosigner = Signer("validator.example", seed, SignatureKind.COSIGNATURE)
    note = append_signatures(sign(HEAD, LOG), [cosign(HEAD, cosigner, time_s=time_s)])
    assert verify_cosignatures(note, [cosigner.verifier]) == {cosigner.verifier: time_s}


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 255))
def test_no_altered_note_passes_both_checks(position: int, octet: int) -> None:
    altered = NOTE[:position] + bytes([octet]) + NOTE[position + 1 :]
    try:
        head, seen = verify(altered, LOG.verifier), verify_cosignatures(altered, [COSIGNER.verifier])
    except NoteError:
        return
    # An altered name or key id makes a line a stranger's: it counts for nothing, but the head stands.
    assert head == HEAD
    assert altered == NOTE or seen == {}


@given(
    st.binary(max_size=400)
    | st.text(max_size=200).map(lambda text: f"{text}\n\n— a AAAAAAA=\n".encode(errors="replace"))
)
def test_any_octets_are_a_note_or_one_typed_error(octets: bytes) -> None:
    try:
        note = parse_note(octets)
        assert octets.startswith(note.text.encode())
        verify(octets, LOG.verifier)
    except NoteError:
        pass


@given(st.text() | names.map(lambda name: f"{name}\n1\n{'A' * 43}=\n"))
def test_any_text_is_a_checkpoint_in_its_one_spelling_or_one_typed_error(text: str) -> None:
    with contextlib.suppress(NoteError):
        assert Checkpoint.parse(text).text() == text


@given(st.text() | st.tuples(names, st.text("0123456789abcdef", min_size=8, max_size=8), names).map("+".join))
def test_any_text_is_a_verifier_key_in_its_one_spelling_or_one_typed_error(text: str) -> None:
    with contextlib.suppress(NoteError):
        assert str(VerifierKey.parse(text)) == text.strip()
