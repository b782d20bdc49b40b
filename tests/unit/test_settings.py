"""Settings: where they come from, what is refused, and that the refusal helps."""

from pathlib import Path

import pytest

from landfall.settings import SettingsError, read_settings

KEK = "00" * 32


def test_defaults_serve_one_process_on_loopback() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8400, 1)
    assert settings.data_dir == Path("data").resolve()
    assert settings.database_url is None
    assert settings.key_encryption_key is None


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('port = 9000\nworkers = 4\nlog_json = false\nhost = "0.0.0.0"\n')
    settings = read_settings({"LANDFALL_CONFIG": str(file), "LANDFALL_PORT": "9001"})
    assert (settings.port, settings.workers, settings.log_json, settings.host) == (9001, 4, False, "0.0.0.0")


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("LANDFALL_PORT", "http", "from 0 to 65535"),
        ("LANDFALL_PORT", "-1", "from 0 to 65535"),
        ("LANDFALL_WORKERS", "0", "from 1 to 64"),
        ("LANDFALL_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("LANDFALL_LOG_JSON", "perhaps", "true"),
        ("LANDFALL_HOST", "http://x", "127.0.0.1"),
    ],
)
def test_an_error_names_variable_value_and_remedy(variable: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings({variable: value})
    assert all(part in str(raised.value) for part in (variable, repr(value), remedy))


def test_a_misspelt_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("worker = 4\n")
    with pytest.raises(SettingsError, match=r"worker in .*node.toml is no setting: there are .*workers"):
        read_settings({}, file=tmp_path / "node.toml")


def test_the_key_encryption_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "kek").write_text(KEK + "\n")
    assert read_settings({"LANDFALL_KEK": KEK}).require_kek() == bytes(32)
    assert read_settings({"LANDFALL_KEK_FILE": str(tmp_path / "kek")}).require_kek() == bytes(32)


def test_a_missing_key_encryption_key_says_how_to_make_one() -> None:
    with pytest.raises(SettingsError, match="openssl rand -base64 32"):
        read_settings({}).require_kek()


def test_a_key_file_inside_the_data_folder_is_refused_even_through_a_link(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "kek").write_text(KEK)
    (tmp_path / "link").symlink_to(data / "kek")
    for file in (data / "kek", tmp_path / "link", data / ".." / "data" / "kek"):
        with pytest.raises(SettingsError, match=r"LANDFALL_KEK_FILE.*move the file"):
            read_settings({"LANDFALL_DATA_DIR": str(data), "LANDFALL_KEK_FILE": str(file)})


def test_a_key_in_the_settings_file_is_refused_without_repeating_it(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(f'kek = "{KEK}"\n')
    with pytest.raises(SettingsError, match="kek_file") as raised:
        read_settings({}, file=tmp_path / "node.toml")
    assert KEK not in str(raised.value)


def test_two_keys_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kek").write_text(KEK)
    with pytest.raises(SettingsError, match="unset one"):
        read_settings({"LANDFALL_KEK": KEK, "LANDFALL_KEK_FILE": str(tmp_path / "kek")})


def test_a_weak_key_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match="LANDFALL_KEK") as raised:
        read_settings({"LANDFALL_KEK": "hunter2hunter2"})
    assert "hunter2" not in str(raised.value)


def test_settings_print_no_key_and_no_database_password() -> None:
    settings = read_settings({"LANDFALL_KEK": KEK, "LANDFALL_DATABASE_URL": "postgresql://u:tops3cret@db/ledger"})
    assert settings.database_url == "postgresql://u:tops3cret@db/ledger"
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "tops3cret" not in text
        assert "\\x00" not in text


def test_a_database_url_of_another_kind_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match="LANDFALL_DATABASE_URL") as raised:
        read_settings({"LANDFALL_DATABASE_URL": "mysql://u:tops3cret@db/ledger"})
    assert "tops3cret" not in str(raised.value)
