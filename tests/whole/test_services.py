"""In front of services as other people write them, which know nothing of jobstore."""

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientSession, CookieJar, FormData

from tests.client import Client
from tests.conftest import Start
from trials.serving import Server, ServerProcess, serving

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
ORIGIN: Final = "https://app.example"
WITH_SOCKETS: Final = ("fastapi", "express")


def uvicorn(folder: Path) -> tuple[str, ...]:
    """Run FastAPI; it believes what its own machine says of who asks."""
    del folder
    return (f"{BIN}/uvicorn", "tests.services.fastapi_app:app", "--port", "0", "--no-access-log")


def gunicorn(folder: Path) -> tuple[str, ...]:
    """Run Flask."""
    del folder
    return (
        f"{BIN}/gunicorn", "tests.services.flask_app:app", "--bind", "127.0.0.1:0",
        "--threads", "4", "--log-level", "info",
    )  # fmt: skip


def node(folder: Path) -> tuple[str, ...]:
    """Install Express from npm, and run it."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm, of the packages nodejs and npm")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "express@5", "ws@8"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"needs express and ws from npm, which gave: {installed.stderr[-200:]}")
    shutil.copy(ROOT / "tests" / "services" / "express_app.js", folder / "app.js")
    return ("node", str(folder / "app.js"))


SERVICES: Final = {"fastapi": uvicorn, "flask": gunicorn, "express": node}


@pytest.fixture(scope="module", params=SERVICES)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run each of the services, once for all tests."""
    command = SERVICES[request.param](tmp_path_factory.mktemp(request.param))
    line = "exec " + " ".join(command) + " 2>&1"
    with serving("-c", line, folder=ROOT, program="/bin/sh") as server:
        yield server


@pytest.fixture
async def front(service: Server, server_process: Start) -> ServerProcess:
    """Put jobstore in front of the service."""
    return await server_process("--upstream", service.url)


# --- as if nobody stood between -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/redirect", "/landed"])
async def test_a_redirect_leads_back_to_where_the_client_came_from(
    front: ServerProcess, http: ClientSession, path: str
) -> None:
    async with http.get(f"{front.url}{path}", allow_redirects=True) as answer:
        assert answer.status == 200
        assert str(answer.url).rstrip("/") == f"{front.url}/landed"
        assert json.loads(await answer.read())["url"].startswith(f"{front.url}/")


async def test_cookies_come_and_go(front: ServerProcess) -> None:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{front.url}/cookies") as first:
            assert await first.json() == {}
            assert len(first.headers.getall("Set-Cookie")) == 2
        async with browser.get(f"{front.url}/cookies") as second:
            assert await second.json() == {"a": "1", "b": "2"}


def form() -> FormData:
    """Make an upload of 3 MB."""
    data = FormData()
    data.add_field("file", BytesIO(bytes(3_000_000)), filename="a.bin", content_type="a/b")
    return data


async def test_an_upload_arrives_at_once_and_as_a_job(
    front: ServerProcess, http: ClientSession
) -> None:
    client = Client(http, front.url)
    at_once = await client("POST", "/upload", data=form())
    assert json.loads(at_once.body) == {"name": "a.bin", "size": 3_000_000}
    job_id = await client.submit("/upload", "POST", data=form())
    assert (await client.fetched(job_id)).body == at_once.body


