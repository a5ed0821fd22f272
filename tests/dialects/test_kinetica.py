"""Kinetica's jobs over the wire: submitted, looked at, listed and cancelled, alone or next door."""

import asyncio
import json
from base64 import b64encode
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore import __version__
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.kinetica import TYPES, Kinetica, answered, refusal
from tests.stores import copy_job, execute, held_up, timeline
from trials.sockets import Connection, connected

CALLS = list(TYPES)

OWN_TAG = "Nightly_2024-05-01"
NO_TAGS = ["", " ", "a b", "a/b", "a.b", "ä", "a\n", "a\x00", "x" * 256, "tag;drop"]
NO_ENDPOINTS = [
    "",
    "alter/table",
    "http://a/b",
    "/a b",
    "/ä",
    "/a\r\nX: y",
    "/a#b",
    "/" + "x" * 9000,
]
UNKNOWN = [0, -1, 999, 2**63 - 1, 2**63, -(2**63), 10**29, -(10**29), "7" * 30, "-5"]

# A message with one of these sends a client to another cluster.
FAILOVER = [
    "Kinetica is exiting",
    "Kinetica is offline",
    "system-limited-fatal",
    "Connection refused",
    "Connection reset",
    "System shutting down",
    "Unavailable: Draining HA queue",
    "Query planner is not running",
    "Unexpected end of file from server",
]


@pytest.fixture
async def ordinary(serve: Serve, http: ClientSession) -> Kinetica:
    """Give a client of a server that has an ordinary application behind it."""
    return Kinetica(Client(http, (await serve(target=ORDINARY)).url))


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Kinetica:
    """Give a client of a server that does one piece of work at a time, each behind a gate."""
    executor = {"concurrency": 1, "cancel_grace": "1h"}
    return Kinetica(Client(http, (await serve(target=GATED, executor=executor)).url))


@pytest.fixture
async def fetchable(ordinary: Kinetica) -> tuple[Kinetica, int]:
    """Give a job that has ended and whose result goes to whoever asks first."""
    job_id = await ordinary.create("/echo", '{"a":1}', remove_job_on_complete="true")
    await ordinary.client.ended(job_id)
    return ordinary, job_id


def asking(job_id: int) -> bytes:
    body = json.dumps({"job_id": job_id})
    head = f"POST /get/job HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


# --- submit -------------------------------------------------------------------------------------


async def test_a_job_is_created_with_an_id_and_a_tag_of_its_own(ordinary: Kinetica) -> None:
    made = [
        await ordinary("/create/job", endpoint="/echo", request_encoding="json", data_str="{}")
        for _ in range(2)
    ]
    assert [list(job) for job in made] == [["job_id", "info"]] * 2
    assert made[0]["job_id"] < made[1]["job_id"]
    tags = [job["info"]["job_tag"] for job in made]
    assert len(set(tags)) == 2
    for job, tag in zip(made, tags, strict=True):
        await ordinary.ended(job["job_id"])
        assert await ordinary.get(job_tag=tag) == await ordinary.get(job["job_id"])


async def test_the_given_tag_is_the_tag(ordinary: Kinetica) -> None:
    options = {"job_tag": OWN_TAG}
    made = await ordinary("/create/job", endpoint="/echo", options=options)
    assert made["info"] == {"job_tag": OWN_TAG, "query_id": str(made["job_id"])}
    await ordinary.ended(made["job_id"])
    for job_id in (0, -7, made["job_id"], 10**29, None):
        described = await ordinary("/get/job", job_id=job_id, options=options)
        assert described["endpoint"] == "/echo"


@pytest.mark.parametrize(
    ("encoding", "sent", "content_type", "body"),
    [
        ("json", {"data_str": '{"ä":1}'}, "application/json", '{"ä":1}'.encode()),
        ("json", {}, "application/json", b""),
        ("binary", {"data": "\x01\xff\x00"}, "application/octet-stream", b"\x01\xff\x00"),
        ("binary", {"data": None, "data_str": None}, "application/octet-stream", b""),
        ("", {"data": "x"}, "application/octet-stream", b"x"),
        (None, {"data": "x"}, "application/octet-stream", b"x"),
        ("snappy", {"data": "\x05\x10hello"}, "application/octet-stream", b"hello"),
    ],
)
async def test_the_target_gets_what_the_job_says(
    ordinary: Kinetica, encoding: str | None, sent: Any, content_type: str, body: bytes
) -> None:
    path = "/mirror/alter/table?x=%20y"
    made = await ordinary("/create/job", endpoint=path, request_encoding=encoding, **sent)
    await ordinary.ended(made["job_id"])
    seen = json.loads((await ordinary.client.fetched(made["job_id"])).body)
    assert (seen["method"], seen["path"]) == ("POST", path)
    assert seen["body"].encode("latin-1") == body
    headers = dict(seen["headers"])
    assert (headers["content-type"], headers["accept"]) == (content_type, content_type)
    assert "x-kinetica-group" not in headers


@pytest.mark.parametrize("told", [None, "Basic YWxpY2U6eA=="])
async def test_the_target_is_told_who_asks_only_if_it_shall_be(
    serve: Serve, http: ClientSession, told: str | None
) -> None:
    server = await serve(target={**ORDINARY, "forward_credentials": told is not None})
    client = Client(http, server.url)
    answer = await client(
        "POST",
        "/create/job",
        json={"endpoint": "/mirror/x"},
        headers={"Authorization": "Basic YWxpY2U6eA==", "X-Kinetica-Group": "g", "Cookie": "c=1"},
    )
    job_id = answered("/create/job", answer)["job_id"]
    headers = dict(json.loads((await client.fetched(job_id)).body)["headers"])
    assert headers.get("authorization") == told
    assert not headers.keys() & {"x-kinetica-group", "cookie"}


async def test_options_that_are_not_known_are_ignored(ordinary: Kinetica) -> None:
    job_id = await ordinary.create("/echo", "1", some_day="maybe", remove_job_on_complete="false")
    assert (await ordinary.ended(job_id))["job_response_str"] == "1"
    assert (await ordinary.get(job_id))["job_response_str"] == "1"


