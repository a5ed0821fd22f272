"""HTTPS: a certificate is refused at the start, or else kept until a better one is there."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession, TCPConnector

from jobstore.model.errors import ConfigError
from jobstore.service.certificates import Certificates
from tests.certificates import Certified, certified, needs_openssl
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.stores import states
from trials.clients import client
from trials.sockets import Connection, message

pytestmark = needs_openssl

LARGE = "/stream?sized&chunks=800"  # 50 MiB


@pytest.fixture
def first(tmp_path: Path) -> Certified:
    return certified(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Certified:
    return certified(tmp_path / "second")


def over_tls(first: Certified) -> dict[str, str]:
    """Write the section of the configuration."""
    return {"tls_certificate": str(first.certificate), "tls_key": str(first.key)}


def trusting(certificate: Certified) -> ClientSession:
    """Make a client that trusts a certificate, and makes a new connection for each request."""
    return client(connector=TCPConnector(ssl=certificate.trust, force_close=True))


async def connected(url: str, trust: ssl.SSLContext) -> Connection:
    port = int(url.rpartition(":")[2])
    return Connection(*await asyncio.open_connection("127.0.0.1", port, ssl=trust))


async def test_a_job_is_done_over_https(serve: Serve, first: Certified) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    assert server.url.startswith("https://127.0.0.1:")
    async with trusting(first) as http:
        secure = Client(http, server.url)
        job_id = await secure.done(LARGE)
        answer = await secure("PUT", f"/_api/job/{job_id}")
        assert (answer.status, len(answer.body)) == (200, 800 * 2**16)
        assert (await secure("GET", "/greet/a")).status == 200
        assert (await secure("PUT", f"/_api/job/{job_id}")).status == 404


async def test_a_result_is_not_given_to_a_reader_who_left_in_the_middle(
    serve: Serve, first: Certified
) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    async with trusting(first) as http:
        secure = Client(http, server.url)
        job_id = await secure.done(LARGE)
        leaving = await connected(server.url, first.trust)
        await leaving.send(message("PUT", f"/_api/job/{job_id}"))
        await leaving.head()
        leaving.writer.transport.abort()
        answer = await secure.told(job_id)
        assert (answer.status, len(answer.body)) == (200, 800 * 2**16)


async def test_a_client_who_is_gone_ends_the_handler(serve: Serve, first: Certified) -> None:
    server = await serve(server=over_tls(first), target=GATED)
    async with trusting(first) as http:
        gates = Client(http, server.url)
        leaving = await connected(server.url, first.trust)
        await leaving.send(message("GET", "/wait/a"))
        await gates.when("a", "started")
        await leaving.leave()
        await gates.when("a", "cancelled")


async def test_a_client_who_speaks_no_tls_is_let_go(serve: Serve, first: Certified) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    plain = Connection(
        *await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    )
    await plain.send(message("GET", "/greet/a"))
    assert b"200" not in await plain.said_all()
    plain.writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_new_certificate_is_taken_as_soon_as_it_is_there_and_old_connections_go_on(
    serve: Serve, first: Certified, second: Certified, version: ssl.TLSVersion
) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    before, trust = first.trust, second.trust
    trust.maximum_version = version
    old = await connected(server.url, before)
    second.put(first.certificate, first.key)
    async with client(connector=TCPConnector(ssl=trust)) as http:
        assert (await Client(http, server.url)("GET", "/greet/a")).status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        await connected(server.url, before)
    await old.send(message("GET", "/greet/a", "Connection: close"))
    assert (await old.rest()).startswith(b"HTTP/1.1 200 OK")
    old.writer.close()


async def test_a_certificate_that_does_not_fit_its_key_is_not_taken_and_that_is_said_once(
    serve: Serve, first: Certified, second: Certified, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    trust, key = first.trust, first.key.read_bytes()
    second.put(first.certificate, first.key)
    first.key.write_bytes(key)
    with caplog.at_level(logging.WARNING):
        async with client(connector=TCPConnector(ssl=trust, force_close=True)) as http:
            for _ in range(3):
                assert (await Client(http, server.url)("GET", "/greet/a")).status == 200
    (warning,) = caplog.messages
    assert "the certificate and the key do not match" in warning
    assert "the earlier certificate stays in use" in warning


async def test_a_certificate_that_is_gone_stays_in_use(serve: Serve, first: Certified) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    trust = first.trust
    first.certificate.unlink()
    async with client(connector=TCPConnector(ssl=trust)) as http:
        assert (await Client(http, server.url)("GET", "/greet/a")).status == 200


async def test_a_stranger_to_the_certificate_is_not_answered(
    serve: Serve, first: Certified, second: Certified, store_path: Path
) -> None:
    server = await serve(server=over_tls(first), target=ORDINARY)
    async with trusting(second) as http:
        with pytest.raises(ClientConnectorCertificateError):
            await Client(http, server.url).submit("/greet/a")
    assert states(store_path) == {}


# --- at the start -------------------------------------------------------------------------------


def refused(certificate: Path, key: Path | None) -> str:
    with pytest.raises(ConfigError) as error:
        Certificates(certificate, key)
    return str(error.value)


def test_what_is_no_certificate_with_its_key_is_refused_in_a_sentence(
    first: Certified, second: Certified, tmp_path: Path
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("Dear diary")
    missing = tmp_path / "missing.pem"
    assert "do not match" in refused(first.certificate, second.key)
    assert "expected a certificate and its key in PEM" in refused(text, first.key)
    assert "expected a certificate and its key in PEM" in refused(first.certificate, None)
    assert f"cannot read {missing}: No such file" in refused(missing, first.key)
    assert f"cannot read {missing}: No such file" in refused(first.certificate, missing)
    encrypted = certified(tmp_path / "encrypted", "localhost", "-passout", "pass:secret")
    assert "expected a key without a passphrase" in refused(encrypted.certificate, encrypted.key)


def test_both_may_stand_in_one_file(first: Certified, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(first.certificate.read_bytes() + first.key.read_bytes())
    assert Certificates(both, None).refresh()