async def test_events_come_one_by_one(front: ServerProcess, http: ClientSession) -> None:
    client = Client(http, front.url)
    await client("POST", "/happen")  # with the first event comes the head of the answer
    async with http.get(f"{front.url}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert await answer.content.readuntil(b"\n\n") == b"data: 1\n\n"
        for number in (2, 3):
            await client("POST", "/happen")
            assert await answer.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()
        assert await answer.content.read() == b""


async def test_pages_of_other_origins_are_its_own_affair(
    front: ServerProcess, http: ClientSession
) -> None:
    client = Client(http, front.url)
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    leave = await client("OPTIONS", "/who", headers=asked)
    assert leave.status in {200, 204}
    assert leave.headers["Access-Control-Allow-Origin"] == ORIGIN
    answer = await client("GET", "/who", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    stranger = await client("GET", "/who", headers={"Origin": "https://evil.example"})
    assert stranger.headers.get("Access-Control-Allow-Origin") != "https://evil.example"


async def test_it_knows_who_asks_and_by_which_name(
    front: ServerProcess, http: ClientSession
) -> None:
    client, host = Client(http, front.url), front.url.removeprefix("http://")
    known = {"client": "127.0.0.1", "scheme": "http", "host": host}
    lies = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}
    assert json.loads((await client("GET", "/who", headers=lies)).body) == known
    job_id = await client.submit("/who", headers=lies)
    assert json.loads((await client.fetched(job_id)).body) == known


async def test_behind_a_trusted_proxy_it_knows_the_same_as_in_front_of_it(
    service: Server, server_process: Start, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSTORE_SERVER__TRUSTED_PROXIES", "127.0.0.1")
    client = Client(http, (await server_process("--upstream", service.url)).url)
    said = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https"}
    at_once = json.loads((await client("GET", "/who", headers=said)).body)
    assert (at_once["client"], at_once["scheme"]) == ("192.0.2.7", "https")
    job_id = await client.submit("/who", headers=said)
    assert json.loads((await client.fetched(job_id)).body) == at_once


async def test_a_service_with_logins_of_its_own_works_with_one_more_flag(
    service: Server, server_process: Start, http: ClientSession
) -> None:
    front = await server_process("--upstream", service.url, "--forward-credentials")
    client, headers = Client(http, front.url), {"Authorization": "Bearer of-the-service"}
    at_once = await client("GET", "/authorized", headers=headers)
    assert json.loads(at_once.body) == {"authorization": "Bearer of-the-service"}
    job_id = await client.submit("/authorized", headers=headers)
    assert (await client.fetched(job_id)).body == at_once.body


async def test_websockets_pass(
    front: ServerProcess, http: ClientSession, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["service"] not in WITH_SOCKETS:
        pytest.skip("Flask has no WebSockets")
    async with http.ws_connect(f"{front.url}/socket") as socket:
        for number in range(10):
            await socket.send_str(f"{number}")
            assert await socket.receive_str() == f"{number}"
    async with http.ws_connect(f"{front.url}/socket") as socket:
        await socket.close(code=4000)
        assert socket.close_code == 4000


async def test_with_a_prefix_cut_off_redirects_lead_below_it(
    service: Server, server_process: Start, http: ClientSession, tmp_path: Path
) -> None:
    config = tmp_path / "jobstore.toml"
    config.write_text(
        f'[[target]]\nprefix = "/shop"\nstrip_prefix = true\nupstream = "{service.url}"\n'
    )
    front = await server_process("--config", str(config))
    async with http.get(f"{front.url}/shop/redirect", allow_redirects=True) as answer:
        assert answer.status == 200
        assert str(answer.url).rstrip("/") == f"{front.url}/shop/landed"


# --- on a socket of this machine ----------------------------------------------------------------


async def test_gunicorn_on_a_socket_of_this_machine(
    server_process: Start, http: ClientSession, tmp_path: Path
) -> None:
    at = tmp_path / "app.sock"
    process = await asyncio.create_subprocess_exec(
        f"{BIN}/gunicorn", "tests.services.flask_app:app", "--bind", f"unix:{at}",
        cwd=ROOT, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        while b"Listening" not in (line := await process.stderr.readline()):
            assert line, "gunicorn has ended"
        front = await server_process("--upstream", f"unix:{at}")
        client = Client(http, front.url)
        who = json.loads((await client("GET", "/who")).body)
        assert who["client"] == "127.0.0.1"
        assert json.loads((await client.fetched(await client.submit("/who"))).body) == who
    finally:
        process.terminate()
        await process.communicate()


# --- Datasette ----------------------------------------------------------------------------------


@pytest.fixture
def datasette(tmp_path: Path) -> Iterator[Server]:
    """Run Datasette on a table."""
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection, connection:
        connection.execute("CREATE TABLE plants (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO plants (name) VALUES (?)", [("oak",), ("elm",)])
    line = f"exec {BIN}/datasette data.db --port 0 --cors 2>&1"
    with serving("-c", line, folder=tmp_path, program="/bin/sh") as server:
        yield server


async def test_datasette_is_as_it_is_without_anybody_before_it(
    datasette: Server, server_process: Start, http: ClientSession
) -> None:
    front = await server_process("--upstream", datasette.url)
    client, alone = Client(http, front.url), Client(http, datasette.url)
    for path in ("/", "/data/plants", "/data/plants.csv?_stream=on", "/-/static/app.css"):
        passed, direct = await client("GET", path), await alone("GET", path)
        assert (passed.status, passed.headers.get("ETag")) == (200, direct.headers.get("ETag"))
        assert passed.headers["Content-Type"] == direct.headers["Content-Type"]
    plants = json.loads((await client("GET", "/data/plants.json?_shape=array")).body)
    assert [plant["name"] for plant in plants] == ["oak", "elm"]
    job_id = await client.submit("/data/plants.json?_shape=array")
    assert json.loads((await client.fetched(job_id)).body) == plants


async def test_datasette_redirects_and_lets_pages_read_as_it_does_alone(
    datasette: Server, server_process: Start, http: ClientSession
) -> None:
    front = await server_process("--upstream", datasette.url)
    client, alone = Client(http, front.url), Client(http, datasette.url)
    path = "/data/plants?_filter_column=name&_filter_op=exact&_filter_value=oak"
    passed, direct = await client("GET", path), await alone("GET", path)
    assert (passed.status, passed.headers["Location"]) == (302, direct.headers["Location"])
    async with http.get(f"{front.url}{path}", allow_redirects=True) as answer:
        assert (answer.status, answer.url.authority) == (200, front.url.removeprefix("http://"))
    table = await client("GET", "/data/plants.json", headers={"Origin": ORIGIN})
    assert table.headers["Access-Control-Allow-Origin"] == "*"
