"""Who gets through the door, who does not, and what they are told."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta

import pytest

from rewrite_service.access.door import ANYBODY, Access
from rewrite_service.access.scopes import METHOD_SCOPES, Scope, scope_of
from rewrite_service.access.tokens import TokenEntry, digest_of, new_token
from rewrite_service.errors import Overloaded, PermissionDenied, RewriteError, Unauthenticated
from rewrite_service.pb import rewrite_pb2 as pb

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def entry(token: str, name: str = "a", **fields: object) -> TokenEntry:
    given = {"name": name, "sha256": digest_of(token).hex(), "scopes": ["rewrite"]} | fields
    return TokenEntry.model_validate(given)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("user-agent", "grpc"), ("authorization", f"Bearer {token}")]


def test_without_tokens_everybody_may_do_everything() -> None:
    for metadata in (None, [], bearer("whatever")):
        for scope in Scope:
            assert Access().check(metadata, scope) is ANYBODY


def test_the_right_token_is_known_by_its_name_and_tenant() -> None:
    mine, other = new_token(), new_token()
    access = Access([entry(other, "other"), entry(mine, "mine", tenant="acme")])
    for scheme in ("Bearer", "bearer", "BEARER"):
        caller = access.check([("Authorization", f"{scheme} {mine}")], Scope.REWRITE)
        assert (caller.name, caller.tenant) == ("mine", "acme")


TOKEN = new_token()


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [],
        [("authorization", "")],
        [("authorization", TOKEN)],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Bearer {TOKEN[:-1]}")],
        [("authorization", f"Bearer {TOKEN.swapcase()}")],
        [("authorization", f"Bearer {digest_of(TOKEN).hex()}")],
        [("authorization", "Bearer " + "x" * 100_000)],
        [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
        [("authorization-bin", f"Bearer {TOKEN}")],
        [("x-authorization", f"Bearer {TOKEN}")],
    ],
)
def test_whoever_shows_no_known_token_is_told_how_and_nothing_else(metadata: object) -> None:
    for access in (Access([entry(TOKEN)]), Access([])):
        with pytest.raises(Unauthenticated) as raised:
            access.check(metadata, Scope.REWRITE)
        assert "authorization: Bearer TOKEN" in str(raised.value)
        assert TOKEN[5:15] not in str(raised.value)


def test_an_empty_list_lets_nobody_in() -> None:
    with pytest.raises(Unauthenticated):
        Access([]).check(bearer(TOKEN), Scope.REWRITE)


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.RECORD])
def test_no_scope_stands_for_another(scope: Scope) -> None:
    access = Access([entry(TOKEN, scopes=["record"])])
    assert access.check(bearer(TOKEN), Scope.RECORD).name == "a"
    with pytest.raises(PermissionDenied, match=f"'{scope}'"):
        access.check(bearer(TOKEN), scope)


def test_it_expires_while_the_server_runs() -> None:
    now = [NOW]
    access = Access([entry(TOKEN, expires=NOW + timedelta(seconds=1))], now=lambda: now[0])
    access.check(bearer(TOKEN), Scope.REWRITE)
    now[0] += timedelta(seconds=1)
    with pytest.raises(Unauthenticated, match="expired"):
        access.check(bearer(TOKEN), Scope.REWRITE)


def test_a_token_is_compared_with_all_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However early it is found, and whether it is: time tells nothing."""
    tokens = [new_token() for _ in range(5)]
    access = Access([entry(token, f"t{n}") for n, token in enumerate(tokens)])
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))
    for token in (*tokens, "wrong"):
        compared.clear()
        try:
            access.check(bearer(token), Scope.REWRITE)
        except Unauthenticated:
            assert token == "wrong"
        assert len(compared) == len(tokens)


def test_replacing_tokens_withdraws_and_adds_and_keeps_what_is_used_up() -> None:
    stays, goes, comes = new_token(), new_token(), new_token()
    kept = entry(stays, "stays", rate=0.001, burst=2)
    access = Access([kept, entry(goes, "goes")])
    access.check(bearer(stays), Scope.REWRITE)
    access.replace([entry(comes, "comes"), entry(stays, "stays", rate=0.001, burst=2)])
    access.check(bearer(comes), Scope.REWRITE)
    access.check(bearer(stays), Scope.REWRITE)
    with pytest.raises(Overloaded):
        access.check(bearer(stays), Scope.REWRITE)
    with pytest.raises(Unauthenticated):
        access.check(bearer(goes), Scope.REWRITE)


def test_one_who_may_not_uses_up_nothing() -> None:
    access = Access([entry(TOKEN, rate=0.001, burst=1)])
    for _ in range(3):
        with pytest.raises(RewriteError):
            access.check(bearer(TOKEN), Scope.RECORD)
    access.check(bearer(TOKEN), Scope.REWRITE)


def test_every_method_of_the_service_has_a_scope() -> None:
    methods = pb.DESCRIPTOR.services_by_name["RewriteService"].methods
    assert {method.name for method in methods} <= set(METHOD_SCOPES)
    for method in methods:
        assert scope_of(method.input_type) is METHOD_SCOPES[method.name]


def test_a_message_that_no_method_takes_has_no_scope() -> None:
    with pytest.raises(KeyError):
        scope_of(pb.Interaction.DESCRIPTOR)
