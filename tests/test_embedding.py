"""jobstore inside another application: its own handlers, paths and lifetime, and durable jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientSession, web

import jobstore
from jobstore.embedding import Jobs
from jobstore.errors import ConfigError, JobNotFound, StoreInUse, SubmissionInvalid
from jobstore.job import Trigger
from jobstore.lifecycle import State
from tests.client import Client
from tests.raw import Front, field_of
from tests.stores import rows, timeline

SEEN: Final = web.AppKey("seen", list[str])
GATE: Final = web.AppKey("gate", asyncio.Event)


async def greet(request: web.Request) -> web.Response:
    """Greet whoever asks, and report on it."""
    job = jobstore.current(request)
    job.report(50)
    job.count("GREETED")
    request.app[SEEN].append(f"{job.id}")
    return web.Response(text=f"hello {request.match_info['name']}")


async def wait(request: web.Request) -> web.Response:
    """Answer when somebody lets it."""
    request.app[SEEN].append("waits")
    await request.app[GATE].wait()
    return web.Response(text="done")


async def echo(request: web.Request) -> web.Response:
    """Give back what came in."""
    return web.Response(body=await request.read(), headers={"X-User": request.headers["X-User"]})


@dataclass
class Embedded:
    """An application that runs, with jobs of its own."""

    app: web.Application
    jobs: Jobs
    client: Client
    order: list[str] = field(default_factory=list)


@asynccontextmanager
async def embedded(store: Path, **sections: object) -> AsyncIterator[Embedded]:
    """Run an application with jobs of its own, on any free port."""
    app = web.Application()
    app[SEEN] = []
    app[GATE] = asyncio.Event()
    app.router.add_get("/greet/{name}", greet)
    app.router.add_route("*", "/wait", wait)
    app.router.add_post("/echo", echo)
    jobs = jobstore.setup(app, store, **sections)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with ClientSession() as http:
            yield Embedded(app, jobs, Client(http, f"http://{host}:{port}"))
    finally:
        await runner.cleanup()


async def test_its_own_paths_answer_as_before(store_path: Path) -> None:
    async with embedded(store_path) as it:
        assert (await it.client("GET", "/greet/you")).body == b"hello you"
        assert (await it.client("GET", "/nowhere")).status == 404
        assert (await it.client("PATCH", "/greet/you")).status == 405


async def test_a_header_makes_a_job_of_any_of_them(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.client.submit("/greet/you")
        answer = await it.client.fetched(job_id)
        assert (answer.status, answer.body) == (200, b"hello you")
        assert answer.headers["x-arango-async-id"] == str(job_id)
        assert (await it.client("PUT", f"/_api/job/{job_id}")).status == 404
        assert it.app[SEEN] == [str(job_id)]


async def test_its_handlers_report_on_their_jobs(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.client.done("/greet/you")
    assert rows(store_path, "SELECT progress, counters FROM job WHERE id = ?", job_id) == [
        (50.0, '{"GREETED":1}')
    ]


async def test_all_apis_are_there(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.client.done("/greet/you")
        found = await it.client("POST", "/get/job", json={"job_id": job_id})
        assert b"DONE" in found.body
        details = await it.client("GET", f"/rest/job-execution/job-details/{job_id}")
        assert b"COMPLETED" in details.body
        definition = {"name": "it", "path": "/it", "target": "/greet/them"}
        assert (await it.client("POST", "/_jobs/definitions", json=definition)).status == 201
        run = await it.client("POST", "/rest/job-execution?configuration=1")
        assert run.status == 200


async def test_a_job_may_ask_jobstores_own_api(store_path: Path) -> None:
    async with embedded(store_path) as it:
        first = await it.client.done("/greet/you")
        answer = await it.client.fetched(await it.client.submit("/_api/job/done"))
        assert answer.body == f'["{first}"]'.encode()


async def test_code_submits_without_http(store_path: Path) -> None:
    async with embedded(store_path) as it:
        headers = [("X-User", "me")]
        job_id = await it.jobs.submit("POST", "/echo", headers=headers, body=b"\xff\x00")
        assert (await it.jobs.ended(job_id)).state is State.DONE
        answer = await it.jobs.take(job_id)
        assert answer is not None
        assert (answer.status, answer.body) == (200, b"\xff\x00")
        assert ("X-User", "me") in answer.headers
        with pytest.raises(JobNotFound):
            await it.jobs.take(job_id)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("greet/you", ("X-User", "me")),
        ("/greet/a b", ("X-User", "me")),
        ("/greet/you\n", ("X-User", "me")),
        ("/greet/you#me", ("X-User", "me")),
        ("/greet/you", ("X-User", "me\r\nX-Admin: me")),
        ("/greet/you", ("X-User", "\ud800")),
        ("/greet/you", ("X User", "me")),
        ("/greet/you", ("", "me")),
    ],
)
async def test_code_cannot_submit_what_no_request_can_be(
    store_path: Path, path: str, field: tuple[str, str]
) -> None:
    async with embedded(store_path) as it:
        with pytest.raises(SubmissionInvalid, match="expected"):
            await it.jobs.submit("GET", path, headers=[field])
        assert rows(store_path, "SELECT count(*) FROM job") == [(0,)]


async def test_each_byte_of_a_header_comes_back(store_path: Path) -> None:
    async with embedded(store_path) as it:
        front = Front(it.client.url)
        result = await front.fetch(await front.submit("POST", "/echo", b"X-User: M\xfcller"))
        assert field_of(result, b"X-User") == b"M\xfcller"


async def test_a_submission_from_code_may_say_all_that_one_can(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.jobs.submit(
            "GET", "/greet/you", owner="cron", tag="mine", trigger=Trigger.CLI, priority=3
        )
        job = await it.jobs.ended(job_id)
        assert (job.owner, job.tag, job.trigger, job.priority) == ("cron", "mine", "CLI", 3)


async def test_code_cancels_a_job(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.jobs.submit("GET", "/wait")
        while "waits" not in it.app[SEEN]:
            await it.client("GET", "/greet/me")
        assert await it.jobs.cancel(job_id) is State.RUNNING
        assert (await it.jobs.ended(job_id)).state is State.CANCELLED
        assert await it.jobs.take(job_id) is None


async def test_results_outlive_the_application(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.client.done("/greet/you")
    async with embedded(store_path) as it:
        assert (await it.client.fetched(job_id)).body == b"hello you"


async def test_what_ran_when_the_application_ended_runs_again(store_path: Path) -> None:
    async with embedded(store_path, executor={"drain": 0}) as it:
        job_id = await it.client.submit("/wait")
        while "waits" not in it.app[SEEN]:
            await it.client("GET", "/greet/me")
    async with embedded(store_path) as it:
        it.app[GATE].set()
        assert (await it.client.fetched(job_id)).body == b"done"
    assert "recovered" in timeline(store_path, job_id)


async def test_who_waits_for_a_job_does_not_hold_up_the_end_of_the_application(
    store_path: Path,
) -> None:
    async with embedded(store_path, executor={"drain": 0}) as it:
        job_id = await it.client.submit("/wait")
        headers = {"Prefer": "wait=600"}
        waiting = asyncio.create_task(it.client("GET", f"/_jobs/{job_id}", headers=headers))
        while not (it.jobs.store.watched(job_id) and "waits" in it.app[SEEN]):
            await it.client("GET", "/greet/me")
        await it.app.shutdown()
        answer = await waiting
    assert (answer.status, b'"running"' in answer.body) == (200, True)


async def test_jobs_run_only_when_the_application_has_started_up(store_path: Path) -> None:
    async with embedded(store_path, executor={"concurrency": 1, "drain": 0}) as it:
        await it.client.submit("/wait")
        queued = await it.client.submit("/greet/you")
    app, opened = web.Application(), list[str]()

    async def database(_: web.Application) -> AsyncIterator[None]:
        opened.append("database")
        yield

    async def greeting(_: web.Request) -> web.Response:
        assert opened == ["database"]
        return web.Response(text="hello")

    app.router.add_get("/{tail:.*}", greeting)
    jobs = jobstore.setup(app, store_path)
    app.cleanup_ctx.append(database)
    runner = web.AppRunner(app)
    await runner.setup()
    answer = await jobs.ended(queued)
    await runner.cleanup()
    assert answer.status == 200


async def test_a_store_that_cannot_be_used_fails_the_start_of_the_application(
    store_path: Path,
) -> None:
    async with embedded(store_path):
        with pytest.raises(StoreInUse):
            async with embedded(store_path):
                pass


def test_a_wrong_key_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="did you mean concurrency"):
        jobstore.setup(web.Application(), "jobs.db", executor={"concurency": 1})


async def test_nothing_can_be_submitted_before_the_application_runs(store_path: Path) -> None:
    jobs = jobstore.setup(web.Application(), store_path)
    with pytest.raises(RuntimeError, match="has not started up"):
        await jobs.submit("GET", "/")
