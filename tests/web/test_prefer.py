"""``Prefer: respond-async``, the standards' own way of asking for a job: RFC 7240."""

import asyncio
import json
import string
from collections.abc import AsyncIterator, Iterable

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from jobstore.web import prefer
from jobstore.web.prefer import preferences
from tests.client import GATED, Client
from tests.conftest import Serve
from trials.clients import Answer

PREFER = {"Prefer": "respond-async"}
PROBLEM = "application/problem+json"

ASKS = [
    ["respond-async"],
    ["Respond-Async"],
    ["RESPOND-ASYNC"],
    ["  respond-async\t"],
    ["respond-async, handling=lenient"],
    ["handling=lenient,respond-async"],
    ["respond-async; foo"],
    ["respond-async;foo=bar;baz"],
    ['respond-async ; foo="a, b; c"'],
    ["return=minimal, respond-async, handling=lenient"],
    [",, respond-async ,"],
    ["return=minimal", "respond-async"],
    ["respond-async", "return=minimal"],
    ["respond-async, respond-async"],
    ["respond-async", "respond-async"],
    ['foo="a, b", respond-async'],
    [r'foo="\"", respond-async'],
    ['foo="", respond-async'],
]
ASKS_NOT = [
    # More is looked at of no request: each one is looked at, whoever sends it.
    ["a"] * 100 + ["respond-async"],
    [",".join(["a"] * 100), "respond-async"],
    ["x" * 8000, "x" * 192, "respond-async"],
    [],
    [""],
    [","],
    ["wait=10"],
    ["return=minimal"],
    ["respond-asynchronously"],
    ["not-respond-async"],
    ["respond async"],
    ["foo=respond-async"],
    ["foo; respond-async"],
    ['"respond-async"'],
    ['foo="respond-async"'],
    ['foo="a, respond-async, b"'],
    ['foo="a, respond-async'],
    [r'foo="\", respond-async, \""'],
    ['foo="a', "b, wait=10"],
]


