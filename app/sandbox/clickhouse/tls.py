"""The certificate of the ports with TLS: one that is given, or one that the server makes itself."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart

_NAMES = ("localhost", "127.0.0.1", "::1")
_VALID = dt.timedelta(days=3650)
_SLOW_CLOCK = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Files in PEM form: a certificate, with those that lead to a known one, and its key."""

    certificate: Path
    key: Path


def server_context(given: KeyPair | None, directory: Path, host: str) -> ssl.SSLContext:
    """Return what a port with TLS needs. Raises CannotStart for files that cannot be used.

    Without a pair of files a self-signed one is made once: `tls.crt` in `directory` is what clients
    may be told to trust. It holds for `host` and this machine.
    """
    pair = given or KeyPair(directory / "tls.crt", directory / "tls.key")
    if given is None and not (pair.certificate.exists() and pair.key.exists()):
        _make(pair, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(pair.certificate, pair.key)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(
            f"cannot use {pair.certificate} with {pair.key}: {error}; "
            "give --tls-cert and --tls-key that belong together, in PEM form"
        ) from error
    return context


def _make(pair: KeyPair, host: str) -> None:
    from cryptography import x509  # noqa: PLC0415  0.2 s, and only once for a directory
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ClickHouse sandbox")])
    now = dt.datetime.now(dt.UTC)
    signs = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    names: list[x509.GeneralName] = []
    for one in dict.fromkeys((host, *_NAMES)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(one)))
        except ValueError:
            names.append(x509.DNSName(one))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _SLOW_CLOCK)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    text = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    file = os.open(pair.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(text)
    pair.certificate.write_bytes(certificate.public_bytes(encoding))
