"""TLS in the receiver: what it speaks, renewal in place, and whose headers are believed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import ClientError, ClientSession, web

from app.cli.main import main
from app.cli.options import this_program
from app.doctor.finding import Status
from app.doctor.provider import visit
from app.errors import ConfigError
from app.http.tls import Certificate
from app.sandbox.ports import choose_ports

if TYPE_CHECKING:
    from tests.app.http.conftest import Running
    from tests.conftest import RedisServer

DEADLINE_S = 30.0
FILE = """
[redis]
url = "{redis}"
[receiver]
tls_certificate = "receiver.pem"
tls_key = "receiver.key"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""


def issue(ca: trustme.CA, folder: Path) -> None:
    """Write a new certificate and its key, each file replaced whole, as renewers do."""
    made = ca.issue_cert("127.0.0.1", "localhost")
    for name, data in (
        ("receiver.pem", b"".join(pem.bytes() for pem in made.cert_chain_pems)),
        ("receiver.key", made.private_key_pem.bytes()),
    ):
        (folder / "new").write_bytes(data)
        (folder / "new").replace(folder / name)


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@asynccontextmanager
async def serving(certificate: Certificate) -> AsyncIterator[int]:
    """Serve nothing but TLS; yield the port."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def presented(port: int, context: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="127.0.0.1"
    )
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return der


async def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path: Path) -> None:
    ca = trustme.CA()
    issue(ca, tmp_path)
    certificate = Certificate(tmp_path / "receiver.pem", tmp_path / "receiver.key")
    async with serving(certificate) as port:
        first = await presented(port, trusting(ca))
        certificate.refresh()
        assert await presented(port, trusting(ca)) == first
        issue(ca, tmp_path)
        certificate.refresh()
        assert await presented(port, trusting(ca)) != first


@pytest.mark.parametrize("broken", ["not a certificate", "", "another's key", "gone"])
async def test_a_broken_renewal_changes_nothing(tmp_path: Path, broken: str) -> None:
    ca = trustme.CA()
    issue(ca, tmp_path)
    certificate = Certificate(tmp_path / "receiver.pem", tmp_path / "receiver.key")
    async with serving(certificate) as port:
        first = await presented(port, trusting(ca))
        if broken == "another's key":
            (tmp_path / "receiver.key").write_bytes(ca.issue_cert("x").private_key_pem.bytes())
        elif broken == "gone":
            (tmp_path / "receiver.pem").unlink()
        else:
            (tmp_path / "receiver.pem").write_text(broken)
        certificate.refresh()
        assert await presented(port, trusting(ca)) == first
        issue(ca, tmp_path)
        certificate.refresh()
        assert await presented(port, trusting(ca)) != first


OLD: dict[str, tuple[ssl.TLSVersion, str]] = {
    "TLS 1.1": (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
    "no forward secrecy": (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384:@SECLEVEL=0"),
    "CBC": (
        ssl.TLSVersion.TLSv1_2,
        "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that the client speaks TLS 1.1
@pytest.mark.parametrize(("newest", "ciphers"), OLD.values(), ids=OLD.keys())
async def test_what_is_not_safe_any_more_is_not_spoken(
    tmp_path: Path, newest: ssl.TLSVersion, ciphers: str
) -> None:
    ca = trustme.CA()
    issue(ca, tmp_path)
    certificate = Certificate(tmp_path / "receiver.pem", tmp_path / "receiver.key")
    context = trusting(ca)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    context.set_ciphers(ciphers)
    async with serving(certificate) as port:
        assert await presented(port, trusting(ca))
        with pytest.raises((ssl.SSLError, OSError)):
            await presented(port, context)


def test_a_certificate_and_a_key_of_another_are_a_mistake_of_the_configuration(
    tmp_path: Path,
) -> None:
    ca = trustme.CA()
    issue(ca, tmp_path)
    (tmp_path / "receiver.key").write_bytes(ca.issue_cert("x").private_key_pem.bytes())
    with pytest.raises(ConfigError, match=r"receiver\.tls_certificate: can't be used"):
        Certificate(tmp_path / "receiver.pem", tmp_path / "receiver.key")


def test_the_files_are_looked_for_beside_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(FILE.format(redis="redis://127.0.0.1:1/0"))
    assert main(["check-config", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"receiver.tls_certificate: there is no file {tmp_path / 'receiver.pem'}" in said
    issue(trustme.CA(), tmp_path)
    assert main(["check-config", str(file)]) == 0


async def test_the_receiver_speaks_tls_and_doctor_tells_whether_it_is_trusted(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    ca = trustme.CA()
    issue(ca, tmp_path)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis=redis_server.url)
    file.write_text(text)
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    process = await asyncio.create_subprocess_exec(
        *this_program("receiver", "--config", str(file), "--port", str(port)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with ClientSession() as http, asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(ClientError):
                    url = f"https://127.0.0.1:{port}/readyz"
                    async with http.get(url, ssl=trusting(ca)) as reply:
                        assert reply.status == 200
                        break
                await asyncio.sleep(0.05)
        base = f"https://127.0.0.1:{port}/scim/acme/v2"
        trusted = await visit(
            base, "x", "okta", domain="x.example", read_only=True, ca_file=tmp_path / "ca.pem"
        )
        foreign = await visit(base, "x", "okta", domain="x.example", read_only=True)
        assert "401" in trusted[-1].finding
        assert foreign[-1].status is Status.FAIL
        assert "its certificate is not trusted" in foreign[-1].finding
    finally:
        process.terminate()
        await process.wait()


PROXIES = {"ours": ('["127.0.0.0/8"]', "https"), "somebody's": ('["10.0.0.0/8"]', "http")}


@pytest.mark.parametrize(("proxies", "scheme"), PROXIES.values(), ids=PROXIES.keys())
async def test_only_our_proxies_are_believed_what_the_client_spoke(
    running: Running, tmp_path: Path, redis_server: RedisServer, proxies: str, scheme: str
) -> None:
    extra = f"[receiver]\ntrusted_proxies = {proxies}\n"
    file = tmp_path / "clickhouse-scim.toml"
    async with running(file, redis_server.url, extra) as service:
        reply = await service.scim(
            "POST", "/Users", {"userName": "ana"}, headers={"X-Forwarded-Proto": "https"}
        )
        assert reply.headers["Location"].startswith(f"{scheme}://127.0.0.1:")
