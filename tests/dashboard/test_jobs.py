"""The list of jobs: what its URL says, as the API has it, and by a line of words as well."""

import re
from contextlib import AsyncExitStack
from html import unescape
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.dashboard.query import EXAMPLES, line_of
from jobstore.model.account import Role
from jobstore.model.errors import QueryInvalid
from jobstore.server import Server
from jobstore.web.filters import FILTERS
from tests.accounts import People, basic
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from trials.clients import Answer

UI = "/_jobs/ui/"


@pytest.fixture
async def server(serve: Serve) -> Server:
    """Give a server with an ordinary application, and nothing behind one of its paths."""
    nobody = {"prefix": "/nobody", "upstream": "http://127.0.0.1:9", "hold": "0"}
    return await serve(target=[ORDINARY, nobody])


@pytest.fixture
async def client(server: Server, http: ClientSession) -> Client:
    return Client(http, server.url)


def ids(answer: Answer) -> list[int]:
    """Read which jobs are on a page, in order."""
    assert answer.status == 200, answer
    return [int(found) for found in re.findall(rb'<tr id="job-(\d+)"', answer.body)]


def words(answer: Answer) -> str:
    """Read a page as somebody does who sees it."""
    return words_of(answer.body.decode())


def words_of(html: str) -> str:
    """Read a part of a page likewise."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def tabs(answer: Answer) -> dict[str, str]:
    """Read the tabs, and how many jobs each of them says it has."""
    found = re.findall(r'<li[^>]*><a href="([^"]*)"[^>]*>(.*?)</a>', answer.body.decode())
    assert found
    return {re.sub(r"<[^>]+>", "", shown): unescape(link) for link, shown in found}


async def test_it_shows_how_each_job_stands(client: Client) -> None:
    done = await client.done("/greet/you?and=me", headers={"Authorization": basic("shop")})
    failed = await client.done("/nobody/there")
    error = await client.done("/status/422")
    page = await client("GET", UI)
    assert ids(page) == [error, failed, done]
    rows = re.split(r'<tr id="job-\d+"', page.body.decode())[1:]
    shown = [" ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in rows]
    assert re.search(r"error 422 .*GET /status/422 .* 422 held", shown[0])
    assert re.search(
        r"failed .*GET /nobody/there no connection to 127.0.0.1:9.* 502 held", shown[1]
    )
    assert re.search(r"done .*GET /greet/you ?\?and=me shop / .* ago .* 200 held", shown[2])


async def test_a_line_says_what_went_wrong_where_anything_did(client: Client) -> None:
    for path in ("/greet/you", "/status/422", "/nobody/there"):
        await client.done(path)
    page = (await client("GET", UI)).body.decode()
    told = re.findall(r'<span class="note-line why" title="([^"]*)">([^<]*)</span>', page)
    assert [whole == line for whole, line in told] == [True, True]
    assert told[0][0].startswith("no connection to 127.0.0.1:9: ")
    assert told[1][0] == f"answered 422 {HTTPStatus(422).phrase}"
    assert page.count('class="note-line') == 2


async def test_tabs_have_the_kept_counts_and_lead_to_the_same_filters(client: Client) -> None:
    await client.done("/greet/you")
    await client.done("/nobody/there")
    found = tabs(await client("GET", f"{UI}?state=failed"))
    assert found["all 2"] == "./"
    assert (found["done 1 any status"], found["failed 1"]) == ("?state=done", "?state=failed")
    assert (found["queued 0"], found["result held 2"]) == ("?state=queued", "?result=held")
    narrowed = tabs(await client("GET", f"{UI}?path=/greet"))
    assert narrowed["done"] == "?path=/greet&state=done"  # nothing is counted for it


async def test_filters_are_those_of_the_api(client: Client) -> None:
    shop = await client.done("/greet/a", headers={"Authorization": basic("shop")})
    other = await client.done("/greet/b")
    bad = await client.done("/status/500")
    for query, expected in {
        "owner=shop": [shop],
        "path=/greet": [other, shop],
        "status=5xx": [bad],
        "state=done&status=200": [other, shop],
        "state=failed,cancelled": [],
        "since=24h": [bad, other, shop],
        "until=24h": [],
        "since=2001-01-01T00:00:00Z&path=/status": [bad],
    }.items():
        assert ids(await client("GET", f"{UI}?{query}")) == expected, query
    page = words(await client("GET", f"{UI}?state=done&owner=shop"))
    assert "GET /_jobs?state=done&owner=shop" in page
    assert "jobstore history --state done --owner shop" in page


async def test_the_help_has_an_example_of_each_filter(client: Client) -> None:
    page = words(await client("GET", UI))
    assert list(EXAMPLES) == list(FILTERS)
    for name, (value, found) in EXAMPLES.items():
        assert f"{name}:{value} jobs {found}" in page
        moved = await client("GET", UI, params={"q": f"{name}:{value}"})
        assert (await client("GET", UI + moved.headers["Location"])).status == 200


async def test_a_line_is_another_way_to_write_the_url(client: Client) -> None:
    job = await client.done("/greet/you")
    for line, place in {
        "state:failed owner:shop": "?state=failed&owner=shop",
        "/greet status:2xx": "?path=/greet&status=2xx",
        'tag:"two words" state:done state:failed': "?tag=two%20words&state=done,failed",
        "": "./",
        f"#{job}": f"./{job}",
        f" {job} ": f"./{job}",
    }.items():
        answer = await client("GET", UI, params={"q": line})
        assert (answer.status, answer.headers["Location"]) == (303, place), line
    more = await client("GET", UI, params={"q": "status:2xx", "owner": "shop"})
    assert more.headers["Location"] == "?owner=shop&status=2xx"


async def test_a_path_without_its_slash_is_offered_with_it(client: Client) -> None:
    await client.done("/greet/you")
    for line, shown in {"greet": "/greet", "greet status:2xx": "/greet status:2xx"}.items():
        answer = await client("GET", UI, params={"q": line})
        assert answer.status == 400
        (told,) = re.findall(r'id="q-error" role="alert">(.*?)</p>', answer.body.decode())
        assert f"Did you mean {shown} ?" in words_of(told), told
        (link,) = re.findall(r'<a href="([^"]*)"', told)
        assert ids(await client("GET", UI + unescape(link))) == [1]
    for line in ("owner:a owner:b", "colour:red", ":1"):
        assert b"Did you mean" not in (await client("GET", UI, params={"q": line})).body


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("state=lost", "state: expected one or more of queued, running, done, failed, cancelled"),
        ("colour=red", "colour: no such parameter; did you mean"),
        ("since=noon", "since: expected a time with its zone such as"),
        ("cursor=abc", "cursor: expected the next of an earlier page"),
        ("q=bananas", "bananas: expected qualifier:value, such as owner:shop"),
        ("q=colour:red", "colour: no such filter; did you mean"),
        ("q=owner:a+owner:b", "owner: expected one value"),
        ("q=<script>:1", "<script>: no such filter"),
    ],
)
async def test_what_cannot_be_read_is_said_beside_the_field(
    client: Client, query: str, sentence: str
) -> None:
    answer = await client("GET", f"{UI}?{query}")
    assert answer.status == 400
    (said,) = re.findall(r'id="q-error" role="alert">([^<]*)<', answer.body.decode())
    assert unescape(said).startswith(sentence)
    assert b'aria-invalid="true"' in answer.body


async def test_older_jobs_are_a_link_away(client: Client) -> None:
    made = [await client.done("/greet/you") for _ in range(3)]
    first = await client("GET", f"{UI}?limit=2&path=/greet&since=24h")
    assert ids(first) == [made[2], made[1]]
    (older,) = re.findall(rb'rel="next" href="([^"]*)"', first.body)
    second = await client("GET", UI + unescape(older.decode()))
    assert ids(second) == [made[0]]
    assert b'rel="next"' not in second.body


async def test_an_empty_list_says_why(client: Client) -> None:
    assert "No jobs yet. A request becomes one by a header" in words(await client("GET", UI))
    assert "No matching jobs." in words(await client("GET", f"{UI}?owner=nobody"))


async def test_bars_above_it_lead_to_the_jobs_of_a_part_of_its_time(
    server: Server, client: Client
) -> None:
    await client.done("/greet/you")
    bad = await client.done("/status/500")
    await server.store.upkeep.count()  # one that ran at the last count is missing until the next
    later = '{"target": "/greet/you", "delay": "1h"}'  # it waits, and is in no bar
    await client("POST", "/_jobs", data=later)
    page = await client("GET", UI, headers={"Accept": "text/html"})
    assert "Submitted in the last 24 hours 2 jobs have ended · 50 % went wrong" in words(page)
    bars = re.findall(r'<a href="([^"]*)"><title>[^<]*2 jobs, 1 went wrong', page.body.decode())
    assert bad in ids(await client("GET", UI + unescape(bars[0])))
    for query in ("?owner=shop", "?error=yes"):
        narrowed = await client("GET", UI + query, headers={"Accept": "text/html"})
        assert b'id="lately"' not in narrowed.body


async def test_its_tab_says_how_many_went_wrong_and_is_red_if_any_did(
    server: Server, client: Client
) -> None:
    async def tab(query: str = "") -> str:
        page = await client("GET", f"{UI}{query}", headers={"Accept": "text/html"})
        (found,) = re.findall(r'<a href="[^"]*error=yes[^>]*>went wrong.*?</a>', page.body.decode())
        return str(found)

    assert "<b" not in await tab()  # nothing has ended
    await client.done("/greet/you")
    await server.store.upkeep.count()
    assert words_of(await tab()) == "went wrong 0 in 24 h"
    assert "bad" not in await tab()
    for path in ("/status/500", "/nobody/there"):
        await client.done(path)
    for query in ("", "?error=yes"):
        assert words_of(await tab(query)) == "went wrong 2 in 24 h", query
        assert 'class="bad"' in await tab(query)
    assert words_of(await tab("?since=1h")) == "went wrong 2"  # as the list that it leads to
    assert words_of(await tab("?owner=shop")) == "went wrong"


async def test_the_tab_of_what_went_wrong_leads_to_the_jobs_that_it_counts(
    server: Server, client: Client
) -> None:
    async def tab(query: str = "") -> tuple[str, str]:
        page = await client("GET", f"{UI}{query}", headers={"Accept": "text/html"})
        wrong = ((name, link) for name, link in tabs(page).items() if name.startswith("went wrong"))
        return next(wrong)

    assert await tab() == ("went wrong", "?error=yes")  # nothing is counted
    wrong = await client.done("/status/500")
    await client.done("/greet/you")
    await server.store.upkeep.count()
    name, link = await tab()
    assert (name, link) == ("went wrong 1 in 24 h", "?error=yes&since=24h")
    assert ids(await client("GET", UI + link)) == [wrong]
    assert await tab(link) == ("went wrong 1", link)
    assert (await tab("?since=1h"))[1] == "?since=1h&error=yes"


async def test_cancel_is_not_offered_for_a_list_of_jobs_that_have_all_ended(client: Client) -> None:
    for path in ("/greet/you", "/status/500", "/nobody/there"):
        await client.done(path)
    for query, offered in {
        "": True,
        "?error=no": True,
        "?state=running,done": True,
        "?error=yes": False,
        "?status=5xx": False,
        "?state=done,failed": False,
        "?result=held": False,
    }.items():
        page = await client("GET", UI + query)
        assert (b"Cancel all" in page.body) == offered, query
        assert (b'value="cancel"' in page.body) == offered, query


async def test_each_sees_what_is_theirs(server: Server) -> None:
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice = await people.with_token("alice")
        bob = await people.with_token("bob")
        admin = await people.with_token("root", Role.ADMIN)
        reader = await people.with_token("eve", Role.READER)
        hers, his = await alice.done("/greet/a"), await bob.done("/greet/b")
        page = await alice("GET", UI)
        assert ids(page) == [hers]
        assert "all" in tabs(page)  # the counts are those of all, and nothing for her
        assert not re.search(rb'href="\./(targets|store)"', page.body)
        assert (await alice("GET", f"{UI}{his}")).status == 404
        assert ids(await admin("GET", UI)) == [his, hers]
        seen = await reader("GET", UI)
        assert ids(seen) == [his, hers]
        assert b'type="checkbox"' in page.body
        assert b'type="checkbox"' not in seen.body


def test_no_tab_and_no_filter_is_cut_off_on_a_narrow_screen() -> None:
    folder = Path(__file__).parents[2] / "jobstore" / "dashboard" / "static"
    rules = (folder / "jobs.css").read_text("utf-8")
    assert "flex-wrap: wrap" in re.findall(r"^\.tabs \{(.*)\}", rules, re.MULTILINE)[0]
    assert not re.search(r"^  \.tabs \{.*nowrap", rules, re.MULTILINE)
    (chip,) = re.findall(r"^  \.chip span \{(.*)\}", rules, re.MULTILINE)
    assert "white-space: normal" in chip


def test_a_word_without_an_end_is_still_a_word() -> None:
    assert line_of('path:"/a b') == {"path": "/a b"}
    with pytest.raises(QueryInvalid):
        line_of(":value")


def test_the_pages_weigh_little() -> None:
    folder = Path(__file__).parents[2] / "jobstore" / "dashboard" / "static"
    assert sum(each.stat().st_size for each in folder.iterdir()) < 60_000
