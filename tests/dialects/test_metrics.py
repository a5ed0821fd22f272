"""What is counted, as Prometheus reads it: names, labels, and what a job adds to them."""

import asyncio
import json
from collections.abc import Mapping

import pytest
from aiohttp import ClientSession
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from jobstore.model.account import Role, account_of_name
from jobstore.model.clock import SECOND
from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Request
from jobstore.model.passwords import digest
from jobstore.model.target_state import WaitReason
from jobstore.server import Server
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.kinetica import Kinetica
from tests.peers import nobodys_port

DEFINITIONS = "/_jobs/definitions"
DRAFT = {"name": "x", "path": "/x", "target": "/elsewhere"}
STORE = {"x-arango-async": "store"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

# By a sample's name and its labels.
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(client: Client) -> Samples:
    """Ask for all that is counted."""
    answer = await client("GET", "/_jobs/metrics")
    assert answer.status == 200, answer
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """Find one value."""
    return found[f"jobstore_{name}", frozenset(labels.items())]


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


async def test_a_job_is_counted_on_each_of_its_ways(client: Client) -> None:
    job_id = await client.done("/echo", "POST", data=b"x")
    assert (await client("POST", f"/_jobs/{job_id}/take")).status == 200
    found = await samples(client)
    one = {"target": "/"}
    assert value(found, "submissions_total", dialect="arango", **one) == 1
    assert value(found, "attempts_total", outcome="answered", status="2xx", **one) == 1
    assert value(found, "ended_total", state="done", **one) == 1
    for name in ("wait", "run", "job"):
        assert value(found, f"{name}_seconds_count", **one) == 1
        assert value(found, f"{name}_seconds_bucket", le="+Inf", **one) == 1
    assert (value(found, "taken_total"), value(found, "given_back_total")) == (1, 0)
    assert value(found, "jobs", state="done") == value(found, "results", result="taken") == 1
    assert value(found, "http_requests_total", api="submit", status="2xx") == 1
    assert value(found, "http_request_seconds_count", api="submit") == 1
    assert (value(found, "target_running", **one), value(found, "queue_limit")) == (0, 100_000)
    assert value(found, "target_concurrency", **one) == 32
    assert value(found, "commit_seconds_count") > 1
    assert value(found, "commit_operations_sum") >= 3
    assert value(found, "http_requests_total", api="native", status="2xx") >= 1
    assert sum(size for (name, _), size in found.items() if name == "jobstore_store_bytes") > 0


async def test_what_waits_is_told_by_target(serve: Serve, http: ClientSession) -> None:
    gated = Client(http, (await serve(target=GATED, executor={"concurrency": 1})).url)
    await gated.submit("/wait/first")
    await gated.when("first", "started")
    second, third = await gated.submit("/wait/second"), await gated.submit("/wait/third")
    found = await samples(gated)
    assert value(found, "target_running", target="/") == 1
    assert value(found, "target_queued", target="/") == 2
    assert value(found, "queue_oldest_seconds", target="/") >= 0
    assert value(found, "jobs", state="queued") == 2
    await gated("PUT", f"/_api/job/{third}/cancel")
    for name in ("first", "second"):
        await gated.let(name)
    await gated.ended(second)
    after = await samples(gated)
    assert value(after, "ended_total", target="/", state="cancelled") == 1
    assert value(after, "wait_seconds_count", target="/") == 2


async def test_it_is_told_of_which_target_no_job_may_start(client: Client) -> None:
    assert value(await samples(client), "target_paused", target="/") == 0
    await client("PATCH", "/_jobs/targets/%2F", json={"paused": True, "reason": "a migration"})
    assert value(await samples(client), "target_paused", target="/") == 1


async def test_what_goes_wrong_is_counted_by_how(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=GATED, capture={"body_limit": 10}, executor={"timeout": "50ms"})
    client = Client(http, server.url)
    await client.done("/missing")
    await client.done("/wait/for_ever")
    answer = await client("POST", "/echo", data=b"x" * 11, headers=STORE)
    assert answer.status == 413
    large = [{"target": "/echo", "body": "x" * 11}]
    assert (await client("POST", "/_jobs/batch", json={"jobs": large})).status == 413
    server.store.refuse()
    assert (await client("POST", "/echo", headers=STORE)).status == 503
    found = await samples(client)
    answered = {"target": "/", "outcome": "answered"}
    assert value(found, "attempts_total", **answered, status="4xx") == 1
    assert value(found, "attempts_total", target="/", outcome="timeout", status="") == 1
    assert value(found, "ended_total", target="/", state="failed") == 1
    assert value(found, "refused_total", reason="too_large") == 2
    assert value(found, "refused_total", reason="stopping") == 1


async def test_what_nobody_answers_for_is_refused_and_counted(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={**ORDINARY, "prefix": "/only"})).url)
    assert (await client("GET", "/elsewhere", headers=STORE)).status == 404
    assert (await client("POST", "/_jobs", json={"target": "/elsewhere"})).status == 404
    refused = await Kinetica(client).refused("/create/job", endpoint="/elsewhere")
    assert "no target" in refused
    made = await client("POST", DEFINITIONS, json=DRAFT)
    run = json.loads(made.body)["id"]
    assert (await client("POST", f"{DEFINITIONS}/{run}/run")).status == 404
    assert value(await samples(client), "refused_total", reason="no_target") == 4


