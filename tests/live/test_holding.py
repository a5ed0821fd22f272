"""A target that cannot be reached is held: its jobs wait, and are there when it is back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web

from jobstore.live import Store
from jobstore.live.executor import Executor
from jobstore.live.holding import FIRST_PAUSE, LONGEST_PAUSE
from jobstore.model.clock import SECOND
from jobstore.model.errors import TargetBroken, TargetUnreachable
from jobstore.model.handle import JobHandle
from jobstore.model.job import Failure, Replay
from jobstore.model.lifecycle import State
from jobstore.model.message import Request, Response
from jobstore.model.retry import Retry
from jobstore.model.target_state import TargetChange, WaitReason
from jobstore.targets.router import Router, TargetRoute
from tests.client import Client
from tests.conftest import Serve
from tests.loop import turns
from tests.peers import OK, Services, nobodys_port
from tests.stores import (
    StandingClock,
    begun,
    held_up,
    opened,
    rows,
    states,
    submission,
    timeline,
    writer_of,
)
from trials.sockets import read_head

REFUSED: Final = "no connection to 127.0.0.1:9: Connection refused"
MINUTE: Final = 60.0


@dataclass(eq=False)
class Away:
    """A target that is away until the test says that it is back.

    Args:
        error: why nothing can be sent to it.
        sent: the requests that it had, by their paths.
    """

    error: Exception | None = field(default_factory=lambda: TargetUnreachable(REFUSED))
    sent: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    looked: int = 0

    @asynccontextmanager
    async def send(self, request: Request, handle: JobHandle) -> AsyncIterator[Response]:
        """Answer at once, if it is there."""
        if self.error is not None:
            raise self.error
        self.sent.append(request.path)
        self.attempts.append(handle.attempt)
        yield Response(status=200)

    async def reach(self) -> None:
        """Tell whether it is there."""
        self.looked += 1
        if self.error is not None:
            raise self.error


@dataclass(eq=False)
class Hesitant(Away):
    """A target that does nothing before the test lets it.

    Args:
        asked: set once it was asked.
        go_on: lets it do what it does.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def send(self, request: Request, handle: JobHandle) -> AsyncIterator[Response]:
        """Wait, and answer then, if it is there."""
        self.asked.set()
        await self.go_on.wait()
        async with super().send(request, handle) as response:
            yield response


class Pauses:
    """Pauses that are over when the test says so, by a clock that stands still otherwise."""

    def __init__(self, clock: StandingClock) -> None:
        self.lengths: list[float] = []
        self._clock = clock
        self._asked: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        """Wait until the test lets the time pass."""
        over = asyncio.Event()
        self.lengths.append(seconds)
        self._asked.put_nowait((seconds, over))
        await over.wait()

    async def begun(self) -> None:
        """Wait until a pause has begun, and leave it as it is."""
        pause = await self._asked.get()
        self._asked.put_nowait(pause)

    async def end(self) -> None:
        """Let the next pause go by, and wait until the one after it has begun or none will."""
        seconds, over = await self._asked.get()
        self._clock.move(seconds)
        over.set()


@dataclass(frozen=True, slots=True)
class Scene:
    """A store whose jobs ask a target that is away."""

    store: Store
    target: Away
    pauses: Pauses
    clock: StandingClock


@asynccontextmanager
async def scene(
    path: Path, target: Away | None = None, there: Away | None = None, **limits: Any
) -> AsyncIterator[Scene]:
    """Run the jobs of a store on a target that is away, and on another if there is one."""
    target, clock = target or Away(), StandingClock()
    others = [TargetRoute(name="/there", target=there, concurrency=4)] if there else []
    pauses = Pauses(clock)
    route = TargetRoute(
        name="/", target=target, **{"concurrency": 4, "hold": 15 * MINUTE, **limits}
    )
    async with opened(path, clock=clock) as store:
        router = Router([route, *others])
        executor = Executor(store, router, 3, clock, steady=clock, sleep=pauses.sleep)
        running = asyncio.create_task(executor.run())
        await executor.begun.wait()
        watching = asyncio.create_task(executor.watch())  # or a node would not trust itself
        try:
            yield Scene(store, target, pauses, clock)
        finally:
            watching.cancel()
            running.cancel()
            await asyncio.wait([running, watching])


