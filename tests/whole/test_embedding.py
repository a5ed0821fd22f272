"""jobstore inside another application: its own handlers, paths and lifetime, and durable jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

import jobstore
from jobstore.embedding import Jobs
from jobstore.model.errors import ConfigError, JobNotFound, StoreInUse, SubmissionInvalid
from jobstore.model.job import Trigger
from jobstore.model.lifecycle import State
from jobstore.model.passwords import hashed
from jobstore.web.identifying import Identify
from tests.client import Client
from tests.engines import Place
from tests.loop import turns
from tests.raw import Front
from tests.stores import rows, timeline
from trials.services import answering
from trials.sockets import field_of

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
async def embedded(store: Path | str, **options: Any) -> AsyncIterator[Embedded]:
    """Run an application with jobs of its own, on any free port."""
    app = web.Application(middlewares=options.pop("middlewares", ()))
    app[SEEN] = []
    app[GATE] = asyncio.Event()
    app.router.add_get("/greet/{name}", greet)
    app.router.add_route("*", "/wait", wait)
    app.router.add_post("/echo", echo)
    app.router.add_get("/threads", work_in_threads)
    options.setdefault("open", "identify" not in options)
    jobs = jobstore.setup(app, store, **options)
    async with answering(app) as url, ClientSession() as http:
        yield Embedded(app, jobs, Client(http, url))


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


async def test_applications_share_a_database(database: Place) -> None:
    async with embedded(database.url) as one, embedded(database.url) as other:
        job_id = await one.client.submit("/greet/you")
        answer = await other.client.fetched(job_id)
        assert (answer.status, answer.body) == (200, b"hello you")


async def test_its_handlers_report_on_their_jobs(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.client.done("/greet/you")
    assert rows(store_path, "SELECT progress, counters FROM job WHERE id = ?", job_id) == [
        (50.0, '{"GREETED":1}')
    ]


async def test_the_apis_that_are_asked_for_are_there(store_path: Path) -> None:
    server = {"dialects": ["kinetica", "datameer"]}
    async with embedded(store_path, server=server) as it:
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


async def test_code_may_write_headers_text_and_durations_as_people_do(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.jobs.submit(
            "POST", "/echo", headers={"X-User": "me"}, body="grüße", delay="1ms", timeout="5m"
        )
        assert (await it.jobs.ended(job_id)).state is State.DONE
        answer = await it.jobs.take(job_id)
        assert answer is not None
        assert answer.body == "grüße".encode()
        job_id = await it.jobs.submit("POST", "/echo", headers={"X-User": "me"}, json={"a": [1]})
        await it.jobs.ended(job_id)
        answer = await it.jobs.take(job_id)
        assert answer is not None
        assert answer.body == b'{"a":[1]}'


async def test_a_keyword_that_there_is_not_is_told_at_once(store_path: Path) -> None:
    async with embedded(store_path) as it:
        with pytest.raises(SubmissionInvalid, match="did you mean priority"):
            await it.jobs.submit(  # mypy sees it as well, or would say that it need not look away
                "GET",
                "/greet/you",
                delay="2s",
                headers={},
                body="text",
                priorty=1,  # type: ignore[call-arg]
            )
        assert rows(store_path, "SELECT count(*) FROM job") == [(0,)]


async def work_in_threads(request: web.Request) -> web.Response:
    """Report from threads, as code does that blocks."""
    job = jobstore.current(request)

    def work(share: int) -> None:
        for _ in range(100):
            job.count("RECORDS")
        job.report(share)
        job.warn(f"part {share}")

    await asyncio.gather(*[asyncio.to_thread(work, share) for share in (25, 50, 75)])
    await asyncio.to_thread(job.report, 90)
    return web.Response()


async def test_a_handler_may_report_from_threads(store_path: Path) -> None:
    async with embedded(store_path) as it:
        job_id = await it.jobs.submit("GET", "/threads")
        assert (await it.jobs.ended(job_id)).state is State.DONE
        shown = (await it.client("GET", f"/_jobs/{job_id}")).json()
        assert (shown["progress"], shown["counters"]) == (90, {"RECORDS": 300})
        warnings = [event for event in timeline(store_path, job_id) if event == "warned"]
        assert len(warnings) == 3


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
        while not (it.jobs.store.waits.watched(job_id) and "waits" in it.app[SEEN]):
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
    jobs = jobstore.setup(app, store_path, open=True)
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
        with pytest.raises(StoreInUse, match=r"run one worker \(gunicorn --workers 1\)"):
            async with embedded(store_path):
                pass


def test_a_wrong_key_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="did you mean concurrency"):
        jobstore.setup(web.Application(), "jobs.db", executor={"concurency": 1})


async def test_nothing_can_be_submitted_before_the_application_runs(store_path: Path) -> None:
    jobs = jobstore.setup(web.Application(), store_path)
    with pytest.raises(RuntimeError, match="has not started"):
        await jobs.submit("GET", "/")


# --- who asks -----------------------------------------------------------------------------------

NAMES: Final = {"secret-of-alice": "alice", "secret-of-bob": "bob", "secret-of-root": "root"}


@web.middleware
async def login(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let those in who have a session; what comes from a job was let in when it was submitted."""
    if request.cookies.get("session") not in NAMES and jobstore.current(request).id is None:
        raise web.HTTPFound("/login")
    return await handler(request)