async def test_what_waits_for_a_target_that_is_held_is_no_attempt(
    serve: Serve, http: ClientSession
) -> None:
    away = {"upstream": f"http://127.0.0.1:{nobodys_port()}"}
    server = await serve(target=away)
    client, store = Client(http, server.url), server.store
    job_id = int(await client.submit("/echo"))
    with store.waits.watching(job_id) as watch:
        while store.targets.waits_for(await store.history.job(job_id)) is not WaitReason.HELD:
            await watch.change()
    found = await samples(client)
    assert value(found, "target_paused", target="/") == 1
    assert value(found, "attempts_total", target="/", outcome="unreachable", status="") == 0


async def test_a_target_that_is_away_and_not_held_is_an_attempt(
    serve: Serve, http: ClientSession
) -> None:
    away = {"upstream": f"http://127.0.0.1:{nobodys_port()}", "hold": "0"}
    client = Client(http, (await serve(target=away)).url)
    await client.done("/echo")
    found = await samples(client)
    assert value(found, "attempts_total", target="/", outcome="unreachable", status="") == 1


@pytest.mark.file  # what is counted is counted before the store
async def test_the_number_of_lines_is_the_same_for_10_000_paths_owners_and_tags(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    await client.done("/echo", "POST", data=b"x")
    before = await samples(client)
    for some in range(0, 10_000, 1000):
        await asyncio.gather(
            *(
                server.store.submit(
                    Submission(
                        request=Request(method="GET", path=f"/{n}", headers=(), body=b""),
                        target="/",
                        dialect=Dialect.NATIVE,
                        owner=f"owner {n}",
                        account=account_of_name(f"owner {n}"),
                        tag=f"tag {n}",
                        delay=3600 * SECOND,
                    )
                )
                for n in range(some, some + 1000)
            )
        )
    while not value(after := await samples(client), "jobs", state="queued"):
        pass  # these figures may be a moment old
    assert set(after) == set(before)
    assert value(after, "submissions_total", dialect="native", target="/") == 10_000
    assert value(after, "jobs", state="queued") == 10_000
    assert value(after, "target_queued", target="/") == 0  # they wait for their time, for no slot


async def test_openmetrics_has_the_trace_of_a_job_as_an_example(client: Client) -> None:
    await client.done("/echo", "POST", data=b"x", headers={"traceparent": TRACEPARENT})
    answer = await client(
        "GET", "/_jobs/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")
    examples = [
        sample.exemplar.labels
        for family in openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert examples == [{"trace_id": TRACE}]


async def test_nothing_is_counted_where_that_is_turned_off(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY, metrics={"enabled": False})).url)
    await client.done("/echo", "POST", data=b"x")
    answer = await client("GET", "/_jobs/metrics")
    assert answer.status == 404
    assert b"set [metrics] enabled = true" in answer.body


async def test_who_may_not_see_all_jobs_may_not_see_the_metrics(
    serve: Serve, http: ClientSession
) -> None:
    server: Server = await serve(target=ORDINARY)
    statuses = []
    for role in (Role.USER, Role.READER):
        name = str(role)
        await server.store.accounts.add(name, role, "a password that nobody guesses")
        await server.store.accounts.add_token(name, "prometheus", digest(name))
        headers = {"Authorization": f"Bearer {name}"}
        answer = await Client(http, server.url)("GET", "/_jobs/metrics", headers=headers)
        statuses.append(answer.status)
    assert statuses == [403, 200]
    assert (await Client(http, server.url)("GET", "/_jobs/metrics")).status == 401
