"""Where a server listens: ports and socket files, several at once, and what stands in the way."""

import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from jobstore.model.address import SocketFile, TcpAddress, read_address
from jobstore.model.errors import CannotListen, NotOpen
from jobstore.service.listening import MODE, listening
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.stores import held_up, states
from trials.clients import client
from trials.sockets import connected, message

# How long a client waits for its turn at most, in seconds; nothing here comes near it.
PATIENCE = 5


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1:8529", TcpAddress("127.0.0.1", 8529)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("[::1]:8529", TcpAddress("::1", 8529)),
        ("unix:/run/jobstore.sock", SocketFile(Path("/run/jobstore.sock"))),
        ("unix:jobs.sock", SocketFile(Path("jobs.sock"))),
    ],
)
def test_an_address_is_read_as_it_is_written(
    written: str, address: TcpAddress | SocketFile
) -> None:
    assert read_address(written) == address
    assert read_address(str(address)) == address


@pytest.mark.parametrize(
    "written",
    ["", "8529", ":8529", "127.0.0.1", "::1:8529", "h:65536", "h:", "a b:1", "unix:", "unix:/",
     "http://127.0.0.1:8529", 8529, None],
)  # fmt: skip
def test_what_is_no_address_is_refused(written: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of its kind
        read_address(written)


async def test_a_server_answers_at_all_its_addresses(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "jobs.sock"
    server = await serve(
        server={"listen": ["127.0.0.1:0", "[::1]:0", f"unix:{path}"]}, target=ORDINARY
    )
    first, second, third = server.urls
    assert (server.url, third) == (first, f"unix:{path}")
    assert second.startswith("http://[::1]:")
    async with client() as http:
        for url in (first, second):
            assert (await Client(http, url)("GET", "/greet/a")).status == 200
    async with client(connector=UnixConnector(str(path))) as http:
        job_id = await Client(http, "http://localhost").done("/greet/a")
    async with client() as http:
        assert (await Client(http, second)("PUT", f"/_api/job/{job_id}")).status == 200


async def test_many_clients_may_come_in_one_moment(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "jobs.sock"
    server = await serve(server={"listen": ["127.0.0.1:0", f"unix:{path}"]}, target=ORDINARY)
    port = int(server.url.rpartition(":")[2])
    with ExitStack() as clients:
        for kind, address in ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_UNIX, str(path))):
            for _ in range(200):  # none of whom is accepted as long as the loop does not turn
                comes = clients.enter_context(socket.socket(kind))
                comes.settimeout(PATIENCE)
                comes.connect(address)
        async with client() as http:  # who comes after all of them
            assert (await Client(http, server.url)("GET", "/greet/a")).status == 200
        async with client(connector=UnixConnector(str(path))) as http:
            assert (await Client(http, "http://localhost")("GET", "/greet/a")).status == 200


async def test_a_socket_file_is_for_its_owner_and_group_and_goes_with_its_server(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.sock"
    with listening([SocketFile(path)], secure=True) as (listener,):
        assert stat.S_IMODE(path.stat().st_mode) == MODE == 0o660
        assert (listener.url, listener.is_local, listener.secure) == (f"unix:{path}", True, False)
    assert not path.exists()


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with listening([SocketFile(path)], secure=False), socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))


