"""Certificates for the server's sockets, read anew without a restart.

gRPC asks for the certificates at each new connection (`grpc.dynamic_ssl_server_credentials`), so that a change reaches
the next one; those that are open keep theirs. TLS is 1.2 or later; gRPC speaks nothing older.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc

from rewrite_service.errors import RewriteError


class CertificateError(RewriteError):
    """A certificate or key cannot be read or used; the message names the file, and quotes nothing of it."""


class Certificates:
    """The server's certificate chain and key, PEM, and where `client_ca` is given, the authorities one of which must
    have signed a client's certificate (mutual TLS). Raises `CertificateError`."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self.reload()

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self._cert, self._key, self._client_ca) if path is not None)

    def reload(self) -> None:
        """Reads the files; new connections then get what they hold. Raises `CertificateError`, and changes nothing,
        where they do not go together: gRPC would refuse every connection."""
        cert, key = _read(self._cert), _read(self._key)
        ca = None if self._client_ca is None else _read(self._client_ca)
        self._context = self._checked(ca)
        self._current = grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=ca)

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port` of one port: through them gRPC hears of a change."""
        given = self._current

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called by gRPC's threads at each connection. None: as before."""
            nonlocal given
            current = self._current
            if current is given:
                return None
            given = current
            return current

        mutual = self._client_ca is not None
        # The stubs do not know that None is an answer; gRPC's documentation does.
        fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch)
        return grpc.dynamic_ssl_server_credentials(given, fetcher, require_client_authentication=mutual)

    def ssl_context(self) -> ssl.SSLContext:
        """For a listening socket that gRPC does not know: each new connection gets what was read last."""
        return _LatestContext(lambda: self._context)

    def _checked(self, ca: bytes | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # With a password, so that a key that needs one is an error rather than a question on the terminal.
            context.load_cert_chain(self._cert, self._key, password="")
        except (ssl.SSLError, ValueError, OSError):
            raise CertificateError(
                f"{self._cert} and {self._key} cannot be used: they must be a certificate chain and its own key, PEM, "
                "the key without a password"
            ) from None
        if ca is not None:
            try:
                context.load_verify_locations(cadata=ca.decode("ascii"))
            except (ssl.SSLError, ValueError):
                raise CertificateError(f"{self._client_ca} cannot be used: it must hold certificates, PEM") from None
            context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


class _LatestContext(ssl.SSLContext):
    """Passes each connection on to the context of the moment; whatever else is asked of it says nothing."""

    _latest: Callable[[], ssl.SSLContext]

    def __new__(cls, latest: Callable[[], ssl.SSLContext]) -> _LatestContext:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._latest = latest
        return made

    def __init__(self, latest: Callable[[], ssl.SSLContext]) -> None:
        """All is done in `__new__`."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self._latest().wrap_bio(*args, **kwargs)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None
