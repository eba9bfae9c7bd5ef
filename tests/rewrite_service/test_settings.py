"""Settings: where they come from, their bounds, and that each is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rewrite_service.settings import Settings, SettingsError, load_settings
from rewrite_service.settings_table import TableError, effective, markdown, put_into

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"QUERY_REWRITE_{name.upper()}", raising=False)


def test_the_table_of_the_document_is_what_the_code_says(tmp_path: Path) -> None:
    document = tmp_path / "operations.md"
    document.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert not put_into(document), "run query-rewrite settings --into docs/operations.md"
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    sections = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert {link for link in re.findall(r"\[More\]\(#([^)]+)\)", markdown())} <= sections
    document.write_text("no marks")
    with pytest.raises(TableError, match="has no lines"):
        put_into(document)


def test_what_holds_is_shown_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERY_REWRITE_REDIS_URL", "redis://me:hush@host")
    shown = {name: (str(value), other) for name, value, other in effective(load_settings(port=7))}
    assert shown["port"] == ("7", True) and shown["host"] == ("127.0.0.1", False)
    assert "hush" not in str(shown)


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert list(rows) == list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert rows[name] == default, name


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_nearer_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('port = 1001\nhost = "127.0.0.2"\nlog_level = "error"\n')
    monkeypatch.setenv("QUERY_REWRITE_PORT", "1002")
    monkeypatch.setenv("QUERY_REWRITE_HOST", "127.0.0.3")
    settings = load_settings(config, port=1003, host=None)
    assert (settings.port, settings.host, settings.log_level) == (1003, "127.0.0.3", "error")
    assert settings.max_in_flight == Settings().max_in_flight


def test_the_environment_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("port = 1001\n")
    monkeypatch.setenv("QUERY_REWRITE_CONFIG", str(config))
    assert load_settings().port == 1001


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1\n", "unknown settings: prot"),
        ("[server]\nport = 1\n", "unknown settings: server"),
        ("port = 70000\n", "port"),
        ("default_deadline_ms = 0\n", "default_deadline_ms"),
        ("port = \n", "cannot be read"),
        ('log_format = "xml"\n', "log_format"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=said) as raised:
        load_settings(config)
    assert "settings.toml" in str(raised.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")


def test_a_bad_environment_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUERY_REWRITE_MAX_IN_FLIGHT", "many")
    with pytest.raises(SettingsError, match="QUERY_REWRITE_MAX_IN_FLIGHT"):
        load_settings()


def test_unknown_and_bad_arguments_are_refused() -> None:
    with pytest.raises(SettingsError, match="prot"):
        load_settings(prot=1)
    with pytest.raises(SettingsError, match="as given"):
        load_settings(port=-1)


def test_the_address_of_redis_is_asked_for_and_never_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs its address"):
        load_settings(store="redis")
    settings = load_settings(store="redis", redis_url="rediss://me:hush-hush@host/0")
    assert settings.redis_url.get_secret_value().endswith("@host/0") and "hush" not in repr(settings)
    config = tmp_path / "settings.toml"
    config.write_text('redis_url = ["redis://me:hush-hush@host"]\n')
    for options, environment in (
        ({"redis_url": "hush-hush"}, None),
        ({"config": config}, None),
        ({}, "http://me:hush-hush@host"),
    ):
        if environment is not None:
            monkeypatch.setenv("QUERY_REWRITE_REDIS_URL", environment)
        with pytest.raises(SettingsError, match="redis_url") as raised:
            load_settings(**options)
        assert "hush" not in str(raised.value)