@pytest.mark.parametrize("tag", NO_TAGS)
@pytest.mark.file
async def test_a_tag_with_other_signs_is_none(ordinary: Kinetica, tag: str) -> None:
    calls: dict[str, dict[str, Any]] = {
        "/create/job": {"endpoint": "/echo"},
        "/get/job": {"job_id": 1},
        "/admin/alter/jobs": {"job_ids": [], "action": "cancel"},
    }
    for path, members in calls.items():
        message = await ordinary.refused(path, **members, options={"job_tag": tag})
        assert message == "job_tag: expected 1 to 255 letters, digits, _ and -"
    assert await ordinary.shown(show_async_jobs="true") == []


async def test_a_tag_is_taken_as_long_as_its_job_goes_on(gated: Kinetica) -> None:
    job_id = await gated.create("/wait/first", job_tag=OWN_TAG)
    options = {"job_tag": OWN_TAG}
    message = await gated.refused("/create/job", endpoint="/wait/second", options=options)
    assert message == (
        f"a job with the tag {OWN_TAG} has not ended yet; wait for its end, or choose another tag"
    )
    assert await gated.shown(show_async_jobs="true") == [(job_id, "RUNNING")]


async def test_a_tag_may_be_used_again_each_night_and_means_the_newest_job(
    ordinary: Kinetica,
) -> None:
    for night in ("1", "2", "3"):
        job_id = await ordinary.create("/echo", night, job_tag=OWN_TAG)
        await ordinary.client.ended(job_id)
        described = await ordinary.get(job_tag=OWN_TAG)
        assert described["job_response_str"] == night
        assert await ordinary.get(job_id) == described


@pytest.mark.parametrize("gone", ["PUT", "DELETE"])
async def test_a_tag_whose_newest_job_is_gone_means_none_of_the_earlier_ones(
    ordinary: Kinetica, gone: str
) -> None:
    for night in ("1", "2"):
        job_id = await ordinary.create("/echo", night, job_tag=OWN_TAG)
        await ordinary.ended(job_id)
    await ordinary.client(gone, f"/_api/job/{job_id}")
    message = await ordinary.refused("/get/job", options={"job_tag": OWN_TAG})
    assert message == f"Job with tag {OWN_TAG} not found"


async def test_a_tag_is_free_as_soon_as_its_job_is_called_cancelled(gated: Kinetica) -> None:
    stopping = await gated.create("/linger/it", job_tag=OWN_TAG)
    await gated.client.when("it", "started")
    assert await gated.cancel(job_tag=OWN_TAG) == ["cancel requested"]
    again = await gated.create("/wait/again", job_tag=OWN_TAG)
    assert (await gated.get(job_tag=OWN_TAG))["endpoint"] == "/wait/again"
    assert await gated.shown() == [(stopping, "CANCELLED"), (again, "RUNNING")]
    message = await gated.refused("/create/job", endpoint="/x", options={"job_tag": OWN_TAG})
    assert OWN_TAG in message
    await gated.client.let("it")


async def test_a_tag_of_a_forgotten_job_is_free_though_the_work_goes_on(gated: Kinetica) -> None:
    job_id = await gated.create("/wait/it", job_tag=OWN_TAG)
    await gated.client("DELETE", f"/_api/job/{job_id}")
    assert await gated.create("/wait/again", job_tag=OWN_TAG) > job_id


async def test_names_without_accounts_have_tags_of_their_own(gated: Kinetica) -> None:
    members = {"endpoint": "/wait/it", "options": {"job_tag": OWN_TAG}}
    found = []
    for who in ("alice", "bob"):
        own = {"headers": {"Authorization": basic(who)}}
        made = await gated.client("POST", "/create/job", json=members, **own)
        job_id = answered("/create/job", made)["job_id"]
        found.append((job_id, own))
    for job_id, own in found:
        asked = {"job_ids": [], "action": "cancel", "options": {"job_tag": OWN_TAG}}
        altered = await gated.client("POST", "/admin/alter/jobs", json=asked, **own)
        assert answered("/admin/alter/jobs", altered)["job_ids"] == [job_id]
    # Whoever has no such job is shown the newest one of the others, since nothing is hidden.
    assert (await gated.get(job_tag=OWN_TAG))["endpoint"] == "/wait/it"


def basic(name: str) -> str:
    return "Basic " + b64encode(f"{name}:x".encode()).decode()


@pytest.mark.parametrize("endpoint", NO_ENDPOINTS)
@pytest.mark.file
async def test_an_endpoint_has_to_be_a_path(ordinary: Kinetica, endpoint: str) -> None:
    message = await ordinary.refused("/create/job", endpoint=endpoint)
    assert message == "endpoint: expected the path of a call, such as /alter/table"


async def test_an_endpoint_that_nobody_answers_is_refused(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=[{**ORDINARY, "prefix": "/only"}])
    kinetica = Kinetica(Client(http, server.url))
    message = await kinetica.refused("/create/job", endpoint="/alter/table")
    assert message == "no target is configured for this path"


@pytest.mark.parametrize("encoding", ["BINARY", "avro", "xml", "json "])
@pytest.mark.file
async def test_an_unknown_encoding_of_a_job_is_refused(ordinary: Kinetica, encoding: str) -> None:
    message = await ordinary.refused("/create/job", endpoint="/echo", request_encoding=encoding)
    assert "request_encoding: expected" in message


@pytest.mark.parametrize("data", ["", "hello", "\xff\xff\xff\xff\x0f", "\x80\x80\x80\x20"])
@pytest.mark.file
async def test_what_is_not_compressed_cannot_be_decompressed(ordinary: Kinetica, data: str) -> None:
    members = {"endpoint": "/echo", "request_encoding": "snappy", "data": data}
    assert "Snappy: expected" in await ordinary.refused("/create/job", **members)


@pytest.mark.parametrize("option", ["remove_job_on_complete", "show_async_jobs"])
async def test_an_option_that_is_true_or_false_is_nothing_else(
    ordinary: Kinetica, option: str
) -> None:
    path = "/create/job" if option == "remove_job_on_complete" else "/admin/show/jobs"
    for value in ("", "yes", "True", "1"):
        message = await ordinary.refused(path, endpoint="/echo", options={option: value})
        assert message == f"{option}: expected true or false"


