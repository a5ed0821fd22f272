"""The page of one job: what happened to it, and its messages, which looking does not take away."""

import json
import re
from html import unescape
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Request
from jobstore.server import Server
from tests.accounts import basic
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.peers import Services
from tests.stores import execute
from trials.clients import Answer

UI = "/_jobs/ui/"
JSON = {"Content-Type": "application/json"}
EVIL = "\"><script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture
async def server(serve: Serve) -> Server:
    """Give a server with an ordinary application, and targets that are out of order."""
    nobody = {"prefix": "/nobody", "upstream": "http://127.0.0.1:9", "hold": "0"}
    again = {"prefix": "/status", **ORDINARY, "retries": 2, "retry_delay": "1ms"}
    return await serve(target=[ORDINARY, nobody, again])


@pytest.fixture
async def client(server: Server, http: ClientSession) -> Client:
    return Client(http, server.url)


def words(answer: Answer) -> str:
    """Read a page as somebody does who sees it."""
    assert answer.status == 200, answer
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.body.decode())).split())


def story(answer: Answer) -> str:
    """Read what is said of a job in sentences."""
    (found,) = re.findall(r'<p class="story">(.*?)</p>', answer.body.decode())
    return unescape(re.sub(r"<[^>]+>", "", found))


def bodies(answer: Answer) -> list[str]:
    """Read the bodies as they are shown."""
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", answer.body.decode(), re.DOTALL)
    return [unescape(re.sub(r"<[^>]+>", "", each)) for each in found]


async def test_it_tells_what_happened_in_sentences(client: Client) -> None:
    done = await client.done("/greet/you", headers={"Authorization": basic("shop")})
    assert re.fullmatch(
        r"The target / answered 200 OK, after [\d.]+ m?s\. shop submitted it \d s ago through "
        r"ArangoDB's API\. Its response \(200\) is held: it has waited \d s for its reader\.",
        story(await client("GET", f"{UI}{done}")),
    )
    await client.fetched(done)
    assert "Its result was fetched 0 s ago." in story(await client("GET", f"{UI}{done}"))


async def test_the_latest_error_comes_first(client: Client) -> None:
    failed = story(await client("GET", f"{UI}{await client.done('/nobody/there')}"))
    assert failed.startswith("No connection to 127.0.0.1:9: ")
    tried = await client("GET", f"{UI}{await client.done('/status/503')}")
    assert re.match(
        r"The target /status answered with an error, 503 Service Unavailable, after .*, at the "
        r"third attempt\. Attempts 1 to 2: answered 503 Service Unavailable\. ",
        story(tried),
    )
    assert "attempt, went wrong attempt, succeeded" in words(tried)  # and not that it failed
    assert re.search(r"waiting .*attempt 1 503 after .*backoff .*attempt 3 503 after", words(tried))


async def test_an_error_is_red_in_the_timeline(client: Client) -> None:
    for path, tone in (("/greet/you", "done"), ("/status/422", "fail"), ("/nobody/there", "fail")):
        page = (await client("GET", f"{UI}{await client.done(path)}")).body.decode()
        last = re.findall(r'<i class="k-(\w+)" aria-hidden="true"></i><span>(?:done|failed)', page)
        assert last == [tone], path


async def test_a_pause_says_that_its_target_asked_for_it(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "1800"})

    app = web.Application()
    app.router.add_get("/report", busy)
    target = {"upstream": await services.application(app), "retries": 3}
    client = Client(http, (await serve(target=target)).url)
    job = await client.submit("/report")
    while (page := await client("GET", f"{UI}{job}")).body.count(b"backoff") == 0:
        pass
    assert re.search(r"backoff (30|29) min [0-9]+ s \(Retry-After: 1800 s\)", words(page))
    assert "status 503; retrying in 1800 s (Retry-After: 1800 s)" in words(page)


async def test_each_body_has_a_link_that_says_what_it_is_for(client: Client) -> None:
    job = await client.done("/echo", "POST", data=b"hello")
    page = (await client("GET", f"{UI}{job}")).body.decode()
    links = re.findall(r'<a class="btn" href="([^"]*)" download>(.*?)</a>', page)
    assert [(link, re.sub(r"<[^>]+>", "", said)) for link, said in links] == [
        (f"./{job}/request", "Download the body of the request"),
        (f"./{job}/response", "Download the body of the response"),
    ]
    assert page.count('<span class="body-tools"><span class="seg"') == 2  # they wrap together


async def test_looking_takes_nothing_away(client: Client) -> None:
    job = await client.done("/echo", "POST", data=b'{"a": 1}', headers=JSON)
    for query in ("", "?body=raw", "?body=hex"):
        page = await client("GET", f"{UI}{job}{query}")
        assert "Looking does not fetch the result: it is still held" in words(page)
    assert (await client("GET", f"{UI}{job}/response")).body == b'{"a": 1}'
    assert (await client.fetched(job)).body == b'{"a": 1}'