async def held(this: Scene, *jobs: int) -> None:
    """Wait until jobs wait for the target."""
    await this.pauses.begun()
    for job_id in jobs:
        with this.store.waits.watching(job_id) as watch:
            while (await this.store.history.job(job_id)).state is not State.QUEUED:
                await watch.change()


# --- what waits -----------------------------------------------------------------------------------


async def test_a_request_that_was_never_sent_is_no_attempt(store_path: Path) -> None:
    async with scene(store_path) as this:
        job_id = await this.store.submit(submission("POST"))
        await held(this, job_id)
        job = await this.store.history.job(job_id)
        assert (job.state, job.attempt, job.retried, job.started_at) == ("queued", 0, 0, None)
        assert this.store.targets.waits_for(job) is WaitReason.HELD
        this.target.error = None
        await this.pauses.end()
        job = await this.store.waits.ended(job_id, 60)
        assert (job.state, job.attempt, this.target.attempts) == ("done", 1, [1])
    assert timeline(store_path, job_id) == ["submitted", "held", "started", "done"]
    assert rows(store_path, "SELECT count(*) FROM attempt") == [(0,)]


async def test_no_job_of_a_target_that_cannot_be_reached_starts(store_path: Path) -> None:
    async with scene(store_path) as this:
        first = await this.store.submit(submission("POST"))
        await held(this, first)
        others = [await this.store.submit(submission("POST", f"/{i}")) for i in range(500)]
        found = states(store_path)
        assert {found[job_id] for job_id in (first, *others)} == {("queued", "none")}
        this.target.error = None
        await this.pauses.end()
        for job_id in others:
            assert (await this.store.waits.ended(job_id, 60)).state is State.DONE
        assert (len(this.target.sent), set(this.target.attempts)) == (501, {1})


async def test_a_target_is_looked_for_with_growing_pauses_up_to_half_a_minute(
    store_path: Path,
) -> None:
    async with scene(store_path, hold=None) as this:
        job_id = await this.store.submit(submission())
        await held(this, job_id)
        for _ in range(8):
            await this.pauses.end()
        await this.pauses.begun()
        assert this.pauses.lengths == [FIRST_PAUSE, 2, 4, 8, 16, *[LONGEST_PAUSE] * 4]
        assert (this.target.looked, this.target.sent) == (8, [])
        assert states(store_path)[job_id] == ("queued", "none"), "however long it takes"


async def test_one_line_of_the_log_says_that_a_hold_begins_and_one_that_it_ends(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "jobstore.live.holding"):
        async with scene(store_path) as this:
            jobs = [await this.store.submit(submission("POST")) for _ in range(3)]
            await held(this, *jobs)
            await this.pauses.end()
            await this.pauses.begun()
            this.target.error = None
            await this.pauses.end()
            await this.store.waits.ended(jobs[-1], 60)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            f"target / cannot be reached: {REFUSED}; its jobs wait for up to 900 s each",
        ),
        ("INFO", "target / can be reached again, after 3 s"),
    ]


# --- when it takes too long -----------------------------------------------------------------------


async def pass_by(this: Scene, seconds: float) -> None:
    """Let so much time pass, in the pauses between two looks."""
    until = this.clock() + int(seconds * 1_000_000)
    while this.clock() < until:
        await this.pauses.end()
        await this.pauses.begun()