def identify(request: web.Request) -> jobstore.Identity | None:
    """Tell whose session it is; nobody has a job without one."""
    name = NAMES.get(request.cookies.get("session", ""))
    role = jobstore.Role.ADMIN if name == "root" else jobstore.Role.USER
    return None if name is None else jobstore.Identity(name=name, role=role)


async def identify_later(request: web.Request) -> jobstore.Identity | None:
    """Tell the same as somebody who has to ask a database."""
    await turns(1)
    return identify(request)


def session(name: str) -> dict[str, Any]:
    """Give what a request needs to come from somebody."""
    return {"headers": {"Cookie": f"session=secret-of-{name}"}}


OWN_CALLS: Final = [
    ("GET", "/_jobs"),
    ("GET", "/_jobs/1/response"),
    ("PUT", "/_api/job/1"),
    ("POST", "/get/job"),
    ("GET", "/rest/jobs/list-running"),
]


async def test_the_applications_own_login_stands_before_all_calls_and_submissions(
    store_path: Path,
) -> None:
    async with embedded(store_path, middlewares=[login], open=True) as it:
        headers = {"x-arango-async": "store"}
        answer = await it.client("GET", "/greet/you", headers=headers)
        assert (answer.status, answer.headers["Location"]) == (302, "/login")
        for method, path in OWN_CALLS:
            answer = await it.client(method, path)
            assert (answer.status, answer.headers["Location"]) == (302, "/login"), path
    assert rows(store_path, "SELECT count(*) FROM job") == [(0,)]


async def test_a_login_that_is_added_after_the_jobs_stands_before_them_too(
    store_path: Path,
) -> None:
    app = web.Application()
    jobstore.setup(app, store_path, open=True)
    app.middlewares.append(login)
    async with TestClient(TestServer(app)) as client:
        for method, path in OWN_CALLS:
            answer = await client.request(method, path, allow_redirects=False)
            assert answer.status == 302, path


@pytest.mark.parametrize("who", [identify, identify_later])
async def test_the_application_tells_who_asks(store_path: Path, who: Identify) -> None:
    async with embedded(store_path, identify=who) as it:
        submitting = {**session("alice")["headers"], "x-arango-async": "store"}
        made = await it.client("GET", "/greet/you", headers=submitting)
        job_id = int(made.headers["x-arango-async-id"])
        await it.jobs.ended(job_id)
        assert (await it.client("GET", f"/_jobs/{job_id}", **session("bob"))).status == 404
        assert (await it.client("PUT", f"/_api/job/{job_id}", **session("bob"))).status == 404
        assert (await it.client("GET", f"/_jobs/{job_id}", **session("root"))).status == 200
        answer = await it.client("PUT", f"/_api/job/{job_id}", **session("alice"))
        assert (answer.status, answer.body) == (200, b"hello you")


async def test_what_the_application_submits_for_somebody_is_theirs(store_path: Path) -> None:
    async with embedded(store_path, identify=identify) as it:
        job_id = await it.jobs.submit("GET", "/greet/you", owner="alice")
        await it.jobs.ended(job_id)
        assert (await it.client("GET", f"/_jobs/{job_id}", **session("bob"))).status == 404
        assert (await it.client("PUT", f"/_api/job/{job_id}", **session("alice"))).status == 200


async def test_who_is_nobody_to_the_application_is_nobody_to_jobstore(store_path: Path) -> None:
    both = {"dialects": ["kinetica", "datameer"]}
    async with embedded(store_path, identify=identify, server=both) as it:
        for method, path in OWN_CALLS:
            assert (await it.client(method, path)).status == 401, path
        headers = {"Prefer": "respond-async"}
        assert (await it.client("GET", "/greet/you", headers=headers)).status == 401
        assert (await it.client("GET", "/greet/you")).body == b"hello you"  # no job: no question


async def test_an_answer_that_names_nobody_opens_nothing(store_path: Path) -> None:
    async with embedded(store_path, identify=lambda _: jobstore.Identity(name="")) as it:
        assert (await it.client("GET", "/_jobs")).status == 500
    async with embedded(store_path, identify=lambda _: "alice") as it:
        assert (await it.client("GET", "/_jobs")).status == 500


