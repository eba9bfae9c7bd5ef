"""Beyond loopback nobody serves without TLS, or to whoever comes, by mistake."""

from __future__ import annotations

import pytest

from rewrite_service.settings import SettingsError, load_settings

TLS = {"tls_cert": "c", "tls_key": "k"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]"])
def test_loopback_needs_nothing(host: str) -> None:
    assert load_settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.1", "example.org", "localhost.example.org", "127.1"])
def test_beyond_it_tls_and_known_callers_are_needed(host: str) -> None:
    with pytest.raises(SettingsError, match="without TLS") as raised:
        load_settings(host=host, tokens_file="t")
    assert host in str(raised.value) and "allow_insecure" in str(raised.value)
    with pytest.raises(SettingsError, match="tokens_file or tls_client_ca"):
        load_settings(host=host, **TLS)
    load_settings(host=host, tokens_file="t", **TLS)
    load_settings(host=host, tls_client_ca="a", **TLS)
    load_settings(host=host, allow_insecure=True)


@pytest.mark.parametrize("given", [{"tls_cert": "c"}, {"tls_key": "k"}, {"tls_client_ca": "a"}])
def test_files_of_tls_go_together(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="tls_cert and tls_key"):
        load_settings(**given)
