"""What every dialect is made of: calls by path and method, errors in its words, ids and counts."""

import logging
from pathlib import Path

import pytest
from aiohttp import web
from multidict import MultiDict
from pytest_aiohttp import AiohttpClient

from jobstore.model.errors import (
    DeliveryRefused,
    JobNotFound,
    JobstoreError,
    OwnerLimit,
    QueryInvalid,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from jobstore.web import edge, refusals
from jobstore.web.parameters import count_of, id_of, value_of


async def told(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.method} {request.path}")


async def broken(_: web.Request) -> web.Response:
    raise DeliveryRefused(7)


async def missing(_: web.Request) -> web.Response:
    raise JobNotFound(7)


def refuse(_: web.Request, error: JobstoreError) -> web.Response:
    status, known = refusals.answerable(error)
    return edge.reply(status, "text/plain", str(known).encode(), refusals.fields(known))


@pytest.fixture
def app() -> web.Application:
    app = web.Application()
    calls: dict[str, dict[str, edge.Call]] = {
        "/jobs": {"GET": told, "POST": told},
        "/any": {"*": told},
        "/missing": {"GET": missing},
        "/broken": {"GET": broken},
    }
    edge.add_calls(app.router, calls, refuse)
    return app


async def test_a_path_is_answered_by_its_methods(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app)
    for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("REPORT", "/any")):
        assert await (await client.request(method, path)).text() == f"{method} {path}"


async def test_head_is_answered_wherever_get_is(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app)
    answer = await client.head("/jobs")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len("HEAD /jobs")))
    assert (await client.head("/missing")).status == 404


async def test_any_other_method_is_told_the_right_ones(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    client = await aiohttp_client(app)
    for method in ("PUT", "DELETE", "OPTIONS"):
        answer = await client.request(method, "/jobs")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
        assert await answer.text() == "expected one of the methods GET, POST"


async def test_an_error_is_written_by_its_dialect_with_its_own_status(
    app: web.Application, aiohttp_client: AiohttpClient
) -> None:
    answer = await (await aiohttp_client(app)).get("/missing")
    assert (answer.status, await answer.text()) == (404, "no job 7")


async def test_what_no_client_should_meet_is_logged_and_not_told(
    app: web.Application, aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await (await aiohttp_client(app)).get("/broken")
    assert (answer.status, "7" in await answer.text()) == (500, False)
    assert "the result of job 7 was deleted or expired" in caplog.text


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(OwnerLimit("too many", 30), "30"), (StoreBusy(Path("x")), "1"), (JobNotFound(1), None)],
)
def test_who_may_try_again_is_told_when(error: JobstoreError, seconds: str | None) -> None:
    assert dict(refusals.fields(error)).get("Retry-After") == seconds


def test_an_error_is_looked_up_by_the_nearest_kind() -> None:
    table: dict[type[JobstoreError], str] = {StoreUnavailable: "later", StoreError: "never"}
    assert refusals.by_kind(table, StoreBusy(Path("x"))) == "later"
    assert refusals.by_kind(table, StoreError(Path("x"), "is odd")) == "never"
    assert refusals.by_kind(table, JobNotFound(1)) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [("1", 1), ("120", 120), ("9" * 18, 10**18 - 1), ("0", None), ("01", None), ("", None)]
    + [(text, None) for text in ("-1", "+1", "1.5", " 1", "1\n", "x", "\u0661", "0x1")],
)
def test_an_id_is_a_number_as_it_was_given(text: str, found: int | None) -> None:
    assert id_of(text) == found


def test_an_id_of_any_length_is_read_and_is_that_of_nothing() -> None:
    assert (id_of("9" * 100_000) or 0) > 2**63


def test_a_count_is_a_whole_number_or_the_default() -> None:
    assert count_of(MultiDict(limit="007"), "limit", 100) == 7
    assert count_of(MultiDict(), "limit", 100) == 100
    for text in ("", "-1", "1.0", "x", "1" * 19, "\u0661"):
        with pytest.raises(QueryInvalid, match="limit: expected a whole number"):
            count_of(MultiDict(limit=text), "limit", 100)


def test_a_parameter_that_is_repeated_has_no_value() -> None:
    assert value_of(MultiDict(a="", b="x"), "a") == ""
    assert value_of(MultiDict(b="x"), "a") is None
    twice = MultiDict([("a", "1"), ("a", "1")])
    with pytest.raises(QueryInvalid, match="a: expected one value"):
        value_of(twice, "a")
    with pytest.raises(QueryInvalid, match="a: expected one value"):
        count_of(twice, "a", 1)
