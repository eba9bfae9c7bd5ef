"""Certificates made on the spot, as an operator's authority would: for tests of TLS over real sockets."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """An authority with a key of its own; its certificate is `pem`."""

    def __init__(self, name: str = "test authority") -> None:
        self._name, self._key = _named(name), ec.generate_private_key(ec.SECP256R1())
        made = _builder(self._name, self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A certificate for this machine's loopback addresses, and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = _builder(_named(name), self._name, key).add_extension(x509.SubjectAlternativeName(addresses), False)
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return made.sign(self._key, hashes.SHA256()).public_bytes(_PEM), secret

    def write(self, folder: Path, name: str) -> bytes:
        """A new certificate and key in `folder`, in the place of its server.pem and server.key. The certificate."""
        cert, key = self.issue(name)
        for file, content in (("server.key", key), ("server.pem", cert)):
            (folder / f".{file}").write_bytes(content)
            (folder / f".{file}").replace(folder / file)
        return cert


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