async def test_a_job_passes_the_applications_login_and_its_handler_sees_whose_it_is(
    store_path: Path,
) -> None:
    owners = list[str | None]()

    @web.middleware
    async def strict(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.cookies.get("session") not in NAMES:
            raise web.HTTPForbidden
        if jobstore.current(request).id is not None:
            owners.append(jobstore.current(request).owner)
        return await handler(request)

    async with embedded(store_path, middlewares=[strict], identify=identify) as it:
        for headers in ({"Prefer": "respond-async"}, {"x-arango-async": "store"}):
            sent = {**session("alice")["headers"], **headers}
            assert (await it.client("GET", "/greet/you", headers=sent)).status == 202
        for job_id in (1, 2):
            assert (await it.jobs.ended(job_id)).status == 200
    assert owners == ["alice", "alice"]


async def test_the_applications_own_credentials_travel_with_a_job(store_path: Path) -> None:
    async def authorization(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Authorization", "none"))

    app = web.Application()
    app.router.add_get("/authorization", authorization)
    jobstore.setup(app, store_path, identify=lambda _: jobstore.Identity(name="alice"))
    async with TestClient(TestServer(app)) as client:
        headers = {"Authorization": "Bearer mine", "Prefer": "respond-async, wait=60"}
        answer = await client.get("/authorization", headers=headers)
        assert await answer.text() == "Bearer mine"


async def test_a_job_that_asks_jobstore_sees_what_its_owner_may_see(store_path: Path) -> None:
    async with embedded(store_path, identify=identify) as it:
        for name in ("alice", "bob"):
            sent = {**session(name)["headers"], "x-arango-async": "store"}
            await it.client("GET", "/greet/you", headers=sent)
        for job_id in (1, 2):
            await it.jobs.ended(job_id)
        sent = {**session("bob")["headers"], "x-arango-async": "store"}
        await it.client("GET", "/_api/job/done", headers=sent)
        await it.jobs.ended(3)
        answer = await it.client("PUT", "/_api/job/3", **session("bob"))
        assert answer.body == b'["2"]'


async def test_without_anybody_who_tells_who_asks_an_application_does_not_start(
    store_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"identify=.*open=True"):
        async with embedded(store_path, open=False):
            pass
    async with embedded(store_path) as it:
        await it.jobs.store.accounts.add("alice", jobstore.Role.USER, hashed("a secret"))
    async with embedded(store_path, open=False) as it:
        assert (await it.client("GET", "/_jobs")).status == 401


async def test_the_last_account_that_goes_leaves_the_application_closed(store_path: Path) -> None:
    async with embedded(store_path) as it:
        await it.jobs.store.accounts.add("alice", jobstore.Role.USER, hashed("a secret"))
    async with embedded(store_path, open=False) as it:
        await it.jobs.store.accounts.remove("alice")
        assert (await it.client("GET", "/_jobs")).status == 401


@pytest.mark.parametrize("early", [True, False])
async def test_a_sub_application_is_refused(store_path: Path, *, early: bool) -> None:
    app, child = web.Application(), web.Application()
    if early:
        jobstore.setup(child, store_path, open=True)
    app.add_subapp("/sub", child)
    if early:
        with pytest.raises(ConfigError, match="expected the main application"):
            await web.AppRunner(app).setup()
    else:
        with pytest.raises(ConfigError, match="expected the main application"):
            jobstore.setup(child, store_path, open=True)


async def test_what_is_below_a_sub_application_can_be_asked_for_as_a_job(store_path: Path) -> None:
    app, child = web.Application(), web.Application()
    child[SEEN] = []
    child.router.add_get("/greet/{name}", greet)
    app.add_subapp("/sub", child)
    jobstore.setup(app, store_path, open=True)
    async with TestClient(TestServer(app)) as client:
        headers = {"Prefer": "respond-async, wait=60"}
        answer = await client.get("/sub/greet/you", headers=headers)
        assert await answer.text() == "hello you"


async def test_a_strangers_page_drives_no_application(store_path: Path) -> None:
    async with embedded(store_path, identify=identify, server={"origins": ["https://a.b"]}) as it:
        foreign = {**session("alice")["headers"], "Origin": "http://evil.example"}
        assert (await it.client("GET", "/_jobs", headers=foreign)).status == 403
        assert (await it.client("GET", "/greet/you", headers=foreign)).status == 200
        trusted = {**foreign, "Origin": "https://a.b"}
        answer = await it.client("GET", "/_jobs", headers=trusted)
        allowed = answer.headers.getall("Access-Control-Allow-Origin")
        assert (answer.status, allowed) == (200, ["https://a.b"])
