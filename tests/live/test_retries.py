"""Work that failed for a passing reason is tried again, as often as allowed, and tells of it."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from jobstore.live import Orphan
from jobstore.live.recovering import Recovery, decide
from jobstore.model.clock import SECOND
from jobstore.model.job import Claim, Failure, Policy, Replay
from jobstore.model.message import Request
from jobstore.model.retry import (
    LONGEST_WAIT,
    PASSING,
    AttemptEnded,
    Retry,
    asked_to_wait,
    may_repeat,
    told_of_wait,
    wait_before_next,
)
from tests.client import Client
from tests.conftest import Serve, Start
from tests.peers import Services
from tests.stores import check_sound, execute, rows, timeline

# 1994-11-06 08:49:37 UTC, the moment of all examples in RFC 9110 section 5.6.7.
EXAMPLE: Final = 784_111_777 * SECOND

# --- how long the target asks to be left alone --------------------------------------------------


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("000000000000030", 30.0),
        ("9" * 5000, math.inf),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("+5", 0.0),
        ("soon", 0.0),
        ("\N{SUPERSCRIPT TWO}", 0.0),
        ("\N{ARABIC-INDIC DIGIT FIVE}", 0.0),
    ],
)
def test_a_target_asks_in_seconds_and_what_is_no_number_asks_for_nothing(
    field: str | None, seconds: float
) -> None:
    assert asked_to_wait(field, EXAMPLE) == seconds


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    "date",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_a_target_asks_by_a_date_in_any_of_its_forms_wherever_the_server_stands(
    date: str, zone: str, in_zone: Callable[[str], None]
) -> None:
    in_zone(zone)
    assert asked_to_wait(date, EXAMPLE - 90 * SECOND) == 90.0
    assert asked_to_wait(date, EXAMPLE + 90 * SECOND) == 0.0, "which is over"


def test_a_date_is_told_by_the_clock_of_whoever_sent_it() -> None:
    date, sent = "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:29 GMT"
    for ours in (EXAMPLE, EXAMPLE - 10**9 * SECOND, EXAMPLE + 10**9 * SECOND):
        assert asked_to_wait(date, ours, sent) == 30.0
    example = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert asked_to_wait(example, EXAMPLE - 90 * SECOND, "yesterday") == 90.0
    assert asked_to_wait("120", EXAMPLE, sent) == 120.0


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give a function that sets the clock of the place where the server stands."""

    def set_zone(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@given(st.text() | st.text("0123456789:-+,. GMTSunNov"))
def test_whatever_a_target_says_can_be_waited_for(said: str) -> None:
    assert asked_to_wait(said, EXAMPLE) >= 0


# --- whether, and how long to wait --------------------------------------------------------------


def claim(retried: int = 0, retries: int | None = None) -> Claim:
    request = Request(method="GET", path="/", headers=())
    return Claim(
        job_id=1,
        attempt=1,
        target="/",
        request=request,
        retried=retried,
        policy=Policy(retries=retries),
    )


BUSY: Final = AttemptEnded(status=503)
POLICY: Final = Retry(retries=40, delay=2.0, longest=60.0)


@pytest.mark.parametrize(
    ("method", "replay", "may"),
    [
        ("GET", Replay.IDEMPOTENT, True),
        ("PUT", Replay.IDEMPOTENT, True),
        ("POST", Replay.IDEMPOTENT, False),
        ("PATCH", Replay.IDEMPOTENT, False),
        ("POST", Replay.ALWAYS, True),
        ("GET", Replay.NEVER, False),
    ],
)
def test_only_what_may_be_repeated_is(method: str, replay: Replay, *, may: bool) -> None:
    assert may_repeat(method, replay) is may


@pytest.mark.parametrize("status", [200, 204, 301, 404, 409, 500, 501])
def test_an_answer_that_another_attempt_would_not_change_is_final(status: int) -> None:
    assert wait_before_next(POLICY, claim(), AttemptEnded(status=status), EXAMPLE) is None


@pytest.mark.parametrize("ended", [AttemptEnded(status=status) for status in sorted(PASSING)])
def test_an_answer_that_is_as_good_as_none_is_not(ended: AttemptEnded) -> None:
    assert wait_before_next(POLICY, claim(), ended, EXAMPLE) is not None


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.TIMEOUT, Failure.BROKEN])
def test_no_answer_at_all_is_not_either(failure: Failure) -> None:
    assert wait_before_next(POLICY, claim(), AttemptEnded(failure=failure), EXAMPLE) is not None


