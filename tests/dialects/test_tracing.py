"""Traces: contexts travel as they came, and spans are made where somebody wants them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Request
from jobstore.model.tracing import trace_of
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.kinetica import Kinetica
from tests.stores import owned
from trials.clients import Answer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = {
    "traceparent": f"00-{TRACE}-{SPAN}-01",
    "tracestate": "vendor=t61rcWkgMzE,other=1",
    "baggage": "user=ana",
}
SPANS = InMemorySpanExporter()


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


def context(answer: Answer) -> Mapping[str, str]:
    """Read which context a target has seen."""
    return {name: value for name, value in json.loads(answer.body)["headers"] if name in CONTEXT}


# --- as they came -------------------------------------------------------------------------------


async def test_a_context_travels_as_it_came_in_each_dialect(client: Client) -> None:
    jobs = [await client.submit("/mirror/arango", headers=CONTEXT)]
    preferred = await client(
        "GET", "/mirror/prefer", headers={**CONTEXT, "Prefer": "respond-async"}
    )
    described = await client("POST", "/_jobs", json={"target": "/mirror/json"}, headers=CONTEXT)
    jobs += [json.loads(answer.body)["id"] for answer in (preferred, described)]
    members = {"request_encoding": "json", "data_str": "{}", "options": {}}
    made = await client(
        "POST", "/create/job", json={"endpoint": "/mirror/kinetica", **members}, headers=CONTEXT
    )
    jobs.append(json.loads(json.loads(made.body)["data_str"])["job_id"])
    assert [context(await client.fetched(job_id)) for job_id in jobs[:3]] == [CONTEXT] * 3
    seen = await Kinetica(client)("/get/job", job_id=jobs[3])
    assert TRACE in seen["job_response_str"]


async def test_a_context_of_the_job_itself_comes_before_that_of_its_submission(
    client: Client,
) -> None:
    own = f"00-{'1' * 32}-{'2' * 16}-00"
    job = {"target": "/mirror/own", "headers": {"Traceparent": own}}
    answer = await client("POST", "/_jobs", json=job, headers=CONTEXT)
    seen = await client.fetched(json.loads(answer.body)["id"])
    assert context(seen) == {"traceparent": own}


async def test_a_context_is_there_after_a_restart(
    store_path: Path, serve: Serve, http: ClientSession
) -> None:
    asked = Request(method="GET", path="/mirror/later", headers=tuple(CONTEXT.items()))
    async with owned(store_path) as store:  # which runs nothing
        job_id = await store.submit(Submission(request=asked, target="/", dialect=Dialect.NATIVE))
    client = Client(http, (await serve(target=ORDINARY)).url)
    assert context(await client.fetched(job_id)) == CONTEXT


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (CONTEXT["traceparent"], TRACE),
        (f" 01-{TRACE}-{SPAN}-01-more ", TRACE),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
    ],
)
def test_a_trace_is_known_only_where_one_is_named(written: str, found: str | None) -> None:
    assert trace_of((("Traceparent", written),)) == found
    assert trace_of(()) is None


# --- spans --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """Set the SDK up, which can be done once in a process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    trace.set_tracer_provider(provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    """Give what gets the spans."""
    del provider  # which only has to be there
    SPANS.clear()
    yield SPANS
    SPANS.clear()


def by_kind(spans: InMemorySpanExporter) -> dict[SpanKind, ReadableSpan]:
    """Give the spans of a single job by their kinds."""
    found = spans.get_finished_spans()
    assert len(found) == 3
    return {span.kind: span for span in found}


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Give the ids of a span's trace and of itself, as they are written."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


async def traced(serve: Serve, http: ClientSession, path: str, **section: Any) -> Answer:
    """Run a job in a trace; return its result."""
    server = await serve(target=ORDINARY, tracing={"enabled": True, **section})
    client = Client(http, server.url)
    return await client.fetched(await client.submit(path, headers=CONTEXT))


async def test_a_job_is_a_span_of_its_submission_and_a_linked_one_of_its_attempt(
    serve: Serve, http: ClientSession, spans: InMemorySpanExporter
) -> None:
    answer = await traced(serve, http, "/mirror/linked?secret=1")
    found = by_kind(spans)
    send, process, asked = (
        found[kind] for kind in (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT)
    )
    assert (send.name, process.name, asked.name) == ("send /", "process /", "GET")
    assert send.parent is not None
    assert ids(send)[0] == TRACE
    assert f"{send.parent.span_id:016x}" == SPAN
    assert process.parent is None
    (link,) = process.links
    assert (link.context.trace_id, link.context.span_id) == (
        send.context.trace_id,
        send.context.span_id,
    )
    assert asked.parent is not None
    assert f"{asked.parent.span_id:016x}" == ids(process)[1]
    assert context(answer)["traceparent"].startswith(f"00-{ids(asked)[0]}-{ids(asked)[1]}-0")
    assert asked.attributes is not None
    assert dict(asked.attributes) == {
        "http.request.method": "GET",
        "url.path": "/mirror/linked",
        "http.response.status_code": 200,
    }
    assert process.attributes is not None
    assert process.attributes["messaging.message.id"] == "1"
    assert process.attributes["jobstore.job.attempt"] == 1


async def test_an_attempt_may_be_part_of_the_trace_of_its_submission(
    serve: Serve, http: ClientSession, spans: InMemorySpanExporter
) -> None:
    answer = await traced(serve, http, "/mirror/tree", relation="parent")
    found = by_kind(spans)
    assert {ids(span)[0] for span in found.values()} == {TRACE}
    process = found[SpanKind.CONSUMER]
    assert process.parent is not None
    assert f"{process.parent.span_id:016x}" == ids(found[SpanKind.PRODUCER])[1]
    assert not process.links
    assert trace_of(tuple(context(answer).items())) == TRACE


async def test_an_answer_that_is_an_error_marks_its_spans(
    serve: Serve, http: ClientSession, spans: InMemorySpanExporter
) -> None:
    await traced(serve, http, "/status/503?a=1", query=True)
    asked = by_kind(spans)[SpanKind.CLIENT]
    assert asked.attributes is not None
    assert (asked.attributes["error.type"], asked.attributes["url.query"]) == ("503", "a=1")
    assert not asked.status.is_ok


async def test_where_nobody_wants_spans_none_is_made(
    client: Client, spans: InMemorySpanExporter
) -> None:
    assert context(await client.fetched(await client.submit("/mirror/x", headers=CONTEXT))) == (
        CONTEXT
    )
    assert not spans.get_finished_spans()


@pytest.mark.file
def test_what_spans_need_is_named_where_it_is_not_installed(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['opentelemetry'] = None; from jobstore.cli import main; main()"
    )
    config = tmp_path / "jobstore.toml"
    config.write_text("[tracing]\nenabled = true\n")
    options = ("--config", config, "--port", "0", "--store", tmp_path / "jobs.db")
    done = subprocess.run(
        [sys.executable, "-c", without, "serve", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "jobstore: [tracing] enabled needs a package that is not installed: pip install "
        "'jobstore[otel]'\n"
    )