async def test_json_is_laid_out_and_no_number_is_touched(client: Client) -> None:
    text = '{"big":9007199254740993,"exact":1.10,"e":1E400,"list":[1,2],"in":{"x":[{}]},"s":"a:b"}'
    job = await client.done("/echo", "POST", data=text.encode(), headers=JSON)
    expected = (
        '{\n  "big": 9007199254740993,\n  "exact": 1.10,\n  "e": 1E400,\n  "list": [1, 2],\n'
        '  "in": {\n    "x": [\n      {}\n    ]\n  },\n  "s": "a:b"\n}'
    )
    pretty = await client("GET", f"{UI}{job}")
    assert bodies(pretty) == [expected, expected]
    assert '<span class="j-key">&#34;big&#34;</span>' in pretty.body.decode()
    assert bodies(await client("GET", f"{UI}{job}?body=raw")) == [text, text]
    hexed = bodies(await client("GET", f"{UI}{job}?body=hex"))[0]
    assert hexed.startswith(
        '00000000  7b 22 62 69 67 22 3a 39 30 30 37 31 39 39 32 35  {"big":9007'
    )


@pytest.mark.parametrize(
    ("data", "shown", "note"),
    [
        (b"\xff\x00\x01", "00000000  ff 00 01", "no text in UTF-8"),
        (b"{'no': json}\n\ttabbed", "{'no': json}\n\ttabbed", None),
        ("a\u202eb\u0007".encode(), "a\\u202eb\\x07", None),
        (b'{"open": [1, 2', '{"open": [1, 2', None),
        (b"[" * 5000, "[" * 5000, None),
        (b"x" * 70_000, "x" * 65_536, "first 64 KiB of 68 KiB"),
        ("ä".encode() * 40_000, "ä" * 32_768, "first 64 KiB of 78 KiB"),
        (b"[" + b"1," * 40_000 + b"1]", "[\n  1,\n  1,", "the beginning of 78 KiB"),
    ],
)
async def test_whatever_a_body_is_it_is_shown(
    client: Client, data: bytes, shown: str, note: str | None
) -> None:
    job = await client.done("/echo", "POST", data=data)
    page = await client("GET", f"{UI}{job}")
    assert bodies(page)[0].startswith(shown)
    assert len(page.body) < 300_000
    notes = re.findall(r'<p class="note">(?!Looking)([^<]*)</p>', page.body.decode())
    assert notes == ([note, note] if note else [])