def test_nothing_is_tried_again_unless_somebody_wants_it() -> None:
    assert wait_before_next(Retry(), claim(), BUSY, EXAMPLE) is None


@pytest.mark.parametrize(
    ("retries", "retried", "again"),
    [(None, 39, True), (None, 40, False), (0, 0, False), (3, 2, True), (3, 3, False)],
)
def test_a_job_may_say_how_often_it_is_tried_again_or_leave_it_to_its_target(
    retries: int | None, retried: int, *, again: bool
) -> None:
    waits = wait_before_next(POLICY, claim(retried, retries), BUSY, EXAMPLE)
    assert (waits is not None) is again


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_the_longest() -> None:
    waits = [wait_before_next(POLICY, claim(n), BUSY, EXAMPLE, lambda: 1.0) for n in range(7)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@given(
    retried=st.integers(0, 10**9),
    delay=st.floats(0.001, 10**9),
    longest=st.floats(0.001, 10**9),
    chance=st.floats(0, 1),
)
def test_chance_takes_up_to_half_of_a_wait_away(
    retried: int, delay: float, longest: float, chance: float
) -> None:
    policy = Retry(retries=10**10, delay=delay, longest=longest)
    full = wait_before_next(policy, claim(retried), BUSY, EXAMPLE, lambda: 1.0)
    waits = wait_before_next(policy, claim(retried), BUSY, EXAMPLE, lambda: chance)
    assert full is not None
    assert waits is not None
    assert full / 2 <= waits <= full <= longest


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("1", 2.0), ("3600", 3600.0), ("9" * 20, LONGEST_WAIT), ("Mon, 07 Nov 1994 08:49:37 GMT", 60)],
)
def test_a_target_is_left_alone_for_as_long_as_it_asks_but_not_for_ever(
    asked: str, seconds: float
) -> None:
    now = EXAMPLE + (24 * 3600 - 60) * SECOND
    ended = AttemptEnded(status=503, retry_after=asked)
    assert wait_before_next(POLICY, claim(), ended, now, lambda: 1.0) == seconds


@pytest.mark.parametrize(
    ("field", "seconds", "told"),
    [
        ("30", 30.0, "retrying in 30 s (Retry-After: 30 s)"),
        ("172800", LONGEST_WAIT, "retrying in 86400 s (Retry-After: 172800 s)"),
        ("1", 2.0, "retrying in 2 s"),
        ("soon", 2.0, "retrying in 2 s"),
        (None, 2.0, "retrying in 2 s"),
    ],
)
def test_a_wait_is_told_with_what_its_target_asked_for_if_that_made_it_so_long(
    field: str | None, seconds: float, told: str
) -> None:
    ended = AttemptEnded(status=503, retry_after=field)
    assert wait_before_next(POLICY, claim(), ended, EXAMPLE, lambda: 1.0) == seconds
    assert told_of_wait(seconds, ended, EXAMPLE) == told


@pytest.mark.parametrize(
    ("attempt", "retried", "expected"),
    [
        (3, 0, Recovery.SET_ASIDE),
        (3, 1, Recovery.RUN_AGAIN),
        (7, 5, Recovery.RUN_AGAIN),
        (8, 5, Recovery.SET_ASIDE),
    ],
)
def test_attempts_that_were_tried_again_do_not_count_as_interrupted_ones(
    attempt: int, retried: int, expected: Recovery
) -> None:
    orphan = Orphan(1, 1, "GET", "/", attempt, None, retried, None, "/")
    assert decide(orphan, Replay.IDEMPOTENT, max_attempts=3) is expected


# --- a server before a service ------------------------------------------------------------------


@dataclass
class Flaky:
    """A service that gives one answer after the other, and the last one for ever.

    Args:
        answers: what each request is answered; None breaks off in the middle, and an event is
            waited for first.
        attempts: which attempts it saw, as the requests told it.
    """

    answers: list[web.Response | asyncio.Event | None]
    attempts: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Give the next answer."""
        self.attempts.append(request.headers["Jobstore-Attempt"])
        self.asked.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        if isinstance(answer, web.Response):
            # One response object cannot be sent twice.
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        half = web.StreamResponse(headers={"Content-Length": "10"})
        await half.prepare(request)
        await half.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return half


def busy(**headers: str) -> web.Response:
    """Make an answer whose status is retried."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=503, headers=fields, text="busy")