async def test_a_job_fails_as_unreachable_when_it_has_waited_for_as_long_as_it_may(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(store_path, hold=40.0) as this:
        old = await this.store.submit(submission())
        await held(this, old)
        await pass_by(this, 15)
        young = await this.store.submit(submission())
        await pass_by(this, 25)
        job = await this.store.waits.ended(old, 60)
        assert (job.state, job.failure, job.status) == ("failed", Failure.UNREACHABLE, 502)
        assert job.detail == f"{REFUSED}; the job waited for 40 s"
        assert states(store_path)[young] == ("queued", "none"), "it came later"
        await pass_by(this, 30)
        assert (await this.store.waits.ended(young, 60)).state is State.FAILED
    assert f"job {old} failed: {job.detail} (target /)" in caplog.messages
    assert rows(store_path, "SELECT count(*) FROM attempts") == [(0,)]


async def test_a_job_that_had_to_wait_for_its_time_waits_from_then_on(store_path: Path) -> None:
    async with scene(store_path, hold=100.0) as this:
        prompt = await this.store.submit(submission())
        await held(this, prompt)
        at = this.clock() + 90 * 1_000_000
        later = await this.store.submit(replace(submission(), not_before=at))
        await pass_by(this, 95)
        await writer_of(this.store).run(this.store._come_due)  # noqa: SLF001 - its alarm sleeps
        await pass_by(this, 60)
        assert (await this.store.waits.ended(prompt, 60)).state is State.FAILED
        assert states(store_path)[later] == ("queued", "none")
        await pass_by(this, 60)
        assert (await this.store.waits.ended(later, 60)).state is State.FAILED


async def test_while_an_operator_has_paused_a_target_nobody_gives_up(store_path: Path) -> None:
    async with scene(store_path, hold=40.0) as this:
        job_id = await this.store.submit(submission())
        await held(this, job_id)
        await this.store.targets.change("/", TargetChange(paused=True), "ada")
        job = await this.store.history.job(job_id)
        assert this.store.targets.waits_for(job) is WaitReason.PAUSED
        await pass_by(this, 120)
        assert states(store_path)[job_id] == ("queued", "none")
        await this.store.targets.change("/", TargetChange(paused=False), "ada")
        await pass_by(this, 75)
        assert (await this.store.waits.ended(job_id, 60)).state is State.FAILED


async def test_a_target_whose_jobs_do_not_wait_fails_them_at_once(store_path: Path) -> None:
    async with scene(store_path, hold=0) as this:
        job = await this.store.waits.ended(await this.store.submit(submission()), 60)
        assert (job.failure, job.detail, this.pauses.lengths) == ("unreachable", REFUSED, [])


# --- what counts as never sent --------------------------------------------------------------------


async def test_what_broke_after_it_was_sent_is_an_attempt(store_path: Path) -> None:
    async with scene(store_path, Away(TargetBroken("the connection broke"))) as this:
        job = await this.store.waits.ended(await this.store.submit(submission()), 60)
        assert (job.failure, job.attempt, this.pauses.lengths) == ("broken", 1, [])


@pytest.mark.parametrize(
    ("replay", "waits"), [(Replay.IDEMPOTENT, True), (Replay.NEVER, False)], ids=str
)
async def test_what_may_have_been_sent_waits_only_if_it_may_be_sent_again_and_counts(
    store_path: Path, replay: Replay, *, waits: bool
) -> None:
    away = Away(TargetUnreachable(REFUSED, sent=True))
    async with scene(store_path, away, replay=replay) as this:
        job_id = await this.store.submit(submission())
        if waits:
            await held(this, job_id)
            this.target.error = None
            await this.pauses.end()
        job = await this.store.waits.ended(job_id, 60)
        assert job.state == ("done" if waits else "failed")
        assert job.attempt == (2 if waits else 1)


async def test_an_unreachable_target_uses_up_none_of_the_retries(store_path: Path) -> None:
    async with scene(store_path, retry=Retry(retries=1)) as this:
        job_id = await this.store.submit(submission())
        await held(this, job_id)
        for _ in range(3):
            await this.pauses.end()
            await this.pauses.begun()
        assert (await this.store.history.job(job_id)).retried == 0


async def test_a_job_that_waits_for_its_target_can_be_cancelled(store_path: Path) -> None:
    async with scene(store_path) as this:
        job_id = await this.store.submit(submission())
        await held(this, job_id)
        assert await this.store.cancel(job_id) is State.QUEUED
        this.target.error = None
        await this.pauses.end()
        await this.store.waits.ended(await this.store.submit(submission("GET", "/next")), 60)
        assert this.target.sent == ["/next"]


async def test_a_drain_does_not_wait_for_what_is_held(store_path: Path) -> None:
    async with scene(store_path) as this:
        job_id = await this.store.submit(submission())
        await held(this, job_id)
        this.store.refuse()
        await this.store.idle()
    assert states(store_path)[job_id] == ("queued", "none")


@pytest.mark.file
async def test_whoever_looks_sees_until_when_jobs_wait_and_a_pause_moves_that(
    store_path: Path,
) -> None:
    async with scene(store_path) as this:
        began = this.clock()
        await held(this, await this.store.submit(submission()))
        assert await until(this) == began + 15 * MINUTE * SECOND
        await this.pauses.end()
        await this.pauses.begun()
        assert await until(this) == began + 15 * MINUTE * SECOND
        await this.store.targets.change("/", TargetChange(paused=True), "alice")
        await this.pauses.end()
        await this.pauses.begun()
        assert await until(this) == this.clock() + 15 * MINUTE * SECOND
    async with scene(store_path.with_name("ever.db"), hold=None) as this:
        await held(this, await this.store.submit(submission()))
        assert await until(this) is None


async def until(this: Scene) -> int | None:
    """Tell until when jobs wait, as whoever looks is told."""
    (seen,) = await this.store.targets.seen()
    (closed,) = this.store.targets.told_closed()
    assert seen.hold is not None
    assert closed.paused_by or closed.until == seen.hold.until
    return seen.hold.until


async def test_whoever_looks_sees_a_hold_until_it_ends(store_path: Path) -> None:
    async with scene(store_path) as this:
        await held(this, await this.store.submit(submission()))
        await this.store.submit(submission())
        (seen,) = await this.store.targets.seen()
        assert seen.hold is not None
        assert (seen.hold.why, seen.waiting, seen.running) == (REFUSED, 2, 0)
        this.target.error = None
        await this.pauses.end()
        await this.store.waits.ended(2, 60)
        (seen,) = await this.store.targets.seen()
        assert (seen.hold, seen.waiting) == (None, 0)


# --- with a real service --------------------------------------------------------------------------


@pytest.mark.file
async def test_a_service_that_is_restarted_under_hundreds_of_jobs_loses_none(
    serve: Serve, http: ClientSession
) -> None:
    port, seen = nobodys_port(), list[str]()

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text="done")

    server = await serve(target={"upstream": f"http://127.0.0.1:{port}", "timeout": "1m"})
    client = Client(http, server.url)
    jobs = [await client.submit(f"/{number}", method="POST") for number in range(300)]
    (target, *_) = [
        each
        for each in json.loads((await client("GET", "/_jobs/targets")).body)["targets"]
        if each["name"] == "/"
    ]
    assert (target["held"], target["waiting"]) == (True, 300)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        for job_id in jobs:
            told = await client("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=600"})
            job = json.loads(told.body)
            assert (job["state"], job["status"], job["attempt"]) == ("done", 200, 1)
    finally:
        await runner.cleanup()
    assert sorted(seen) == sorted(f"/{number}" for number in range(300)), "each was sent once"