async def test_a_large_body_makes_no_large_page(client: Client) -> None:
    job = await client.done("/echo", "POST", data=BytesIO(b"<&'\">" * (16 * 2**20 // 5)))
    for look in ("pretty", "raw", "hex"):
        page = await client("GET", f"{UI}{job}?body={look}")
        assert len(page.body) < 300_000
        assert re.search(r"first [\d.]+ KiB of 16 MiB", words(page))
    part = await client("GET", f"{UI}{job}/request", headers={"Range": "bytes=1-3"})
    assert (part.status, part.body) == (206, b"&'\"")


async def test_what_is_kept_secret_is_not_shown(client: Client) -> None:
    headers = {"Cookie": "sweet", "X-Odd": "b\xfc", "X-Plain": "yes"}
    page = words(await client("GET", f"{UI}{await client.done('/greet/you', headers=headers)}"))
    assert "Cookie secret: it is not kept" in page
    assert "sweet" not in page
    assert "X-Plain yes" in page


async def test_hostile_words_stay_words(client: Client) -> None:
    job = {
        "method": "POST",
        "target": "/mirror/x?y='\"<b>".replace('"', "%22").replace("<", "%3C").replace(">", "%3E"),
        "tag": EVIL,
        "headers": {"X-Evil": EVIL},
        "body": EVIL,
    }
    answer = await client(
        "POST", "/_jobs", data=json.dumps(job), headers={"Authorization": basic(EVIL)}
    )
    made = int(json.loads(answer.body)["id"])
    await client("GET", f"/_jobs/{made}", headers={"Prefer": "wait=60"})
    for path in (
        f"{UI}{made}",
        f"{UI}{made}?body=raw",
        UI,
        f"{UI}?tag=%3Cscript%3E",
        f"{UI}?q=%3Cimg+src%3E",
    ):
        page = (await client("GET", path)).body.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "onerror=alert(1)>" not in page


async def test_a_body_is_downloaded_and_never_shown_by_a_browser(client: Client) -> None:
    html = {"Content-Type": "text/html"}
    job = await client.done("/echo", "POST", data=b"<script>", headers=html)
    for which in ("request", "response"):
        file = await client("GET", f"{UI}{job}/{which}")
        assert file.body == b"<script>"
        assert (
            file.headers["Content-Disposition"] == f'attachment; filename="job-{job}-{which}.html"'
        )
        assert file.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert file.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_is_gone_is_said_to_be(client: Client) -> None:
    job = await client.done("/echo", "POST", data=b"x")
    await client("DELETE", f"/_jobs/{job}")
    page = words(await client("GET", f"{UI}{job}"))
    assert page.count("It was deleted.") == 2
    missing = await client("GET", f"{UI}{job}/response")
    assert missing.status == 404
    assert b"The response of job" in missing.body
    failed = await client.done("/nobody/there")
    told = words(await client("GET", f"{UI}{failed}"))
    assert "The target gave none: no connection to 127.0.0.1:9" in told
    for unknown in ("999", "0", "9" * 50):
        answer = await client("GET", f"{UI}{unknown}")
        assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    wrong = await client("GET", f"{UI}{job}?body=upside-down")
    assert wrong.status == 400
    assert b"expected one of pretty, raw, hex" in wrong.body


def kin(answer: Answer) -> dict[str, str]:
    """Read which jobs a page names among its facts, by what they have to do with its own."""
    facts = re.findall(
        r'<dt>([^<]*)</dt><dd class="kin">(.*?)</dd>', answer.body.decode(), re.DOTALL
    )
    return {what: " ".join(re.sub(r"<[^>]+>", " ", jobs).split()) for what, jobs in facts}


async def test_a_retry_and_what_it_was_made_from_lead_to_one_another(client: Client) -> None:
    first = await client.done("/status/404")
    second = json.loads((await client("POST", f"/_jobs/{first}/retry")).body)["id"]
    await client("GET", f"/_jobs/{second}", headers={"Prefer": "wait=60"})
    operation = json.dumps({"action": "retry", "ids": [second]})
    assert (await client("POST", "/_jobs/operations", data=operation)).status == 202
    while (await client("GET", f"/_jobs/{second + 1}")).status == 404:
        pass
    await client("GET", f"/_jobs/{second + 1}", headers={"Prefer": "wait=60"})
    pages = [await client("GET", f"{UI}{each}") for each in (first, second, second + 1)]
    assert kin(pages[0]) == {"Retried as": f"job {second} error 404"}
    assert kin(pages[1])["Retry of"] == f"job {first} error 404"
    assert kin(pages[1])["Retried as"].startswith(f"job {second + 1} ")
    assert kin(pages[2]) == {"Retry of": f"job {second} error 404"}
    assert f'<a href="./{first}">job {first}</a>' in pages[1].body.decode()
    assert f"retry of job {second}, by operation 1" in words(pages[2])
    assert re.search(
        rf"It was submitted \d s ago as a retry of job {second}, by operation 1\.", story(pages[2])
    )
    assert re.search(rf"It was submitted \d s ago as a retry of job {first}\. ", story(pages[1]))
    for page in pages[1:]:
        entries = re.findall(r'aria-hidden="true"></i><span>([^<]*)', page.body.decode())
        assert entries[:3] == ["submitted", "retry of", "started"]


async def test_a_chain_is_followed_in_both_directions_before_and_after_its_release(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1})
    client = Client(http, server.url)
    members = [
        Submission(
            request=Request(method="GET", path=f"/wait/{name}"), target="/", dialect=Dialect.NATIVE
        )
        for name in "abc"
    ]
    first, second, third = await server.store.submissions.submit_chain(members)
    await client.when("a", "started")
    assert kin(await client("GET", f"{UI}{first}")) == {"Followed by": f"job {second} queued"}
    await client.let("a")
    await client.when("b", "started")
    assert kin(await client("GET", f"{UI}{first}")) == {"Followed by": f"job {second} running"}
    assert kin(await client("GET", f"{UI}{second}")) == {
        "Follows": f"job {first} done",
        "Followed by": f"job {third} queued",
    }
    await client("DELETE", f"/_api/job/{first}")
    await client("PUT", f"/_api/job/{second}/cancel")
    await client("GET", f"/_jobs/{third}", headers={"Prefer": "wait=60"})
    assert kin(await client("GET", f"{UI}{second}"))["Followed by"] == f"job {third} cancelled"


async def test_the_run_before_and_the_run_after_are_named(client: Client) -> None:
    for name in ("nightly", "hourly"):
        written = {"name": name, "path": f"/{name}", "target": "/greet/you"}
        assert (await client("POST", "/_jobs/definitions", json=written)).status == 201
    runs: list[int] = []
    for definition in (1, 2, 1, 1):
        answer = await client("POST", f"/_jobs/definitions/{definition}/run")
        runs.append(json.loads(answer.body)["id"])
        await client("GET", f"/_jobs/{runs[-1]}", headers={"Prefer": "wait=60"})
    assert [kin(await client("GET", f"{UI}{each}")) for each in runs] == [
        {"Run after": f"job {runs[2]} done"},
        {},
        {"Run before": f"job {runs[0]} done", "Run after": f"job {runs[3]} done"},
        {"Run before": f"job {runs[2]} done"},
    ]


async def test_a_job_that_is_no_longer_there_is_named_without_a_link(
    client: Client, store_path: Path
) -> None:
    first = await client.done("/greet/you")
    second = json.loads((await client("POST", f"/_jobs/{first}/retry")).body)["id"]
    await client("GET", f"/_jobs/{second}", headers={"Prefer": "wait=60"})
    execute(store_path, "DELETE FROM job WHERE id = ?", first)
    page = await client("GET", f"{UI}{second}")
    assert kin(page) == {"Retry of": f"job {first} not in the history"}
    assert f'href="./{first}"' not in page.body.decode()


def drawn(answer: Answer) -> str:
    """Give the drawing of the jobs like the one of a page."""
    (found,) = re.findall(
        r'(<svg class="chart dots".*?</svg>)</div>', answer.body.decode(), re.DOTALL
    )
    return unescape(found)


async def test_jobs_of_its_route_are_drawn_with_what_became_of_them(client: Client) -> None:
    wrong = await client.done("/status/500")
    jobs = [await client.done(f"/status/{status}") for status in (201, 202, 204)]
    await client.done("/status/200", "POST")
    page = await client("GET", f"{UI}{jobs[1]}")
    assert "GET /status/{} the last 4 · 1 went wrong · median" in words(page)
    links = re.findall(
        r'<a href="\./(\d+)" tabindex="-1" aria-label="(\d+), .*?: (.*?) after', drawn(page)
    )
    assert links == [
        (str(jobs[2]), str(jobs[2]), "done"),
        (str(jobs[0]), str(jobs[0]), "done"),
        (str(wrong), str(wrong), "answered 500"),
    ]
    assert drawn(page).count('class="x-fail"') == 1
    assert re.search(rf'<g><title>{jobs[1]}, .*?class="me"', drawn(page))
    # Beside the drawing, or on a telephone within it.
    assert re.findall(r">(p\d\d) ", drawn(page)) == ["p95", "p50", "p95", "p50"]
    assert re.findall(r'<td class="id num mono"><a href="\./(\d+)"', page.body.decode()) == [
        str(each) for each in (jobs[2], jobs[0], wrong)
    ]


async def test_an_older_job_is_drawn_with_those_before_it(client: Client) -> None:
    jobs = [await client.done("/greet/you") for _ in range(53)]
    first = await client("GET", f"{UI}{jobs[1]}")
    assert "2 up to this one · 0 went wrong" in words(first)
    assert 'class="me"' in drawn(first)
    last = await client("GET", f"{UI}{jobs[-1]}")
    assert "the last 50 · 0 went wrong" in words(last)
    assert "43 more" in words(last)


async def test_runs_of_a_definition_are_drawn_however_many_jobs_are_between(
    client: Client,
) -> None:
    written = {"name": "nightly", "path": "/nightly", "target": "/greet/you"}
    assert (await client("POST", "/_jobs/definitions", json=written)).status == 201
    for _ in range(2):
        run = json.loads((await client("POST", "/_jobs/definitions/1/run")).body)["id"]
        await client("GET", f"/_jobs/{run}", headers={"Prefer": "wait=60"})
        await client.done("/greet/you")
    page = await client("GET", f"{UI}{run}")
    assert "the last 2 · 0 went wrong" in words(page)
    assert 'href="./?definition=1">All runs</a>' in page.body.decode()


async def test_it_leads_to_what_it_has_to_do_with(server: Server, client: Client) -> None:
    first = await client.done("/greet/you?a=1", headers={"Authorization": basic("shop")})
    like = await client.done("/greet/you?a=2")
    await client.done("/greet/young")
    page = (await client("GET", f"{UI}{first}")).body.decode()
    assert re.findall(r'<td class="id num mono"><a href="\./(\d+)"', page) == [str(like)]
    assert 'href="./?owner=shop"' in page
    assert 'href="./?path=/greet/you"' in page
    failed = await client.done("/nobody/there")
    request = Request(method="GET", path="/greet/you")
    after = Submission(request=request, target="/", dialect=Dialect.NATIVE, follows=failed)
    chained = await client("GET", f"{UI}{await server.store.submit(after)}")
    assert f'<a href="./{failed}">job {failed}</a>' in chained.body.decode()
