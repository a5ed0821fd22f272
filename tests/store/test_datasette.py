"""Datasette, which none of us wrote, behind the server: all it says comes back as it said it."""

import asyncio
import csv
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from aiohttp import ClientSession
from multidict import CIMultiDictProxy

from tests.client import Client
from tests.conftest import Serve
from tests.store.test_datasette_views import datasette
from tests.stores import rows, states
from trials.clients import Answer

pytestmark = pytest.mark.file

ROWS = 400
NOTE = 'smørrebrød, 東京 and "quotes"\n' * 80
FLAG = bytes(range(256)) * 5
ADD = {"sql": "INSERT INTO place (name) VALUES (:name)", "write": True}

# What differs from one direct request to the next; Datasette leaves out a count of rows that would
# take it more than a few milliseconds.
TIMINGS = re.compile(
    rb'"query_ms": [0-9.e-]+|Queries took [0-9.]+ms|\d+ rows in | title="\d+ rows"'
)
OF_ONE_CONNECTION = {"connection", "date", "keep-alive", "transfer-encoding"}
# What else is different about a result that is fetched: its length is known, and its job.
OF_ONE_FETCH = {"content-length", "jobstore-content-length", "x-arango-async-id"}

REQUESTS = {
    "a page": ("GET", "/"),
    "a page about itself": ("GET", "/-/settings"),
    "a large page": ("GET", "/geo/place"),
    "a page of one row": ("GET", "/geo/place/3"),
    "a page of a query": ("GET", "/geo?sql=select+name+%7C%7C+%27%C3%A9%27+from+place"),
    "JSON": ("GET", "/geo/place.json?_shape=array&_size=5"),
    "large JSON": ("GET", "/geo/place.json?_size=max"),
    "JSON of a query": ("GET", "/geo.json?sql=select+*+from+place+where+id+%3D+:id&id=7"),
    "a CSV stream": ("GET", "/geo/place.csv?_stream=on"),
    "a small CSV file": ("GET", "/geo/place.csv?_size=2&_dl=1"),
    "a blob": ("GET", "/geo/place/4.blob?_blob_column=flag"),
    "a style sheet": ("GET", "/-/static/app.css"),
    "a script": ("GET", "/-/static/table.js"),
    "a redirect to a page": ("GET", "/geo/place/"),
    "a redirect to a search": (
        "GET",
        "/geo/place?_filter_column=name&_filter_op=exact&_filter_value=%C3%A6%26",
    ),
    "a bad request": ("GET", "/geo?sql=select+nonsense"),
    "a bad request for JSON": ("GET", "/geo/place.json?_size=abc"),
    "what is forbidden": ("GET", "/geo.db"),
    "an unknown page": ("GET", "/nowhere/at%2Fall"),
    "an unknown row": ("GET", "/geo/place/99999.json"),
    "an unknown method": ("DELETE", "/geo/place"),
    "an internal error": ("GET", "/geo/place?_sort=nothing"),
    "an internal error in JSON": ("GET", "/geo.json?sql=select+1&_timelimit=soon"),
    "the head of a page": ("HEAD", "/geo/place"),
    "the head of a file": ("HEAD", "/-/static/app.css"),
    "the head of what is unknown": ("HEAD", "/nowhere"),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database with some hundred rows, text that is not ASCII, and a blob."""
    path = tmp_path_factory.mktemp("datasette") / "geo.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE place (id INTEGER PRIMARY KEY, name, note, flag)")
        connection.executemany(
            "INSERT INTO place (name, note, flag) VALUES (?, ?, ?)",
            [(f"Ærø {number}", NOTE, FLAG if number % 2 else None) for number in range(ROWS)],
        )
    return path


@pytest.fixture(scope="module", name="datasette")
def started(database: Path) -> Iterator[str]:
    """Start Datasette with the database, and give its URL."""
    metadata = database.with_name("metadata.json")
    metadata.write_text(json.dumps({"databases": {"geo": {"queries": {"add": ADD}}}}))
    # They are left out of a page anyway on a machine that has too much to do.
    facets = ("--setting", "suggest_facets", "off")
    with datasette(database, "--metadata", str(metadata), *facets) as url:
        yield url


def fields(
    headers: CIMultiDictProxy[str], besides: set[str] = OF_ONE_CONNECTION
) -> list[tuple[str, str]]:
    """Return header fields without those that may differ, repeated ones in their order."""
    named = [(name.lower(), value) for name, value in headers.items()]
    return sorted((field for field in named if field[0] not in besides), key=lambda field: field[0])


def content(answer: Answer) -> bytes:
    """Return a body without what is different each time."""
    return TIMINGS.sub(b"", answer.body)


# --- each kind of answer ------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), REQUESTS.values(), ids=REQUESTS)
async def test_an_answer_comes_through_as_if_nobody_stood_between(
    serve: Serve, http: ClientSession, datasette: str, method: str, path: str
) -> None:
    server = await serve(target={"upstream": datasette, "preserve_host": False})
    direct = await Client(http, datasette)(method, path)
    through = await Client(http, server.url)(method, path)
    assert (through.status, content(through)) == (direct.status, content(direct))
    assert fields(through.headers) == fields(direct.headers)


@pytest.mark.parametrize(("method", "path"), REQUESTS.values(), ids=REQUESTS)
async def test_an_answer_comes_back_from_a_job_byte_for_byte_headers_included(
    serve: Serve, http: ClientSession, datasette: str, method: str, path: str
) -> None:
    direct = await Client(http, datasette)(method, path)
    server = await serve(target={"upstream": datasette, "preserve_host": False})
    client = Client(http, server.url)
    job_id = await client.submit(path, method)
    fetched = await client.fetched(job_id)
    assert (fetched.status, content(fetched)) == (direct.status, content(direct))
    besides = OF_ONE_CONNECTION | OF_ONE_FETCH
    assert fields(fetched.headers, besides) == fields(direct.headers, besides)
    assert fetched.headers["Content-Length"] == str(len(fetched.body))
    assert fetched.headers["x-arango-async-id"] == str(job_id)


async def test_among_the_requests_here_is_one_for_every_kind_of_answer(
    http: ClientSession, datasette: str
) -> None:
    client = Client(http, datasette)
    statuses = {(await client(*request)).status for request in REQUESTS.values()}
    assert statuses == {200, 302, 400, 403, 404, 405, 500}


# --- what is in the answers ---------------------------------------------------------------------


async def test_a_csv_stream_from_a_job_has_every_row_and_every_letter(
    serve: Serve, http: ClientSession, datasette: str
) -> None:
    client = Client(http, (await serve(target={"upstream": datasette})).url)
    job_id = await client.submit("/geo/place.csv?_stream=on&_col=name&_col=note")
    text = (await client.fetched(job_id)).body.decode()
    read = list(csv.DictReader(StringIO(text, newline="")))
    assert len(text.encode()) > 2**20
    assert [row["name"] for row in read[:ROWS]] == [f"Ærø {number}" for number in range(ROWS)]
    assert {row["note"].replace("\r\n", "\n") for row in read[:ROWS]} == {NOTE}


async def test_a_blob_from_a_job_is_the_one_in_the_database(
    serve: Serve, http: ClientSession, datasette: str
) -> None:
    client = Client(http, (await serve(target={"upstream": datasette})).url)
    fetched = await client.fetched(await client.submit("/geo/place/4.blob?_blob_column=flag"))
    assert fetched.body == FLAG
    assert "attachment; filename=" in fetched.headers["Content-Disposition"]


async def test_a_change_that_a_job_makes_is_made_once(
    serve: Serve, http: ClientSession, datasette: str, database: Path
) -> None:
    client = Client(http, (await serve(target={"upstream": datasette})).url)
    added = {"Accept": "application/json"}
    job_id = await client.submit("/geo/add", "POST", data={"name": "Føhr"}, headers=added)
    fetched = await client.fetched(job_id)
    assert json.loads(fetched.body)["ok"] is True
    assert rows(database, "SELECT count(*) FROM place WHERE name = 'Føhr'") == [(1,)]


async def test_what_a_client_asks_for_in_its_headers_reaches_datasette(
    serve: Serve, http: ClientSession, datasette: str
) -> None:
    client = Client(http, (await serve(target={"upstream": datasette})).url)
    asked = {"Accept": "application/json", "If-None-Match": '"x"', "Cookie": "ds_actor=nobody"}
    direct = await Client(http, datasette)("POST", "/geo/add", headers=asked)
    job_id = await client.submit("/geo/add", "POST", headers=asked)
    assert (await client.fetched(job_id)).body == direct.body
    assert (await client("POST", "/geo/add", headers=asked)).body == direct.body


# --- many at once -------------------------------------------------------------------------------


async def test_many_pages_at_once_come_back_each_to_its_own_job(
    serve: Serve, store_path: Path, http: ClientSession, datasette: str
) -> None:
    server = await serve(target={"upstream": datasette}, executor={"concurrency": 4})
    client = Client(http, server.url)
    paths = [f"/geo/place/{number}.json?_shape=objects" for number in range(1, 41)]
    ids = await asyncio.gather(*(client.submit(path) for path in paths))
    answers = await asyncio.gather(*(client.fetched(job_id) for job_id in ids))
    read = [json.loads(answer.body)["rows"][0]["name"] for answer in answers]
    assert read == [f"Ærø {number}" for number in range(40)]
    assert set(states(store_path).values()) == {("done", "taken")}