async def test_a_full_queue_takes_no_job_but_is_no_reason_to_leave(
    serve: Serve, http: ClientSession
) -> None:
    executor = {"concurrency": 1, "queue_limit": 1}
    kinetica = Kinetica(Client(http, (await serve(target=GATED, executor=executor)).url))
    await kinetica.create("/wait/running")
    await kinetica.client.when("running", "started")
    await kinetica.create("/wait/queued")
    message = await kinetica.refused("/create/job", endpoint="/wait/refused")
    assert message == "no job can be taken in just now: the queue is full: 1 job is waiting"


async def test_a_server_that_stops_takes_no_job_but_is_no_reason_to_leave(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    server.store.refuse()
    kinetica = Kinetica(Client(http, server.url))
    message = await kinetica.refused("/create/job", endpoint="/echo")
    assert message.startswith("no job can be taken in just now: ")
    assert not any(words.lower() in message.lower() for words in FAILOVER)


async def test_a_job_too_large_for_the_store_is_refused(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY, capture={"body_limit": "1KiB"})
    kinetica = Kinetica(Client(http, server.url))
    members = {"endpoint": "/echo", "request_encoding": "json", "data_str": "x" * 1025}
    message = await kinetica.refused("/create/job", **members)
    assert message == "the request's body is larger than 1024 bytes"


@pytest.mark.file
async def test_a_full_store_takes_no_job_but_is_no_reason_to_leave(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, store={"max_size": "1MiB"})
    kinetica = Kinetica(Client(http, server.url))
    members = {"endpoint": "/echo", "request_encoding": "json", "data_str": "x" * 1_000_000}
    message = await kinetica.refused("/create/job", **members)
    assert message == "nothing can be written just now: the store is as large as it may get"


# --- look ---------------------------------------------------------------------------------------


async def test_the_description_has_the_documented_members_in_their_order(
    ordinary: Kinetica,
) -> None:
    job_id = await ordinary.create("/echo", '{"a":1}')
    await ordinary.ended(job_id)
    described = await ordinary.get(job_id)
    assert list(described.items()) == [
        ("endpoint", "/echo"),
        ("job_status", "DONE"),
        ("running", False),
        ("progress", 100),
        ("successful", True),
        ("response_encoding", "json"),
        ("job_response", ""),
        ("job_response_str", '{"a":1}'),
        ("status_map", {}),
        ("info", {}),
    ]


async def test_to_look_takes_nothing_away(ordinary: Kinetica) -> None:
    job_id = await ordinary.create("/echo", "1")
    first = await ordinary.ended(job_id)
    assert [await ordinary.get(job_id) for _ in range(3)] == [first] * 3
    assert await ordinary.get(str(job_id)) == first


async def test_a_job_is_running_until_it_has_ended_also_while_it_waits(gated: Kinetica) -> None:
    first, second = [await gated.create(f"/wait/{name}") for name in ("first", "second")]
    await gated.client.when("first", "started")
    described = [await gated.get(job_id) for job_id in (first, second)]
    assert [job["job_status"] for job in described] == ["RUNNING", "RUNNING"]
    assert [job["running"] for job in described] == [True, True]
    assert [job["successful"] for job in described] == [False, False]
    assert [job["progress"] for job in described] == [0, 0]
    assert [job["job_response_str"] for job in described] == ["", ""]
    for name in ("first", "second"):
        await gated.client.let(name)
    for job_id, name in ((first, "first"), (second, "second")):
        ended = await gated.ended(job_id)
        assert (ended["running"], ended["successful"], ended["progress"]) == (False, True, 100)
        assert ended["job_response_str"] == f"{name} is done"


async def test_progress_is_what_was_reported_in_whole_percent(gated: Kinetica) -> None:
    job_id = await gated.create("/wait/it")
    await gated.client.when("it", "started")
    for progress, shown in ((0.9, 0), (41.7, 41), (100, 100)):
        report = {"json": {"progress": progress}, "headers": {"Jobstore-Attempt": "1"}}
        assert (await gated.client("POST", f"/_jobs/{job_id}/report", **report)).status == 200
        described = await gated.get(job_id)
        assert (described["progress"], described["job_status"]) == (shown, "RUNNING")


async def test_an_answer_in_bytes_is_given_as_bytes(ordinary: Kinetica) -> None:
    every_byte = bytes(range(256))
    described = await ordinary.ended(await ordinary.create_binary("/echo", every_byte))
    assert (described["response_encoding"], described["job_response_str"]) == ("binary", "")
    assert described["job_response"].encode("latin-1") == every_byte


async def test_an_answer_to_json_that_is_no_text_is_given_as_bytes(ordinary: Kinetica) -> None:
    job_id = await ordinary.create("/echo", '{"a":1}')
    await ordinary.ended(job_id)
    assert (await ordinary.get(job_id))["response_encoding"] == "json"
    job_id = await ordinary.client.done(
        "/echo", "POST", data=b"\xff", headers={"Content-Type": "x"}
    )
    described = await ordinary.get(job_id)
    assert (described["response_encoding"], described["job_response"]) == ("binary", "\xff")


async def test_a_large_answer_comes_whole(ordinary: Kinetica) -> None:
    job_id = await ordinary.create("/stream?sized&chunks=64")
    described = await ordinary.ended(job_id)
    assert described["job_response_str"] == "0123456789abcdef" * 4096 * 64


@pytest.mark.parametrize("once", ["true", "false"])
async def test_an_answer_too_large_for_one_piece_is_left_to_those_who_stream(
    ordinary: Kinetica, once: str
) -> None:
    job_id = await ordinary.create("/stream?sized&chunks=1025", remove_job_on_complete=once)
    await ordinary.client.ended(job_id)
    message = await ordinary.refused("/get/job", job_id=job_id)
    assert "67174400 bytes" in message
    assert f"PUT /_api/job/{job_id}" in message
    assert len((await ordinary.client("PUT", f"/_api/job/{job_id}")).body) == 67174400


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("/refuse", "409 Conflict: no"),
        ("/no/such/path", "404 Not Found: 404: Not Found"),
        ("/status/500", "500 Internal Server Error"),
        ("/status/418?reason=Teapot", "418 Teapot"),
        ("/status/599", "599"),
    ],
)
async def test_an_answer_that_is_an_error_is_told(
    ordinary: Kinetica, endpoint: str, message: str
) -> None:
    described = await ordinary.ended(await ordinary.create(endpoint))
    assert (described["job_status"], described["successful"]) == ("ERROR", False)
    assert described["status_map"] == {"error_message": message}
    assert (described["job_response"], described["job_response_str"]) == ("", "")