@pytest.mark.file
async def test_an_attempt_that_is_over_before_a_connection_was_made_was_none(
    serve: Serve, http: ClientSession, services: Services
) -> None:
    never = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await never.wait()

    url = (await services.listen(talk)).replace("http:", "https:")  # a handshake without an end
    server = await serve(target={"upstream": url, "timeout": "200ms"})
    client = Client(http, server.url)
    job_id = await client.submit("/work", method="POST")
    job: dict[str, Any] = {}
    while job.get("waits_for") != "held":
        job = json.loads((await client("GET", f"/_jobs/{job_id}")).body)
    assert (job["state"], job["attempt"]) == ("queued", 0)


async def test_what_waited_for_another_job_waits_for_its_target_from_then_on(
    store_path: Path,
) -> None:
    there = Hesitant(error=None)
    async with scene(store_path, there=there, hold=40.0) as this:
        held_first = await this.store.submit(submission())
        await held(this, held_first)
        first, second = await this.store.submissions.submit_chain(
            [submission("GET", "/there", target="/there"), submission()]
        )
        await pass_by(this, 40)
        assert (await this.store.waits.ended(held_first, 60)).state is State.FAILED
        there.go_on.set()
        assert (await this.store.waits.ended(first, 60)).state is State.DONE
        await pass_by(this, 15)
        assert states(store_path)[second] == ("queued", "none")
        await pass_by(this, 60)
        assert (await this.store.waits.ended(second, 60)).state is State.FAILED


async def test_a_job_whose_cancellation_comes_as_its_target_is_held_is_cancelled(
    store_path: Path,
) -> None:
    away = Hesitant()
    async with scene(store_path, away) as this:
        job_id = await this.store.submit(submission())
        await away.asked.wait()
        async with held_up(store_path):
            cancelling = await begun(this.store.cancel(job_id))
            away.go_on.set()
            await turns(10)
        await cancelling
        assert (await this.store.waits.ended(job_id, 60)).state is State.CANCELLED