@pytest.fixture
async def ordinary(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target={"app": "tests.webapp:create_app"})).url)


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that does one piece of work at a time, each behind a gate."""
    executor = {"concurrency": 1, "queue_limit": 1}
    return Client(http, (await serve(target=GATED, executor=executor)).url)


def preferring(values: list[str]) -> CIMultiDict[str]:
    """Make headers of preferences: a line for each."""
    return CIMultiDict(("Prefer", value) for value in values)


async def seen_by_target(client: Client, **options: CIMultiDict[str]) -> list[tuple[str, str]]:
    """Submit a job, and return the headers that the target got."""
    answer = await client("GET", "/mirror/", **options)
    in_time = "Jobstore-Id" in answer.headers
    result = answer if in_time else await client.fetched(json.loads(answer.body)["id"])
    return [(name, value) for name, value in json.loads(result.body)["headers"]]


# --- a job is asked for -------------------------------------------------------------------------


@pytest.mark.parametrize("values", ASKS)
async def test_a_request_that_prefers_it_becomes_a_job(ordinary: Client, values: list[str]) -> None:
    answer = await ordinary("GET", "/greet/world", headers=preferring(values))
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Vary"] == "Prefer"


@pytest.mark.parametrize("values", ASKS_NOT)
async def test_a_request_that_does_not_is_answered_at_once(
    ordinary: Client, values: list[str]
) -> None:
    answer = await ordinary("GET", "/greet/world", headers=preferring(values))
    assert (answer.status, json.loads(answer.body)["name"]) == (200, "world")
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_any_method_will_do(ordinary: Client, method: str) -> None:
    answer = await ordinary(method, "/no/such/path", headers=PREFER)
    assert answer.status == 202
    result = await ordinary("POST", f"{await ended(ordinary, answer)}/take")
    assert result.status == 404
    assert "Jobstore-Id" in result.headers


async def test_the_answer_names_the_place_of_the_job(ordinary: Client) -> None:
    answer = await ordinary("POST", "/echo", headers=PREFER, data=b"hello")
    body = json.loads(answer.body)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert body == {"id": body["id"], "location": answer.headers["Location"]}
    assert answer.headers["Location"] == f"/_jobs/{body['id']}"


async def test_its_place_tells_the_status_and_gives_the_result(gated: Client) -> None:
    place = (await gated("POST", "/wait/it", headers=PREFER)).headers["Location"]
    assert json.loads((await gated("GET", place)).body)["finished_at"] is None
    assert (await gated("POST", f"{place}/take")).status == 202
    await gated.let("it")
    await ended_at(gated, place)
    result = await gated("POST", f"{place}/take")
    assert (result.status, result.body) == (200, b"it is done")
    assert json.loads((await gated("GET", place)).body)["result"] == "taken"
    assert (await gated("POST", f"{place}/take")).status == 410


async def test_a_result_does_not_pretend_that_a_preference_was_applied(ordinary: Client) -> None:
    answer = await ordinary("GET", "/greet/world", headers=PREFER)
    result = await ordinary("POST", f"{await ended(ordinary, answer)}/take")
    assert result.status == 200
    assert not {"Preference-Applied", "Location"}.intersection(result.headers)


async def ended(client: Client, accepted: Answer) -> str:
    """Wait for the end of a job that was taken in, and return its place."""
    place = accepted.headers["Location"]
    await ended_at(client, place)
    return place


async def ended_at(client: Client, place: str) -> None:
    """Wait until a job has ended."""
    job = await client("GET", place, headers={"Prefer": "wait=60"})
    assert json.loads(job.body)["finished_at"]


# --- what travels on ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "left"),
    [
        (["respond-async"], []),
        (["respond-async, wait=10"], []),
        (["Wait=10", "RESPOND-ASYNC;x=y"], []),
        (["return=minimal, respond-async"], ["return=minimal"]),
        (["respond-async", "return=minimal"], ["return=minimal"]),
        (["a=1, respond-async, b=2", "c=3"], ["a=1, b=2", "c=3"]),
        (['a="x, y" ; z=", ", wait=3, respond-async'], ['a="x, y" ; z=", "']),
        ([r'a="\", wait=1", respond-async'], [r'a="\", wait=1"']),
        (["waiting=1, respond-async, wait-not"], ["waiting=1, wait-not"]),
    ],
)
async def test_our_preferences_stay_here_and_others_travel_on(
    ordinary: Client, values: list[str], left: list[str]
) -> None:
    seen = await seen_by_target(ordinary, headers=preferring(values))
    assert [value for name, value in seen if name == "prefer"] == left


async def test_other_headers_travel_on(ordinary: Client) -> None:
    headers = CIMultiDict(PREFER, Preferred="respond-async, wait=1")
    assert ("preferred", "respond-async, wait=1") in await seen_by_target(ordinary, headers=headers)


async def test_without_a_wish_for_a_job_all_preferences_travel_on(ordinary: Client) -> None:
    headers = {"Prefer": "wait=10, return=minimal"}
    answer = await ordinary("GET", "/mirror/", headers=headers)
    assert ["prefer", headers["Prefer"]] in json.loads(answer.body)["headers"]


async def test_a_job_that_is_asked_for_in_both_ways_is_one_job(ordinary: Client) -> None:
    headers = {**PREFER, "x-arango-async": "store"}
    job_id = await ordinary.submit("/mirror/", headers=headers)
    seen = json.loads((await ordinary.fetched(job_id)).body)["headers"]
    assert not {"prefer", "x-arango-async"}.intersection(name for name, _ in seen)
    assert json.loads((await ordinary("GET", "/_api/job/done")).body) == []


# --- waiting for the result ---------------------------------------------------------------------


def waiting(seconds: int) -> dict[str, str]:
    """Make headers that ask for a job, and for its result if it is there in time."""
    return {"Prefer": f"respond-async, wait={seconds}"}


async def test_a_result_that_comes_in_time_is_the_answer(ordinary: Client) -> None:
    answer = await ordinary("GET", "/greet/world", headers=waiting(60))
    assert (answer.status, json.loads(answer.body)["name"]) == (200, "world")
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.headers["Vary"] == "Prefer"
    job = json.loads((await ordinary("GET", f"/_jobs/{answer.headers['Jobstore-Id']}")).body)
    assert (job["state"], job["result"]) == ("done", "taken")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_result_in_time_is_the_targets_own_answer(ordinary: Client, method: str) -> None:
    answer = await ordinary(method, "/refuse", headers=waiting(60))
    assert (answer.status, answer.headers["X-Why"]) == (409, "because")
    assert answer.body == (b"" if method == "HEAD" else b"no")


async def test_a_large_result_is_an_answer_too(ordinary: Client) -> None:
    answer = await ordinary("GET", "/stream?chunks=64", headers=waiting(60))
    assert (answer.status, len(answer.body)) == (200, 4 * 2**20)


async def test_a_result_that_is_late_is_fetched_like_any_other(gated: Client) -> None:
    answer = await gated("POST", "/wait/late", headers=waiting(0))
    assert answer.status == 202
    assert answer.headers["Preference-Applied"] == "respond-async, wait=0"
    assert answer.headers["Vary"] == "Prefer"
    await gated.let("late")
    place = answer.headers["Location"]
    result = await gated("POST", f"{place}/take", headers={"Prefer": "wait=60"})
    assert (result.status, result.body) == (200, b"late is done")
    assert result.headers["Preference-Applied"] == "wait=60"


async def test_nobody_is_kept_waiting_for_longer_than_an_hour(gated: Client) -> None:
    asking = asyncio.create_task(gated("POST", "/wait/it", headers=waiting(99_999)))
    await gated.when("it", "started")
    await gated.let("it")
    answer = await asking
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=3600")


async def test_a_job_that_fails_in_time_is_a_problem(serve: Serve, http: ClientSession) -> None:
    target = {"upstream": "http://127.0.0.1:9"}
    server = await serve(target=target, executor={"hold": "0"})  # or the job would wait for it
    answer = await Client(http, server.url)("GET", "/", headers=waiting(60))
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"], problem["title"]) == (502, 502, "Bad Gateway")
    assert answer.headers["Content-Type"] == PROBLEM
    assert problem["detail"]


async def test_a_job_that_is_cancelled_meanwhile_is_a_problem(gated: Client) -> None:
    asking = asyncio.create_task(gated("POST", "/wait/it", headers=waiting(60)))
    await gated.when("it", "started")
    await gated("POST", "/_jobs/1/cancel")
    answer = await asking
    assert (answer.status, json.loads(answer.body)["detail"]) == (410, "the job was cancelled")


async def test_a_client_that_goes_away_while_it_waits_loses_nothing(gated: Client) -> None:
    asking = asyncio.create_task(gated("POST", "/wait/it", headers=waiting(60)))
    await gated.when("it", "started")
    asking.cancel()
    await asyncio.wait([asking])
    await gated.let("it")
    await ended_at(gated, "/_jobs/1")
    # The one that left may be taken for its reader until its system says otherwise.
    while (result := await gated("POST", "/_jobs/1/take")).status == 409:
        pass
    assert (result.status, result.body) == (200, b"it is done")


async def test_a_result_that_somebody_else_takes_meanwhile_is_not_lost(gated: Client) -> None:
    asking = asyncio.create_task(gated("POST", "/wait/it", headers=waiting(60)))
    await gated.when("it", "started")
    taking = asyncio.create_task(gated("PUT", "/_api/job/1", headers={"Prefer": "wait=60"}))
    await gated.let("it")
    answers = sorted([await asking, await taking], key=lambda answer: answer.status)
    assert [answer.status for answer in answers] in ([200, 202], [200, 404])
    assert answers[0].body == b"it is done"


async def test_arangodbs_fetch_waits_as_well(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    pending = await gated("PUT", f"/_api/job/{job_id}", headers={"Prefer": "wait=0"})
    assert (pending.status, pending.headers["Preference-Applied"]) == (204, "wait=0")
    fetching = asyncio.create_task(
        gated("PUT", f"/_api/job/{job_id}", headers={"Prefer": "wait=60"})
    )
    await gated.let("it")
    result = await fetching
    assert (result.status, result.body) == (200, b"it is done")
    assert result.headers["Preference-Applied"] == "wait=60"
    gone = await gated("PUT", f"/_api/job/{job_id}", headers={"Prefer": "wait=60"})
    assert (gone.status, json.loads(gone.body)["errorNum"]) == (404, 404)


async def test_a_fetch_does_not_wait_for_what_was_deleted(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    fetching = asyncio.create_task(
        gated("PUT", f"/_api/job/{job_id}", headers={"Prefer": "wait=60"})
    )
    await gated.when("it", "started")
    await gated("DELETE", f"/_api/job/{job_id}")
    assert (await fetching).status == 404


async def test_a_server_that_stops_keeps_nobody_waiting(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=GATED, executor={"drain": "0s"})
    client = Client(http, server.url)
    waits = [asyncio.create_task(client("POST", "/wait/it", headers=waiting(3600)))]
    await client.when("it", "started")
    long_poll = client("GET", "/_jobs/1", headers={"Prefer": "wait=3600"})
    waits.append(asyncio.create_task(long_poll))
    server.store.waits.dismiss()
    answers = [await each for each in waits]
    assert answers[0].status == 202
    assert answers[1].status == 200


# --- refusals -----------------------------------------------------------------------------------


async def refusal(answer: Answer) -> str:
    """Check that an answer is a problem document, and return what it says."""
    problem = json.loads(answer.body)
    assert answer.headers["Content-Type"].split(";")[0] == PROBLEM
    assert problem["status"] == answer.status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert "Preference-Applied" not in answer.headers
    return str(problem["detail"])


async def test_a_full_queue_is_a_problem_to_try_again(gated: Client) -> None:
    await gated("POST", "/wait/running", headers=PREFER)
    await gated.when("running", "started")
    assert (await gated("POST", "/wait/waiting", headers=PREFER)).status == 202
    answer = await gated("POST", "/wait/refused", headers=PREFER)
    assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert "queue is full" in await refusal(answer)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_a_problem(
    serve: Serve, http: ClientSession, *, chunked: bool
) -> None:
    client = Client(http, (await serve(capture={"body_limit": 10})).url)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"."

    body = pieces() if chunked else b"." * 11
    answer = await client("POST", "/echo", headers=PREFER, data=body)
    assert answer.status == 413
    assert "larger than 10 bytes" in await refusal(answer)
    assert "Retry-After" not in answer.headers


async def test_a_path_that_nobody_answers_is_a_problem(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target={"prefix": "/here", **GATED})).url)
    answer = await client("GET", "/elsewhere", headers=PREFER)
    assert answer.status == 404
    assert "no target" in await refusal(answer)


async def test_a_server_that_shuts_down_says_so(serve: Serve, http: ClientSession) -> None:
    server = await serve()
    hurry = asyncio.Event()
    hurry.set()
    await server.drain(hurry)
    answer = await Client(http, server.url)("GET", "/_api/version", headers=PREFER)
    assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert "shutting down" in await refusal(answer)


# --- reading the header -------------------------------------------------------------------------

TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1)
# RFC 9110 section 5.6.4; what a header can hold at all has no control characters.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
QUOTED = TEXTS.map(lambda text: '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"')
PAIRS = st.builds("".join, st.tuples(TOKENS, st.sampled_from(["=", " = "]), TOKENS | QUOTED))
PREFERENCES = st.lists(TOKENS | PAIRS, min_size=1, max_size=3).map(" ; ".join)
COMMAS = st.sampled_from([",", ", ", " ,\t", ",,", " , , "])


@given(st.lists(PREFERENCES), COMMAS)
def test_preferences_are_split_where_a_comma_is_not_quoted(parts: list[str], comma: str) -> None:
    assert preferences(comma.join(parts)) == parts


@given(TEXTS)
def test_any_text_can_be_split_and_nothing_but_commas_and_spaces_is_lost(text: str) -> None:
    parts = preferences(text)
    assert all(part and part == part.strip() for part in parts)
    assert essence("".join(parts)) == essence(text)


def essence(text: str) -> str:
    """Leave out what may stand between preferences."""
    return "".join(text.replace(",", "").split())


@given(st.lists(st.tuples(st.sampled_from(["Prefer", "prefer", "X-Prefer"]), TEXTS)))
def test_what_travels_on_asks_for_no_job(fields: list[tuple[str, str]]) -> None:
    assert not asks(prefer.strip(tuple(fields)))


@given(st.lists(PREFERENCES), st.lists(PREFERENCES))
def test_the_wish_is_heard_among_any_other_preferences(before: list[str], after: list[str]) -> None:
    assert asks([("Prefer", ", ".join([*before, "respond-async", *after]))])


@given(st.lists(PAIRS.filter(lambda pair: not pair.lower().startswith(("respond-async", "wait")))))
def test_preferences_of_others_are_left_as_they_are(parts: list[str]) -> None:
    headers = (("Prefer", ", ".join(parts)),) if parts else ()
    assert not asks(headers)
    assert prefer.strip(headers) == headers


def asks(headers: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a request with these headers asks for a job."""
    return prefer.respond_async(CIMultiDict(headers).getall("Prefer", ()))


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        (["respond-async"], None),
        (["wait=10"], 10),
        (["WAIT = 10"], 10),
        (['wait="10"'], 10),
        (["respond-async, wait=10;x=y"], 10),
        (["wait=5, wait=6"], 5),
        (["return=minimal", "wait=5", "wait=6"], 5),
        (["wait=0"], 0),
        (["wait=3601"], 3600),
        (["wait=" + "9" * 18], 3600),
        (["wait=" + "9" * 19], None),
        (["wait"], None),
        (["wait="], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=soon, wait=5"], None),
        (['wait="10'], None),
        (['x="wait=10"'], None),
    ],
)
def test_the_first_wish_to_wait_counts_if_it_can_be_understood(
    values: list[str], seconds: int | None
) -> None:
    assert prefer.wait(values) == seconds
