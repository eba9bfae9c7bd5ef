"""The tokens file: read strictly, written in one step, and nothing in it opens a door."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rewrite_service.access.scopes import Scope
from rewrite_service.access.tokens import (
    MAX_TOKENS,
    TokenEntry,
    TokensError,
    add_token,
    as_block,
    digest_of,
    is_expired,
    new_token,
    parse_tokens,
    read_tokens,
)

HASH = digest_of("a token").hex()


def entry(name: str = "a", **fields: object) -> TokenEntry:
    given = {"name": name, "sha256": digest_of(name).hex(), "scopes": ["rewrite"]} | fields
    return TokenEntry.model_validate(given)


def test_what_is_written_is_read() -> None:
    entries = (
        entry(),
        entry("b", scopes=list(Scope), tenant="acme", rate=0.5, burst=3, calls=2),
        entry("c", expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
    )
    assert parse_tokens("".join(map(as_block, entries))) == entries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[token]", "not TOML"),
        ("token = 1", r"\[\[token\]\]"),
        ("tokens = []", r"\[\[token\]\]"),
        (f'[[token]]\nsha256 = "{HASH}"\nscopes = ["rewrite"]', "token 1: name"),
        (f'[[token]]\nname = "a b"\nsha256 = "{HASH}"\nscopes = ["rewrite"]', "token 1: name"),
        ('[[token]]\nname = "a"\nsha256 = "abc"\nscopes = ["rewrite"]', "token 1: sha256"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = []', "token 1: scopes"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["everything"]', "token 1: scopes"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["admin"]\nscope = "x"', "token 1: scope"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["admin"]\nrate = 0', "token 1: rate"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["admin"]\nrate = nan', "token 1: rate"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["admin"]\ntenant = "a\x1fb"', "TOML|tenant"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["admin"]\ntenant = "a/b"', "token 1: tenant"),
        (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nscopes = ["admin"]\nexpires = 2030-01-01T00:00:00', "expires"),
        (as_block(entry()) * 2, "token 2: name"),
        (as_block(entry("b", sha256=HASH)) + as_block(entry("c", sha256=HASH)), "token 2: sha256"),
        ("".join(as_block(entry(f"t{n}")) for n in range(MAX_TOKENS + 1)), f"at most {MAX_TOKENS}"),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    with pytest.raises(TokensError, match=said) as raised:
        read_tokens(path)
    assert str(path) in str(raised.value)


def test_a_token_put_where_its_hash_belongs_is_not_quoted(tmp_path: Path) -> None:
    token = new_token()
    for text in (
        f'[[token]]\nname = "a"\nsha256 = "{token}"\nscopes = ["rewrite"]',
        f'[[token]]\nname = "{token} "\nsha256 = "{HASH}"\nscopes = ["rewrite"]',
        f'[[token]]\n{token}',
    ):
        with pytest.raises(TokensError) as raised:
            parse_tokens(text)
        assert token[4:12] not in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match="cannot be read"):
        read_tokens(tmp_path / "none.toml")


def test_those_that_are_added_at_once_all_get_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add_token(path, entry(f"t{n}")), range(24)))
    assert {made.name for made in read_tokens(path)} == {f"t{n}" for n in range(24)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [other.name for other in tmp_path.iterdir()] == ["tokens.toml"]


def test_what_cannot_be_added_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text("# mine\n" + as_block(entry()).rstrip())
    path.chmod(0o640)
    before = path.read_bytes()
    with pytest.raises(TokensError, match="name"):
        add_token(path, entry())
    assert path.read_bytes() == before
    add_token(path, entry("b"))
    assert path.read_text().startswith("# mine\n") and len(read_tokens(path)) == 2
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_token_is_of_256_bits_and_never_the_same() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100 and all(token.startswith("qrw_") and len(token) == 47 for token in made)


def test_it_expires_on_the_moment() -> None:
    day = datetime(2030, 1, 1, tzinfo=UTC)
    assert not is_expired(entry(), day)
    assert is_expired(entry(expires=day), day)
    assert not is_expired(entry(expires=day), day - timedelta(microseconds=1))


def test_the_command_prints_the_token_once_and_keeps_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    command = [sys.executable, "-m", "rewrite_service.cli", "token"]
    made = subprocess.run(
        [*command, "new", "--file", str(path), "--name", "desk", "--scope", "rewrite", "--tenant", "acme"],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    token = made.stdout.strip()
    [kept] = read_tokens(path)
    assert kept.digest == digest_of(token) and (kept.name, kept.tenant) == ("desk", "acme")
    assert token not in path.read_text() and token not in made.stderr
    listed = subprocess.run([*command, "list", "--file", str(path)], capture_output=True, text=True, timeout=300)
    assert "desk" in listed.stdout and kept.sha256 not in listed.stdout
    again = subprocess.run(
        [*command, "new", "--file", str(path), "--name", "x", "--scope", "all"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert again.returncode == 1 and "scopes" in again.stderr and not again.stdout