async def test_a_redirection_is_no_error(ordinary: Kinetica) -> None:
    described = await ordinary.ended(await ordinary.create("/redirect"))
    assert (described["job_status"], described["status_map"]) == ("DONE", {})


async def test_a_target_that_does_not_answer_is_an_error(serve: Serve, http: ClientSession) -> None:
    server = await serve(target={"upstream": "http://127.0.0.1:1", "hold": "0"})
    kinetica = Kinetica(Client(http, server.url))
    job_id = await kinetica.create("/alter/table", "{}")
    described = await kinetica.ended(job_id)
    assert described["job_status"] == "ERROR"
    detail = (await server.store.results.peek(job_id)).detail
    assert described["status_map"] == {"error_message": detail}
    assert detail
    assert await kinetica.shown(show_async_jobs="true") == [(job_id, "ERROR")]


@pytest.mark.parametrize("job_id", UNKNOWN)
async def test_an_id_that_no_job_has_is_not_found(ordinary: Kinetica, job_id: int | str) -> None:
    await ordinary.create("/echo")
    message = await ordinary.refused("/get/job", job_id=job_id, options={})
    assert message == f"Job {job_id} not found"


async def test_a_tag_that_no_job_has_is_not_found(ordinary: Kinetica) -> None:
    await ordinary.create("/echo", job_tag="one")
    message = await ordinary.refused("/get/job", job_id=1, options={"job_tag": "another"})
    assert message == "Job with tag another not found"


@pytest.mark.parametrize("job_id", [1.5, "x", "", "1e3", "0x1", [], {}, True, "٣", " 1", 1e3])
@pytest.mark.file
async def test_what_is_no_number_is_no_id(ordinary: Kinetica, job_id: object) -> None:
    assert await ordinary.refused("/get/job", job_id=job_id) == "job_id: expected a whole number"


# --- answers that are Kinetica's own ------------------------------------------------------------


def wrapper(**members: str) -> str:
    """Write a wrapper in JSON."""
    whole = {"status": "OK", "message": "", "data_type": "x_response", "data": "", "data_str": ""}
    return json.dumps({**whole, **members})


async def test_the_record_is_taken_out_of_its_wrapper(ordinary: Kinetica) -> None:
    job_id = await ordinary.create("/echo", wrapper(data_str='{"count":7}'))
    described = await ordinary.ended(job_id)
    assert (described["job_status"], described["job_response_str"]) == ("DONE", '{"count":7}')


async def test_an_error_in_a_wrapper_is_the_jobs_error(ordinary: Kinetica) -> None:
    failed = wrapper(status="ERROR", message="Table not found", data_type="none")
    described = await ordinary.ended(await ordinary.create("/echo", failed))
    assert (described["job_status"], described["successful"]) == ("ERROR", False)
    assert described["status_map"] == {"error_message": "Table not found"}
    assert described["job_response_str"] == ""


async def test_an_error_without_a_message_has_one_all_the_same(ordinary: Kinetica) -> None:
    failed = wrapper(status="ERROR")
    described = await ordinary.ended(await ordinary.create("/echo", failed))
    assert described["status_map"]["error_message"].startswith('200 OK: {"status": "ERROR"')


@pytest.mark.parametrize(
    "answer",
    [
        wrapper(status="ok"),
        wrapper(more="members"),
        '{"status":"OK","message":"","data_type":"x","data":""}',
        '{"status":"OK","message":1,"data_type":"x","data":"","data_str":""}',
        '{"status":"OK","message":"","data_type":"x","data":"\\u0100","data_str":""}',
        '{"status":"OK","message":"\\ud800","data_type":"x","data":"","data_str":""}',
        wrapper()[:-1],
        '{"a":[' + wrapper() + "]}",
        "[" * 100_000,
        "\x04OK",
        "\x0aERROR",
    ],
)
@pytest.mark.file
async def test_what_only_looks_like_a_wrapper_is_a_record(ordinary: Kinetica, answer: str) -> None:
    described = await ordinary.ended(await ordinary.create("/echo", answer))
    assert (described["job_status"], described["job_response_str"]) == ("DONE", answer)


async def test_a_record_in_avro_is_taken_out_of_its_wrapper(ordinary: Kinetica) -> None:
    ok = bytes.fromhex("044f4b000478780601ff0000")
    described = await ordinary.ended(await ordinary.create_binary("/echo", ok))
    assert (described["job_status"], described["job_response"]) == ("DONE", "\x01\xff\x00")


async def test_an_error_in_a_wrapper_in_avro_is_the_jobs_error(ordinary: Kinetica) -> None:
    error = bytes.fromhex("0a4552524f521e4a6f622037206e6f7420666f756e64086e6f6e650000")
    described = await ordinary.ended(await ordinary.create_binary("/echo", error))
    assert described["job_status"] == "ERROR"
    assert described["status_map"] == {"error_message": "Job 7 not found"}
    described = await ordinary.ended(await ordinary.create_binary("/echo", error + b"\x00"))
    assert described["job_status"] == "DONE"


async def test_a_job_may_make_a_call_of_this_api(ordinary: Kinetica) -> None:
    done = await ordinary.ended(await ordinary.create("/show/system/status", "{}"))
    status = json.loads(done["job_response_str"])
    assert json.loads(status["status_map"]["system"])["status"] == "running"
    failed = await ordinary.ended(await ordinary.create("/get/job", '{"job_id":999}'))
    assert failed["status_map"] == {"error_message": "Job 999 not found"}