def good() -> web.Response:
    """Make the answer that was hoped for."""
    return web.Response(text="good")


@dataclass(frozen=True, slots=True)
class Both:
    """A server, and the service behind it."""

    client: Client
    service: Flaky


Before = Callable[..., Awaitable[Both]]


@pytest.fixture
def before(serve: Serve, services: Services, http: ClientSession) -> Before:
    """Give a function that starts a service and a server before it.

    Its arguments are the service's answers, and what differs in the target's section.
    """

    async def start(*answers: web.Response | asyncio.Event | None, **target: Any) -> Both:
        service = Flaky(list(answers))
        url = await upstream(services, service)
        section = {"upstream": url, "retries": 3, "retry_delay": "1ms", **target}
        server = await serve(target=section)
        return Both(Client(http, server.url), service)

    return start


async def upstream(services: Services, service: Flaky) -> str:
    """Start a service, and return its URL."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", service.handle)
    return await services.application(app)


def attempts(path: Path, job_id: int = 1) -> list[tuple[int, int | None, str | None, str | None]]:
    """Read how each attempt at a job has ended: number, status, failure and detail."""
    found = rows(
        path,
        "SELECT number, status, failure, detail FROM attempts WHERE job_id = ? ORDER BY number",
        job_id,
    )
    return [(*known, detail and detail.split(";")[0]) for *known, detail in found]


def set_due(path: Path) -> None:
    """Let every job that waits for its time run at once."""
    execute(path, "UPDATE job SET not_before = 1 WHERE not_before IS NOT NULL")


async def waiting(path: Path, client: Client, job_id: int = 1) -> None:
    """Wait until a job waits for its next attempt."""
    while rows(path, "SELECT not_before FROM job WHERE id = ?", job_id) == [(None,)]:
        await client("GET", f"/_api/job/{job_id}")


async def test_a_job_is_tried_again_until_its_target_answers_and_each_attempt_is_told(
    before: Before, store_path: Path
) -> None:
    both = await before(busy(), None, busy(), good())
    answer = await both.client.fetched(await both.client.submit("/work"))
    assert (answer.status, answer.body) == (200, b"good")
    assert both.service.attempts == ["1", "2", "3", "4"]
    broke = "the target's response broke off before its end"
    assert attempts(store_path) == [
        (1, 503, None, "status 503"),
        (2, None, "broken", broke),
        (3, 503, None, "status 503"),
        (4, 200, None, None),
    ]
    again = ["started", "retried"] * 3
    assert timeline(store_path, 1) == ["submitted", *again, "started", "done", "fetched"]
    told = rows(store_path, "SELECT detail FROM event WHERE event = 'retried' ORDER BY id")
    assert told[0][0].startswith("attempt 1: status 503; retrying in 0.00")
    assert told[1][0].startswith(f"attempt 2: {broke}; retrying in 0.00")


async def test_attempts_have_their_times_in_order(before: Before, store_path: Path) -> None:
    both = await before(busy(), good())
    await both.client.fetched(await both.client.submit("/work"))
    ((first_began, first_ended), (last_began, last_ended)) = rows(
        store_path, "SELECT started, ended FROM attempts ORDER BY number"
    )
    assert first_began <= first_ended <= last_began <= last_ended


async def test_an_attempt_that_takes_too_long_is_tried_again(
    before: Before, store_path: Path
) -> None:
    both = await before(asyncio.Event(), good(), timeout="50ms")
    assert (await both.client.fetched(await both.client.submit("/work"))).body == b"good"
    assert attempts(store_path)[0][1:3] == (None, "timeout")


async def test_a_target_that_cannot_be_reached_is_tried_again(
    serve: Serve, http: ClientSession, store_path: Path, unused_tcp_port: int
) -> None:
    section = {"upstream": f"http://127.0.0.1:{unused_tcp_port}", "retries": 2}
    server = await serve(target={**section, "retry_delay": "1ms", "hold": "0"})
    client = Client(http, server.url)
    assert (await client.fetched(await client.submit("/work"))).status == 502
    assert [each[:3] for each in attempts(store_path)] == [
        (1, None, "unreachable"),
        (2, None, "unreachable"),
        (3, 502, "unreachable"),
    ]


async def test_a_job_that_used_up_its_attempts_has_the_last_answer(
    before: Before, store_path: Path
) -> None:
    both = await before(busy(X_Try="1"), busy(X_Try="2"), busy(X_Try="last"), retries=2)
    answer = await both.client.fetched(await both.client.submit("/work"))
    assert (answer.status, answer.body, answer.headers["X-Try"]) == (503, b"busy", "last")
    assert both.service.attempts == ["1", "2", "3"]
    assert rows(store_path, "SELECT state, retried FROM job") == [("done", 2)]


async def test_a_job_that_used_up_its_attempts_without_an_answer_says_so(before: Before) -> None:
    both = await before(None, retries=1)
    answer = await both.client.fetched(await both.client.submit("/work"))
    assert (answer.status, len(both.service.attempts)) == (502, 2)
    assert "broke off" in json.loads(answer.body)["detail"]


@pytest.mark.parametrize(
    ("method", "section", "times"),
    [
        ("GET", {}, 2),
        ("PUT", {}, 2),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
        ("POST", {"replay": "always"}, 2),
        ("GET", {"replay": "never"}, 1),
        ("GET", {"retries": 0}, 1),
        ("GET", {"retry_statuses": [500]}, 1),
    ],
)
async def test_what_is_repeated_is_what_may_be(
    before: Before, method: str, section: dict[str, Any], times: int
) -> None:
    both = await before(busy(), good(), **section)
    answer = await both.client.fetched(await both.client.submit("/work", method))
    assert len(both.service.attempts) == times
    assert answer.status == (200 if times == 2 else 503)


async def test_a_target_says_which_answers_are_as_good_as_none(before: Before) -> None:
    both = await before(web.Response(status=418), good(), retry_statuses=[418])
    assert (await both.client.fetched(await both.client.submit("/work"))).status == 200


async def test_the_request_is_sent_again_whole(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    bodies = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return good() if len(bodies) > 1 else busy()

    app = web.Application(client_max_size=2**24)
    app.router.add_put("/work", handle)
    section = {"upstream": await services.application(app), "retries": 1, "retry_delay": "1ms"}
    server = await serve(target=section)
    client = Client(http, server.url)
    large = bytes(range(256)) * 3072
    assert (await client.fetched(await client.submit("/work", "PUT", data=large))).status == 200
    assert bodies == [large, large]


async def test_nothing_is_left_of_the_large_answer_of_an_attempt_that_is_tried_again(
    before: Before, store_path: Path
) -> None:
    large = web.Response(status=503, body=bytes(2**20))
    both = await before(large, good())
    await both.client.done("/work")
    assert rows(store_path, "SELECT side FROM body WHERE job_id IS NOT NULL") == []
    assert rows(store_path, "SELECT count(*) FROM response") == [(1,)]


@pytest.mark.parametrize(("target", "own", "times"), [(0, 2, 3), (5, 1, 2), (5, 0, 1)])
async def test_a_definition_says_how_often_its_runs_are_tried_again(
    before: Before, target: int, own: int, times: int
) -> None:
    both = await before(busy(), retries=target)
    definition = {"name": "d", "path": "/d", "target": "/work", "retries": own}
    await both.client("POST", "/_jobs/definitions", json=definition)
    run = await both.client("POST", "/_jobs/definitions/1/run")
    assert (await both.client.fetched(json.loads(run.body)["id"])).status == 503
    assert len(both.service.attempts) == times


# --- while a job waits for its next attempt -----------------------------------------------------


async def test_a_job_that_waits_keeps_nobody_else_from_running(
    before: Before, store_path: Path
) -> None:
    both = await before(busy(Retry_After="3600"), good(), concurrency=1)
    patient = await both.client.submit("/work")
    await waiting(store_path, both.client)
    assert (await both.client.fetched(await both.client.submit("/work"))).body == b"good"
    assert (await both.client("GET", f"/_api/job/{patient}")).status == 204


async def test_a_target_that_asks_for_time_is_given_it(before: Before, store_path: Path) -> None:
    both = await before(busy(Retry_After="3600"), good())
    await both.client.submit("/work")
    await waiting(store_path, both.client)
    ((waits,),) = rows(
        store_path, "SELECT not_before - ended_at FROM job JOIN attempt ON job_id = id"
    )
    assert waits == 3600 * SECOND
    assert both.service.attempts == ["1"]


async def test_a_job_is_cancelled_while_it_waits(before: Before, store_path: Path) -> None:
    both = await before(busy(Retry_After="3600"), good())
    job_id = await both.client.submit("/work")
    await waiting(store_path, both.client)
    assert (await both.client("PUT", f"/_api/job/{job_id}/cancel")).status == 200
    assert (await both.client.fetched(job_id)).status == 410
    assert timeline(store_path, job_id)[:3] == ["submitted", "started", "retried"]
    assert both.service.attempts == ["1"]


async def test_a_job_that_is_asked_to_stop_while_it_fails_is_not_tried_again(
    before: Before, store_path: Path
) -> None:
    both = await before(asyncio.Event(), good())
    job_id = await both.client.submit("/work")
    await both.service.asked.wait()
    await both.client("PUT", f"/_api/job/{job_id}/cancel")
    assert (await both.client.fetched(job_id)).status == 410
    assert both.service.attempts == ["1"]
    assert rows(store_path, "SELECT state, retried FROM job") == [("cancelled", 0)]


async def test_a_job_whose_result_is_deleted_while_it_waits_goes_on_without_one(
    server_process: Start, services: Services, http: ClientSession, store_path: Path
) -> None:
    service = Flaky([busy(Retry_After="3600"), good()])
    server = await server_process("--upstream", await upstream(services, service))
    client = Client(http, server.url)
    await defined(client)
    await waiting(store_path, client)
    assert (await client("DELETE", "/_api/job/1")).status == 200
    await server.kill()
    set_due(store_path)
    await server.start()
    client = Client(http, server.url)
    while rows(store_path, "SELECT state FROM job") != [("done",)]:
        assert (await client("GET", "/_api/job/1")).status == 404
    assert rows(store_path, "SELECT result, status, attempt FROM job") == [("deleted", 200, 2)]
    assert rows(store_path, "SELECT count(*) FROM response") == [(0,)]


async def defined(client: Client, retries: int = 3) -> None:
    """Run a definition that may be tried again."""
    definition = {"name": "d", "path": "/d", "target": "/work", "retries": retries}
    await client("POST", "/_jobs/definitions", json=definition)
    await client("POST", "/_jobs/definitions/1/run")


async def test_a_job_that_waits_goes_on_waiting_after_the_server_was_killed(
    server_process: Start, services: Services, http: ClientSession, store_path: Path
) -> None:
    service = Flaky([busy(Retry_After="3600"), good()])
    server = await server_process("--upstream", await upstream(services, service))
    await defined(Client(http, server.url))
    await waiting(store_path, Client(http, server.url))
    ((until,),) = rows(store_path, "SELECT not_before FROM job")
    await server.kill()
    await server.start()
    client = Client(http, server.url)
    assert (await client.fetched(await client.submit("/other"))).body == b"good"
    assert rows(store_path, "SELECT state, not_before FROM job WHERE id = 1") == [("queued", until)]
    await server.kill()
    set_due(store_path)
    await server.start()
    client = Client(http, server.url)
    assert (await client.fetched(1)).body == b"good"
    assert [each[:3] for each in attempts(store_path)] == [(1, 503, None), (2, 200, None)]
    assert await server.terminate() == 0
    check_sound(store_path)


async def test_an_interrupted_attempt_is_no_retry_and_a_retry_no_interrupted_attempt(
    server_process: Start,
    services: Services,
    http: ClientSession,
    store_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOBSTORE_EXECUTOR__RETRIES", "2")
    monkeypatch.setenv("JOBSTORE_EXECUTOR__RETRY_DELAY", "1ms")
    monkeypatch.setenv("JOBSTORE_EXECUTOR__MAX_ATTEMPTS", "2")
    service = Flaky([busy(), asyncio.Event(), busy(), busy()])
    server = await server_process("--upstream", await upstream(services, service))
    await Client(http, server.url).submit("/work")
    while len(service.attempts) < 2:
        await service.asked.wait()
        service.asked.clear()
    await server.kill()
    await server.start()
    answer = await Client(http, server.url).fetched(1)
    assert (answer.status, answer.body) == (503, b"busy")
    assert service.attempts == ["1", "2", "3", "4"]
    assert [each[:3] for each in attempts(store_path)] == [
        (1, 503, None),
        (2, None, "interrupted"),
        (3, 503, None),
        (4, 503, None),
    ]
