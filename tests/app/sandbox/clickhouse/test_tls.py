"""TLS on both protocols, with every client, and what the certificate is worth."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asynch
import clickhouse_connect
import pytest
from asynch.errors import NetworkError
from clickhouse_driver import Client
from cryptography import x509

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.tls import KeyPair, server_context

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import OwnServer

PORTS = ("--http-port", "0", "--secure-port", "0", "--https-port", "0")


async def test_every_client_speaks_with_the_certificate_that_the_server_made(
    own_server: OwnServer,
) -> None:
    sql = own_server.start(*PORTS)
    assert await sql("SELECT 1") == [(1,)]
    trusted = str(own_server.data_dir / "tls.crt")
    secure, https = own_server.ports["secure"], own_server.ports["https"]
    async with asynch.Connection(
        host="127.0.0.1", port=secure, secure=True, ca_certs=trusted
    ) as connection:
        assert await sql.on(connection, "SELECT 2") == [(2,)]
    await asyncio.to_thread(_others, trusted, secure, https)
    with pytest.raises(NetworkError):  # nobody has said that it is to be trusted
        await asynch.Connection(host="127.0.0.1", port=secure, secure=True).connect()


def _others(trusted: str, secure: int, https: int) -> None:
    driver = Client("127.0.0.1", secure, secure=True, ca_certs=trusted)
    assert driver.execute("SELECT 3") == [(3,)]
    driver.disconnect()
    client = clickhouse_connect.get_client(
        host="localhost", port=https, secure=True, ca_cert=trusted, dedicated_pool=True
    )
    assert client.command("SELECT 4") == 4
    client.close()
    curl = ["curl", "-sS", "--cacert", trusted, f"https://127.0.0.1:{https}", "-d", "SELECT 5"]
    assert subprocess.run(curl, capture_output=True, check=True).stdout == b"5\n"


async def test_a_stranger_to_tls_is_let_go(own_server: OwnServer) -> None:
    sql = own_server.start(*PORTS)
    for name in ("secure", "https"):
        reader, writer = await asyncio.open_connection("127.0.0.1", own_server.ports[name])
        writer.write(b"\x00no handshake at all" * 10)
        assert b"\x00no" not in await reader.read()
        writer.close()
    assert await sql("SELECT 1") == [(1,)]


def test_a_certificate_of_its_own_is_made_once_and_its_key_is_secret(tmp_path: Path) -> None:
    server_context(None, tmp_path, "127.0.0.1")
    text = (tmp_path / "tls.crt").read_bytes()
    made = x509.load_pem_x509_certificate(text)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert made.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=3000)
    assert (tmp_path / "tls.key").stat().st_mode & 0o077 == 0
    server_context(None, tmp_path, "127.0.0.1")
    assert (tmp_path / "tls.crt").read_bytes() == text


def test_a_given_certificate_is_used(tmp_path: Path) -> None:
    server_context(None, tmp_path, "ch.example")
    given = KeyPair(tmp_path / "tls.crt", tmp_path / "tls.key")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert isinstance(server_context(given, elsewhere, "127.0.0.1"), ssl.SSLContext)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_a_certificate_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, content: str
) -> None:
    given = KeyPair(tmp_path / "a.crt", tmp_path / "a.key")
    if content:
        given.certificate.write_text(content)
    with pytest.raises(CannotStart, match="give --tls-cert and --tls-key") as refused:
        server_context(given, tmp_path, "127.0.0.1")
    assert "\n" not in str(refused.value)


def test_a_certificate_without_its_key_is_wrong_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli.main", "clickhouse-sandbox", "--port", "9000"]
    (tmp_path / "a.crt").write_text("x")
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path), "--tls-cert", str(tmp_path / "a.crt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "go together" in done.stderr