# --- take ---------------------------------------------------------------------------------------


async def test_a_job_that_shall_go_once_it_is_complete_is_answered_once(gated: Kinetica) -> None:
    job_id = await gated.create("/wait/it", job_tag="it", remove_job_on_complete="true")
    await gated.client.when("it", "started")
    for _ in range(2):
        assert (await gated.get(job_tag="it"))["job_status"] == "RUNNING"
    await gated.client.let("it")
    assert (await gated.ended(job_id))["job_response_str"] == "it is done"
    assert await gated.refused("/get/job", job_id=job_id) == f"Job {job_id} not found"
    tagged = await gated.refused("/get/job", options={"job_tag": "it"})
    assert tagged == "Job with tag it not found"
    assert await gated.shown(show_async_jobs="true") == []
    assert (await gated.client("GET", f"/_api/job/{job_id}")).status == 404


async def test_a_cancelled_job_that_shall_go_is_answered_once_as_well(gated: Kinetica) -> None:
    await gated.create("/wait/first")
    job_id = await gated.create("/wait/second", remove_job_on_complete="true")
    await gated.cancel(job_id)
    assert (await gated.get(job_id))["job_status"] == "CANCELLED"
    assert await gated.refused("/get/job", job_id=job_id) == f"Job {job_id} not found"


async def test_of_many_who_ask_for_a_job_that_shall_go_one_is_answered(
    fetchable: tuple[Kinetica, int],
) -> None:
    kinetica, job_id = fetchable
    question = {"json": {"job_id": job_id}}
    answers = await asyncio.gather(
        *(kinetica.client("POST", "/get/job", **question) for _ in range(20))
    )
    told = [answered("/get/job", answer) for answer in answers if answer.status == 200]
    done = [each for each in told if each["job_status"] == "DONE"]
    assert [each["job_response_str"] for each in done] == ['{"a":1}']
    # While it is being delivered to one reader, the others are told to ask again.
    assert all(each["running"] for each in told if each not in done)
    refused = {refusal(answer) for answer in answers if answer.status != 200}
    assert refused <= {f"Job {job_id} not found"}


async def test_a_reader_who_leaves_before_the_job_was_taken_leaves_it_to_the_next(
    fetchable: tuple[Kinetica, int], store_path: Path
) -> None:
    kinetica, job_id = fetchable
    async with held_up(store_path), connected(kinetica.client.url) as reader:
        await reader.send(asking(job_id))
        await kinetica.client("GET", f"/_api/job/{job_id}")
        await reader.leave()
    while (described := await kinetica.get(job_id))["running"]:
        pass
    assert described["job_response_str"] == '{"a":1}'
    assert await kinetica.refused("/get/job", job_id=job_id) == f"Job {job_id} not found"


async def _answer_begun(reader: Connection, job_id: int) -> None:
    await reader.send(asking(job_id))
    assert (await reader.head())[0] == "HTTP/1.1 200 OK"


async def test_an_answer_that_breaks_off_leaves_the_job_to_the_next(
    ordinary: Kinetica, store_path: Path
) -> None:
    job_id = await ordinary.create("/stream?sized&chunks=120", remove_job_on_complete="true")
    await ordinary.client.ended(job_id)
    async with connected(ordinary.client.url) as reader:
        await _answer_begun(reader, job_id)
        assert (await ordinary.get(job_id))["job_status"] == "RUNNING", "it may come back"
        reader.vanish()
    while "delivery broken" not in timeline(store_path, job_id):
        await ordinary.client("GET", "/greet/you")
    described = await ordinary.get(job_id)
    assert len(described["job_response_str"]) == 120 << 16
    assert await ordinary.refused("/get/job", job_id=job_id) == f"Job {job_id} not found"


# --- list ---------------------------------------------------------------------------------------


async def test_jobs_that_have_not_ended_are_listed_and_on_demand_the_others_too(
    gated: Kinetica,
) -> None:
    assert await gated.shown() == []
    await gated.client.let("done")
    done = await gated.create("/wait/done")
    await gated.ended(done)
    failed = await gated.create("/no/such/path")
    await gated.ended(failed)
    running = await gated.create("/wait/running")
    queued = await gated.create("/wait/queued")
    cancelled = await gated.create("/wait/cancelled")
    await gated.cancel(cancelled)
    pending = [(running, "RUNNING"), (queued, "RUNNING")]
    assert await gated.shown() == pending
    assert await gated.shown(show_async_jobs="false", show_worker_info="true") == pending
    everything = [(done, "DONE"), (failed, "ERROR"), *pending, (cancelled, "CANCELLED")]
    assert await gated.shown(show_async_jobs="true") == everything