@pytest.fixture
def in_the_way(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Put something where a socket file shall be."""
    path = tmp_path / "jobs.sock"
    with socket.socket(socket.AF_UNIX) as live:
        match request.param:
            case "file":
                path.write_text("mine")
            case "link":
                path.symlink_to(tmp_path / "nowhere")
            case "folder":
                path.mkdir()
            case "live":
                live.bind(str(path))
                live.listen()
        yield path


@pytest.mark.parametrize(
    ("in_the_way", "sentence"),
    [
        ("file", "the path exists and is not a socket; remove it, or choose another path"),
        ("link", "the path exists and is not a socket"),
        ("folder", "the path exists and is not a socket"),
        ("live", "another server is listening there"),
    ],
    indirect=["in_the_way"],
)
def test_what_is_not_the_servers_own_is_left_alone(in_the_way: Path, sentence: str) -> None:
    before = in_the_way.lstat()
    with (
        pytest.raises(CannotListen, match=sentence),
        listening([SocketFile(in_the_way)], secure=False),
    ):
        pass
    assert in_the_way.lstat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (SocketFile(Path("/no/such/folder/jobs.sock")), "its folder does not exist"),
        (SocketFile(Path("/", "x" * 150)), "expected a path of at most 107 bytes"),
        (TcpAddress("no such host", 80), "cannot listen on no such host:80: "),
        (TcpAddress("x" * 300, 80), "this is not a valid host name"),
        (TcpAddress("192.0.2.1", 0), "Cannot assign requested address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_a_sentence(
    address: TcpAddress | SocketFile, sentence: str
) -> None:
    with pytest.raises(CannotListen, match=sentence), listening([address], secure=False):
        pass


async def test_each_address_has_to_be_a_local_one_unless_there_are_accounts(
    serve: Serve, tmp_path: Path
) -> None:
    listen = [f"unix:{tmp_path / 'jobs.sock'}", "0.0.0.0:0"]
    with pytest.raises(NotOpen, match=r"refusing to listen on 0\.0\.0\.0: without accounts"):
        await serve(server={"listen": listen})
    with pytest.raises(NotOpen, match=r"refusing to listen on 0\.0\.0\.0: without accounts"):
        await serve(admin={"listen": ["0.0.0.0:0"]})


# --- clients at a socket file -------------------------------------------------------------------


async def test_a_client_at_a_socket_file_who_sends_nothing_more_gets_its_answer(
    serve: Serve, store_path: Path, tmp_path: Path
) -> None:
    server = await serve(server={"listen": [f"unix:{tmp_path / 'jobs.sock'}"]}, target=ORDINARY)
    async with connected(server.url) as half_closed:
        await half_closed.send(message("GET", "/greet/a", "x-arango-async: store"))
        assert b" 202 Accepted" in await half_closed.said_all()
    assert len(states(store_path)) == 1


async def test_a_result_is_not_given_to_a_reader_at_a_socket_file_who_is_gone(
    serve: Serve, store_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.sock"
    server = await serve(server={"listen": ["127.0.0.1:0", f"unix:{path}"]}, target=ORDINARY)
    async with client() as http:
        first = Client(http, server.url)
        job_id = await first.done("/greet/a")
        async with held_up(store_path), connected(f"unix:{path}") as reader:
            await reader.send(message("PUT", f"/_api/job/{job_id}"))
            await first("GET", f"/_api/job/{job_id}")
            await reader.leave()
        answer = await first.told(job_id)
    assert answer.status == 200


async def test_a_client_at_a_socket_file_who_is_gone_ends_the_handler(
    serve: Serve, http: ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.sock"
    server = await serve(server={"listen": ["127.0.0.1:0", f"unix:{path}"]}, target=GATED)
    gates = Client(http, server.url)
    async with connected(f"unix:{path}") as leaving:
        await leaving.send(message("GET", "/wait/a"))
        await gates.when("a", "started")
        await leaving.leave()
    await gates.when("a", "cancelled")


# --- a port for operators -----------------------------------------------------------------------


async def test_what_is_for_operators_has_a_port_of_its_own_if_that_is_said(
    serve: Serve, http: ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    server = await serve(admin={"listen": [f"unix:{path}"]}, target=ORDINARY)
    main = Client(http, server.url)
    for probe in ("/_jobs/readyz", "/_jobs/readyz?verbose", "/_jobs/metrics", "/_jobs/livez"):
        hidden = await main("GET", probe)
        assert hidden.status == 404
        assert "[admin] listen" in hidden.json()["detail"]
    assert (await main("GET", "/_jobs")).status == 200
    async with client(connector=UnixConnector(str(path))) as operators:
        admin = Client(operators, "http://localhost")
        assert (await admin("GET", "/_jobs/readyz")).json() == {"ready": True}
        for other in ("/_jobs", "/greet/a", "/_api/job/pending"):
            refused = await admin("GET", other)
            assert refused.status == 404
            assert "this address serves only health" in refused.json()["detail"]
        refused = await admin("GET", "/greet/a", headers={"x-arango-async": "store"})
        assert refused.status == 404


async def test_without_such_a_port_everything_is_answered_at_the_one(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    assert (await Client(http, server.url)("GET", "/_jobs/readyz")).json() == {"ready": True}
