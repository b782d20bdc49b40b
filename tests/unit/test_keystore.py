"""Keys at rest: only the right KEK opens them, nothing can be swapped, and nothing is lost on the way."""

import base64
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landfall.keystore import Keystore, KeystoreError, WrongKek, derive_kek, seal, unseal

KEK = bytes(range(32))
SECRET = b"a private key of 32 octets......"


@pytest.fixture
def store(tmp_path: Path) -> Keystore:
    return Keystore.open(tmp_path / "keys", KEK)


def test_a_key_comes_back_after_reopening(store: Keystore, tmp_path: Path) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    again = Keystore.open(tmp_path / "keys", KEK)
    assert again.get("signing") == SECRET
    assert again.names() == ["signing"]


def test_the_folder_and_its_files_are_private_and_hold_no_secret_in_clear(store: Keystore, tmp_path: Path) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for file in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = file.read_bytes()
        assert not any(form in content for form in (SECRET, SECRET.hex().encode(), base64.b64encode(SECRET), KEK))


def test_a_wrong_kek_is_refused_on_opening(store: Keystore, tmp_path: Path) -> None:
    with pytest.raises(WrongKek, match="LANDFALL_KEK"):
        Keystore.open(tmp_path / "keys", bytes(32))


def test_a_new_kek_opens_the_same_keys_and_the_old_one_no_longer_does(store: Keystore, tmp_path: Path) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    store.rotate_kek(bytes(32))
    assert Keystore.open(tmp_path / "keys", bytes(32)).get("signing") == SECRET
    assert store.get("signing") == SECRET
    with pytest.raises(WrongKek):
        Keystore.open(tmp_path / "keys", KEK)


def test_a_missing_key_is_named_together_with_those_there_are(store: Keystore) -> None:
    store.put("sealing", SECRET, purpose="hpke")
    with pytest.raises(KeystoreError, match=r"'signing'.*'sealing'"):
        store.get("signing")


def test_a_renamed_key_file_is_refused(store: Keystore, tmp_path: Path) -> None:
    store.put("test", SECRET, purpose="test")
    (tmp_path / "keys" / "test.key").rename(tmp_path / "keys" / "live.key")
    with pytest.raises(KeystoreError, match="damaged"):
        store.get("live")


def test_no_altered_octet_of_a_key_file_passes_as_another_key(store: Keystore, tmp_path: Path) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    file = tmp_path / "keys" / "signing.key"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(KeystoreError):
            store.get("signing")


def test_keys_without_the_file_that_opens_them_are_not_given_a_new_one(store: Keystore, tmp_path: Path) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    (tmp_path / "keys" / "store.dek").unlink()
    with pytest.raises(KeystoreError, match="backup"):
        Keystore.open(tmp_path / "keys", KEK)


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "UPPER", "a\0b", "a" * 101])
def test_a_name_cannot_leave_the_folder(store: Keystore, name: str) -> None:
    with pytest.raises(KeystoreError, match="is not a key name"):
        store.put(name, SECRET, purpose="any")


def create(folder: Path, gate: Path, made: "multiprocessing.Queue[bytes]") -> None:
    while not gate.exists():
        pass
    made.put(Keystore.open(folder, KEK).get_or_create("signing", lambda: os.urandom(32), purpose="race"))


def test_processes_that_create_one_key_at_once_all_get_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    made: multiprocessing.Queue[bytes] = context.Queue()
    processes = [context.Process(target=create, args=(tmp_path / "keys", tmp_path / "go", made)) for _ in range(6)]
    for process in processes:
        process.start()
    (tmp_path / "go").touch()
    assert len({made.get(timeout=30) for _ in processes}) == 1
    for process in processes:
        process.join()


def test_an_existing_key_is_not_made_again(store: Keystore) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    assert store.get_or_create("signing", lambda: pytest.fail("made again"), purpose="ledger signature") == SECRET


def test_a_store_prints_nothing_of_what_it_holds(store: Keystore) -> None:
    store.put("signing", SECRET, purpose="ledger signature")
    assert repr(store).startswith("Keystore(")
    assert "signature" not in repr(store)


@pytest.mark.parametrize("text", [KEK.hex(), KEK.hex().upper(), base64.b64encode(KEK).decode(), f" {KEK.hex()}\n"])
def test_a_kek_is_read_in_hexadecimal_and_base64(text: str) -> None:
    assert derive_kek(text) == KEK


@pytest.mark.parametrize(
    "text", ["", "correct horse battery staple", KEK.hex()[:-1], base64.b64encode(b"short").decode()]
)
def test_anything_weaker_than_a_kek_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(KeystoreError, match="openssl rand -base64 32") as raised:
        derive_kek(text)
    assert not text or text not in str(raised.value)


@given(st.binary(max_size=200), st.binary(max_size=40), st.binary(max_size=40))
def test_what_is_sealed_opens_in_its_own_context_only(plaintext: bytes, context: bytes, other: bytes) -> None:
    sealed = seal(KEK, plaintext, context)
    assert unseal(KEK, sealed, context) == plaintext
    if other != context:
        with pytest.raises(KeystoreError):
            unseal(KEK, sealed, other)