async def test_the_list_has_the_documented_members_in_their_order(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED)
    client = Client(http, server.url)
    alice = {"headers": {"Authorization": basic("alice")}}
    for name in ("one", "two"):
        options = {"job_tag": name, "remove_job_on_complete": str(name == "two").lower()}
        members = {"endpoint": f"/wait/{name}?x", "options": options}
        await client("POST", "/create/job", json=members, **alice)
    jobs = await server.store.history.awaited(10)
    assert list((await Kinetica(client)("/admin/show/jobs")).items()) == [
        ("job_id", [job.id for job in jobs]),
        ("status", ["RUNNING", "RUNNING"]),
        ("endpoint_name", ["/wait/one?x", "/wait/two?x"]),
        ("time_received", [job.submitted_at // 1000 for job in jobs]),
        ("auth_id", ["alice", "alice"]),
        ("source_ip", ["127.0.0.1", "127.0.0.1"]),
        ("query_text", ["", ""]),
        ("user_data", ["", ""]),
        ("flags", ["", "remove_job_on_complete"]),
        ("info", {"job_tag": "one,two"}),
    ]


async def test_the_list_says_where_jobs_of_every_dialect_came_from(gated: Kinetica) -> None:
    await gated.client.submit("/wait/arango")
    await gated.client("POST", "/_jobs", json={"method": "GET", "target": "/wait/native"})
    await gated.client("GET", "/wait/preferred", headers={"Prefer": "respond-async"})
    assert (await gated("/admin/show/jobs"))["source_ip"] == ["127.0.0.1"] * 3


async def test_only_what_looks_like_a_tag_here_is_listed_as_one(gated: Kinetica) -> None:
    for tag in ("a,b", "c", None):
        await gated.client("POST", "/_jobs", json={"target": "/wait/it", "tag": tag})
    assert (await gated("/admin/show/jobs"))["info"] == {"job_tag": ",c,"}


async def test_the_list_says_which_queries_run(gated: Kinetica) -> None:
    statement = "SELECT 'ä'"
    await gated.create("/execute/sql", json.dumps({"statement": statement, "offset": 0}))
    await gated.create_binary("/execute/sql", b"\x16" + statement.encode() + b"\x00")
    for text in ("", "[]", '{"statement": 1}', '{"statement": "\\ud800"}', '{"statement": "'):
        await gated.create("/execute/sql", text)
    await gated.create("/execute/sql", json.dumps({"statement": "x" * 1001}))
    await gated.create("/execute/sql", json.dumps({"statement": "x" * 16_384}))
    await gated.create("/wait/it", json.dumps({"statement": statement}))
    shown = await gated("/admin/show/jobs", options={"show_async_jobs": "true"})
    assert shown["query_text"] == [
        statement,
        statement,
        *[""] * 5,
        "x" * 1000,
        "",
        "",
    ]


async def test_behind_a_trusted_proxy_the_address_is_that_of_the_client(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, server={"trusted_proxies": ["127.0.0.1"]})
    client = Client(http, server.url)
    came = {"X-Forwarded-For": "203.0.113.7"}
    await client.done("/echo", headers=came)
    await client("POST", "/_jobs", json={"target": "/echo"}, headers=came)
    await client.done("/echo")
    shown = await Kinetica(client)("/admin/show/jobs", options={"show_async_jobs": "true"})
    assert shown["source_ip"] == ["203.0.113.7", "203.0.113.7", "127.0.0.1"]


async def test_there_are_no_worker_ranks_to_inform_about(gated: Kinetica) -> None:
    shown = await gated("/admin/show/jobs", options={"show_worker_info": "true"})
    assert shown["info"] == {"worker_info": "[]"}
    refused = await gated.refused("/admin/show/jobs", options={"show_worker_info": "yes"})
    assert refused == "show_worker_info: expected true or false"


async def test_of_too_many_jobs_the_newest_are_listed(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1})
    kinetica = Kinetica(Client(http, server.url))
    first = await kinetica.create("/wait/first")
    second = await kinetica.create("/wait/second")
    copy_job(store_path, second, 9999)
    shown = await kinetica("/admin/show/jobs")
    assert shown["info"].keys() == {"has_more", "job_tag"}
    assert (len(shown["job_id"]), shown["job_id"][0]) == (10_000, second)
    assert first not in shown["job_id"]


# --- cancel -------------------------------------------------------------------------------------


async def test_jobs_are_cancelled_by_id_and_by_tag(gated: Kinetica) -> None:
    await gated.client.let("done")
    done = await gated.create("/wait/done")
    await gated.ended(done)
    running = await gated.create("/wait/running")
    await gated.client.when("running", "started")
    queued = await gated.create("/wait/queued")
    tagged = await gated.create("/wait/tagged", job_tag=OWN_TAG)
    altered = await gated(
        "/admin/alter/jobs",
        job_ids=[running, str(queued), done, 999, 10**29],
        action="cancel",
        options={"job_tag": OWN_TAG},
    )
    assert list(altered.items()) == [
        ("job_ids", [running, queued, done, 999, 10**29, tagged]),
        ("action", "cancel"),
        (
            "status",
            [
                "cancel requested",
                "cancel requested",
                "already ended",
                "not found",
                "not found",
                "cancel requested",
            ],
        ),
        ("info", {}),
    ]
    for job_id in (running, queued, tagged):
        described = await gated.ended(job_id)
        assert (described["job_status"], described["running"]) == ("CANCELLED", False)
        assert (described["successful"], described["status_map"]) == (False, {})
        assert (described["job_response"], described["job_response_str"]) == ("", "")
    assert (await gated.get(done))["job_status"] == "DONE"


async def test_a_job_is_called_cancelled_from_when_that_was_asked_for(gated: Kinetica) -> None:
    job_id = await gated.create("/linger/it")
    await gated.client.when("it", "started")
    assert await gated.cancel(job_id) == ["cancel requested"]
    await gated.client.when("it", "cancelled")
    described = await gated.get(job_id)
    assert (described["job_status"], described["running"]) == ("CANCELLED", False)
    assert await gated.cancel(job_id) == ["cancel requested"]
    await gated.client.let("it")
    await gated.client.ended(job_id)
    assert (await gated.get(job_id))["job_status"] == "CANCELLED"
    assert await gated.cancel(job_id) == ["already ended"]


async def test_a_cancellation_that_is_asked_for_elsewhere_is_seen_at_once(gated: Kinetica) -> None:
    job_id = await gated.create("/linger/it")
    await gated.client.when("it", "started")
    await gated.client("PUT", f"/_api/job/{job_id}/cancel")
    assert await gated.shown() == [(job_id, "CANCELLED")]
    await gated.client.let("it")


async def test_a_job_that_is_named_twice_is_cancelled_once(gated: Kinetica) -> None:
    await gated.create("/wait/first")
    job_id = await gated.create("/wait/second", job_tag="second")
    assert await gated.cancel(job_id, job_tag="second") == ["cancel requested"]


async def test_to_cancel_nothing_is_fine(gated: Kinetica) -> None:
    assert await gated.cancel() == []


async def test_an_unknown_tag_cancels_nothing(gated: Kinetica) -> None:
    job_id = await gated.create("/wait/it")
    members = {"job_ids": [job_id], "action": "cancel", "options": {"job_tag": "no-such-tag"}}
    message = await gated.refused("/admin/alter/jobs", **members)
    assert message == "Job with tag no-such-tag not found"
    assert await gated.shown() == [(job_id, "RUNNING")]


@pytest.mark.file
async def test_only_so_many_jobs_can_be_cancelled_at_once(gated: Kinetica) -> None:
    ids = list(range(1, 10_001))
    assert set(await gated.cancel(*ids)) == {"not found"}
    members = {"job_ids": [*ids, 10_001], "action": "cancel"}
    assert await gated.refused("/admin/alter/jobs", **members) == "job_ids: expected at most 10000"


@pytest.mark.parametrize("action", ["", None, "CANCEL", "delete", "cancel "])
@pytest.mark.file
async def test_there_is_only_one_action(gated: Kinetica, action: str | None) -> None:
    job_id = await gated.create("/wait/it")
    members = {"job_ids": [job_id], "action": action}
    assert await gated.refused("/admin/alter/jobs", **members) == "action: expected cancel"
    assert await gated.shown() == [(job_id, "RUNNING")]


@pytest.mark.parametrize("ids", [1, "1", [1, None], [[1]], [1.5], {"1": 1}])
@pytest.mark.file
async def test_what_are_no_ids_cannot_be_cancelled(gated: Kinetica, ids: object) -> None:
    message = await gated.refused("/admin/alter/jobs", job_ids=ids, action="cancel")
    assert message == "job_ids: expected an array of whole numbers"


# --- the system ---------------------------------------------------------------------------------


async def test_the_system_runs(ordinary: Kinetica) -> None:
    status = await ordinary("/show/system/status", options={})
    assert list(status) == ["status_map", "info"]
    assert json.loads(status["status_map"]["system"]) == {"status": "running"}
    assert status["status_map"]["version"] == __version__


async def test_the_system_is_as_new_as_its_clients(ordinary: Kinetica) -> None:
    properties = await ordinary("/show/system/properties", options={})
    assert list(properties) == ["property_map", "info"]
    assert properties["property_map"]["version.gpudb_core_version"] == "7.2.3.0.20240927185110"


async def test_the_version_has_the_five_parts_that_the_java_client_reads(
    ordinary: Kinetica,
) -> None:
    properties = await ordinary("/show/system/properties", options={})
    *numbers, built = properties["property_map"]["version.gpudb_core_version"].split(".")
    assert [number.isdecimal() for number in numbers] == [True] * 4
    assert datetime.strptime(f"{built}+0000", "%Y%m%d%H%M%S%z").year == 2024


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.file
async def test_a_slash_behind_a_call_makes_no_difference(ordinary: Kinetica, path: str) -> None:
    members = {"endpoint": "/echo", "job_id": 1, "job_ids": [], "action": "cancel"}
    await ordinary("/create/job", endpoint="/echo")
    answer = await ordinary.client("POST", f"{path}/", json=members)
    assert list(answered(path, answer)) == list(await ordinary(path, **members))


@pytest.mark.parametrize(
    ("call", "members"),
    [
        ("/get/job", {"job_id": 1}),
        ("/get/job", {"job_id": "1"}),
        ("/get/job", {"options": {"job_tag": OWN_TAG}}),
        ("/get/job", {"job_id": 7}),
        ("/get/job", {"job_id": {}}),
        ("/create/job", {"endpoint": "/nobody"}),
        ("/create/job", {"endpoint": "nowhere"}),
        ("/create/job", {"endpoint": "/echo", "request_encoding": "xml"}),
        ("/create/job", {"endpoint": "/echo", "options": {"job_tag": OWN_TAG}}),
        ("/create/job", {"endpoint": "/echo", "data_str": 7}),
    ],
)
@pytest.mark.file
async def test_a_small_call_is_answered_at_once_as_it_is_the_long_way(
    serve: Serve, http: ClientSession, call: str, members: Any
) -> None:
    targets = [{**GATED, "prefix": "/wait"}, {**ORDINARY, "prefix": "/echo"}]
    client = Client(http, (await serve(target=targets)).url)
    kinetica = Kinetica(client)
    await kinetica.ended(await kinetica.create("/echo", '{"ä":1}'))
    await kinetica.create("/wait/long", job_tag=OWN_TAG)
    at_once, the_long_way = [
        await client("POST", path, json=members) for path in (call, f"{call}/")
    ]
    assert at_once.body == the_long_way.body
    assert at_once.status == the_long_way.status
    heads = [
        [field for field in answer.headers.items() if field[0] != "Date"]
        for answer in (at_once, the_long_way)
    ]
    assert heads[0] == heads[1]


# Halves of characters, which JSON can write and nobody can encode.
JSON = {"Content-Type": "application/json"}
HALVES = [
    r'{"\ud800": 1}',
    r'{"options": {"\ud800": "x"}}',
    r'{"options": {"job_tag": "\ud800"}}',
    r'{"options": {"x": "\udfff"}}',
    r'{"endpoint": "/\ud800", "data_str": "\ud800", "request_encoding": "\ud800"}',
    r'{"action": "\ud800", "job_ids": ["\ud800"]}',
    r'{"job_id": "\ud800"}',
    r'"\ud800"',
]


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("body", HALVES)
@pytest.mark.file
async def test_halves_of_characters_are_refused_or_ignored(
    ordinary: Kinetica, path: str, body: str
) -> None:
    answer = await ordinary.client("POST", path, data=body.encode(), headers=JSON)
    wrapper = json.loads(answer.body)
    assert (answer.status, wrapper["status"]) in {(200, "OK"), (400, "ERROR")}
    assert wrapper["message"] != "internal error"


# --- what nobody answers ------------------------------------------------------------------------

CLIENTS = [
    ({"Content-Type": "application/octet-stream", "Accept": "application/octet-stream"}, True),
    ({"Content-Type": "application/x-snappy", "Accept": "application/x-snappy"}, True),
    ({"Content-Type": "application/json", "User-Agent": "a/1 kinetica-api-python/7.2.3"}, True),
    ({"Content-Type": "application/json", "Accept": "application/json"}, False),
    ({"Content-Type": "application/octet-stream", "Accept": "*/*"}, False),
    ({}, False),
]


@pytest.mark.parametrize("target", [{"prefix": "/elsewhere", **ORDINARY}, None])
@pytest.mark.parametrize(("headers", "client"), CLIENTS)
@pytest.mark.file
async def test_a_client_that_asks_for_what_nobody_answers_is_told_so_in_its_words(
    serve: Serve, http: ClientSession, target: Any, headers: dict[str, str], *, client: bool
) -> None:
    server = await (serve(target=target) if target else serve())
    asking = Client(http, server.url)
    answer = await asking("POST", "/show/table/x", headers=headers, data=b"")
    assert answer.status == (400 if client else 404)
    assert (b"unknown endpoint /show/table/x" in answer.body) is client
    assert (await asking("GET", "/show/table/x", headers=headers)).status == 404


async def test_a_targets_own_answer_is_nobody_elses(ordinary: Kinetica) -> None:
    headers, _ = CLIENTS[0]
    answer = await ordinary.client("POST", "/no/such/path", headers=headers, data=b"")
    assert answer.status == 404


async def test_where_the_dialect_is_off_its_clients_are_strangers(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(server={"dialects": []}, target={"prefix": "/elsewhere", **ORDINARY})
    headers, _ = CLIENTS[0]
    answer = await Client(http, server.url)("POST", "/show/table", headers=headers, data=b"")
    assert answer.status == 404


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.file
async def test_a_call_with_another_method_is_the_targets(ordinary: Kinetica, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await ordinary.client(method, path)).body == b"404: Not Found"


async def test_what_goes_wrong_inside_is_no_reason_to_leave_either(
    ordinary: Kinetica, store_path: Path
) -> None:
    job_id = await ordinary.create("/echo")
    await ordinary.ended(job_id)
    execute(store_path, "UPDATE request SET headers = 'no JSON'")
    assert await ordinary.refused("/get/job", job_id=job_id) == "internal error"


async def test_without_the_dialect_its_paths_are_the_targets(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, server={"port": 0, "dialects": []})
    client = Client(http, server.url)
    for path in CALLS:
        assert (await client("POST", path, json={})).body == b"404: Not Found"


# --- one job, two vocabularies ------------------------------------------------------------------


async def test_a_job_from_here_is_one_there(gated: Kinetica) -> None:
    first, second = [await gated.create(f"/wait/{name}") for name in ("first", "second")]
    await gated.client.when("first", "started")
    for job_id in (first, second):
        assert (await gated.client("GET", f"/_api/job/{job_id}")).status == 204
    pending = await gated.client("GET", "/_api/job/pending")
    assert json.loads(pending.body) == [str(first), str(second)]
    await gated.client("PUT", f"/_api/job/{second}/cancel")
    assert (await gated.get(second))["job_status"] == "CANCELLED"
    assert (await gated.client("PUT", f"/_api/job/{second}")).status == 410
    await gated.client.let("first")
    await gated.ended(first)
    done = await gated.client("GET", "/_api/job/done")
    assert json.loads(done.body) == [str(first)]


async def test_what_is_fetched_there_is_the_targets_own_answer_and_then_gone_here(
    ordinary: Kinetica,
) -> None:
    said = wrapper(data_str="{}")
    job_id = await ordinary.create("/echo", said)
    assert (await ordinary.ended(job_id))["job_response_str"] == "{}"
    answer = await ordinary.client("PUT", f"/_api/job/{job_id}")
    assert (answer.status, answer.body) == (200, said.encode())
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-arango-async-id"] == str(job_id)
    assert await ordinary.refused("/get/job", job_id=job_id) == f"Job {job_id} not found"
    assert (await ordinary.client("PUT", f"/_api/job/{job_id}")).status == 404
    assert await ordinary.cancel(job_id) == ["not found"]
    assert await ordinary.shown(show_async_jobs="true") == []


@pytest.mark.parametrize("path", ["{job_id}", "all", "expired?stamp=99999999999"])
async def test_what_is_deleted_there_is_gone_here(ordinary: Kinetica, path: str) -> None:
    job_id = await ordinary.create("/echo")
    await ordinary.ended(job_id)
    await ordinary.client("DELETE", f"/_api/job/{path.format(job_id=job_id)}")
    assert await ordinary.refused("/get/job", job_id=job_id) == f"Job {job_id} not found"


async def test_a_job_from_there_is_one_here(gated: Kinetica) -> None:
    job_id = await gated.client.submit("/wait/it")
    await gated.client.when("it", "started")
    described = await gated.get(job_id)
    assert (described["endpoint"], described["job_status"]) == ("/wait/it", "RUNNING")
    assert described["running"] is True
    assert described["response_encoding"] == "json"
    assert await gated.shown() == [(job_id, "RUNNING")]
    await gated.client.let("it")
    assert (await gated.ended(job_id))["job_response_str"] == "it is done"
    assert await gated.shown(show_async_jobs="true") == [(job_id, "DONE")]
    assert (await gated.client("PUT", f"/_api/job/{job_id}")).body == b"it is done"


async def test_a_job_from_there_can_be_cancelled_here(gated: Kinetica) -> None:
    job_id = await gated.client.submit("/wait/it")
    assert await gated.cancel(job_id) == ["cancel requested"]
    assert (await gated.ended(job_id))["job_status"] == "CANCELLED"
    assert (await gated.client("PUT", f"/_api/job/{job_id}")).status == 410


async def test_an_answer_to_bytes_from_there_is_bytes_here(ordinary: Kinetica) -> None:
    sent = {"data": b"abc", "headers": {"Content-Type": "Application/Octet-Stream; x=y"}}
    described = await ordinary.get(await ordinary.client.done("/echo", "POST", **sent))
    assert (described["response_encoding"], described["job_response"]) == ("binary", "abc")


async def test_a_failure_is_a_result_there_and_an_error_here(ordinary: Kinetica) -> None:
    job_id = await ordinary.client.done("/refuse")
    assert (await ordinary.get(job_id))["status_map"] == {"error_message": "409 Conflict: no"}
    assert (await ordinary.client("GET", f"/_api/job/{job_id}")).status == 200
    assert (await ordinary.client("PUT", f"/_api/job/{job_id}")).status == 409
