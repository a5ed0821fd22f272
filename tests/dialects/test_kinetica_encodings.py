"""How Kinetica's records come and go: JSON, Avro, Snappy, and whatever only claims to be that."""

import json
import tracemalloc
from collections.abc import AsyncIterator
from io import BytesIO

import cramjam
import pytest
from aiohttp import ClientSession

from jobstore.dialects.kinetica import encodings, records
from jobstore.dialects.kinetica.encodings import Encoding
from jobstore.dialects.kinetica.records import Form, Record, RequestInvalid
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.kinetica import Kinetica, answered, refusal
from trials.clients import Answer
from trials.sockets import connected

pytestmark = pytest.mark.file  # how bodies are written is no affair of the engine

MEBIBYTE = 1 << 20

JSON = "application/json"
AVRO = "application/octet-stream"
SNAPPY = "application/x-snappy"

# Written by the encoder of gpudb 7.2.3.13.
CREATE_JOB = bytes.fromhex("182f616c7465722f7461626c65086a736f6e00047b7d020e6a6f625f74616704743100")
GET_JOB = bytes.fromhex("d80400")
ALTER_JOBS = bytes.fromhex("04d804da04000c63616e63656c00")
JOB_CREATED = bytes.fromhex("d804020e6a6f625f74616704743100")
JOB_CREATED_WRAPPED = bytes.fromhex(
    "044f4b00266372656174655f6a6f625f726573706f6e73651ed804020e6a6f625f7461670474310000"
)
JOB_RUNNING = bytes.fromhex("182f616c7465722f7461626c650e52554e4e494e47016400086a736f6e00000000")
NOT_FOUND = bytes.fromhex("0a4552524f521e4a6f622037206e6f7420666f756e64086e6f6e650000")

CREATED: Record = {"job_id": 300, "info": {"job_tag": "t1"}}
RUNNING: Record = {
    "endpoint": "/alter/table",
    "job_status": "RUNNING",
    "running": True,
    "progress": 50,
    "successful": False,
    "response_encoding": "json",
    "job_response": b"",
    "job_response_str": "",
    "status_map": {},
    "info": {},
}
REQUESTS = [
    (
        records.CREATE_JOB,
        CREATE_JOB,
        {
            "endpoint": "/alter/table",
            "request_encoding": "json",
            "data": b"",
            "data_str": "{}",
            "options": {"job_tag": "t1"},
        },
    ),
    (records.GET_JOB, GET_JOB, {"job_id": 300, "options": {}}),
    (records.ALTER_JOBS, ALTER_JOBS, {"job_ids": [300, 301], "action": "cancel", "options": {}}),
    (records.SHOW_JOBS, b"\x00", {"options": {}}),
]
PATHS = {
    "create_job_request": "/create/job",
    "get_job_request": "/get/job",
    "admin_alter_jobs_request": "/admin/alter/jobs",
    "admin_show_jobs_request": "/admin/show/jobs",
}


def long(number: int) -> bytes:
    """Write a number as Avro does."""
    left, written = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*written, left])


def snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


# Each claims to be long, or would be read for long.
HOSTILE: list[tuple[Form, bytes]] = [
    *((records.CREATE_JOB, long(size) + b"ab") for size in (2**30, 2**40, 2**62, -1, -(2**62))),
    *((records.CREATE_JOB, bytes(2) + long(size) + b"ab") for size in (2**40, -1, -(2**63))),
    *((records.CREATE_JOB, bytes(4) + long(count)) for count in (1, 2**62, -(2**62), -(2**63))),
    (records.CREATE_JOB, bytes(4) + long(2**62) + bytes(MEBIBYTE)),
    (records.CREATE_JOB, bytes(4) + long(-(2**62)) + long(-1) + bytes(MEBIBYTE)),
    (records.CREATE_JOB, bytes(4) + long(1) + long(2**62)),
    (records.CREATE_JOB, bytes(4) + long(8 * MEBIBYTE) + bytes(16 * MEBIBYTE + 1)),
    *((records.ALTER_JOBS, long(count) + bytes(3)) for count in (2**31, 2**62, -(2**62))),
    (records.ALTER_JOBS, long(-5) + long(2**62) + bytes(3)),
    (records.ALTER_JOBS, long(4 * MEBIBYTE) + bytes(4 * MEBIBYTE + 3)),
    (records.SHOW_JOBS, b"\x80" * 1000),
    (records.SHOW_JOBS, b"\xff" * (4 * MEBIBYTE)),
    (records.GET_JOB, b"\xff" * 9 + b"\x7f"),
]


@pytest.fixture
async def kinetica(serve: Serve, http: ClientSession) -> AsyncIterator[Kinetica]:
    """Give a client of a server that still answers rightly when the test is over."""
    client = Kinetica(Client(http, (await serve(target=ORDINARY)).url))
    yield client
    job_id = await client.create("/echo", '"still here"')
    assert (await client.ended(job_id))["job_response_str"] == '"still here"'


async def call(
    kinetica: Kinetica, path: str, body: bytes, content_type: str | None = AVRO
) -> Answer:
    """Send a body as it is."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    return await kinetica.client(
        "POST", path, data=BytesIO(body), headers=headers, skip_auto_headers=["Content-Type"]
    )


def unwrapped(answer: Answer, form: Form) -> Record:
    """Return the record of an answer in Avro, which has to be one to a call that succeeded."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == AVRO
    wrapper = encodings.from_avro(records.WRAPPER, answer.body)
    assert {**wrapper, "data": b""} == {
        "status": "OK",
        "message": "",
        "data_type": form.name,
        "data": b"",
        "data_str": "",
    }
    return encodings.from_avro(form, wrapper["data"])


def refused(answer: Answer) -> str:
    """Return the message of an answer in Avro, which has to be one to a call that failed."""
    assert answer.status == 400
    assert answer.headers["Content-Type"] == AVRO
    wrapper = dict(encodings.from_avro(records.WRAPPER, answer.body))
    message: str = wrapper.pop("message")
    assert wrapper == {"status": "ERROR", "data_type": "none", "data": b"", "data_str": ""}
    return message


# --- byte for byte ------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "body", "record"), REQUESTS)
def test_requests_are_read_as_the_client_writes_them(
    form: Form, body: bytes, record: Record
) -> None:
    assert encodings.decode(Encoding.AVRO, form, body) == record
    assert encodings.decode(Encoding.SNAPPY, form, snappy(body)) == record
    text = json.dumps(record, default=lambda value: value.decode("latin-1"))
    assert encodings.decode(Encoding.JSON, form, text.encode()) == record


def test_answers_are_written_as_the_client_reads_them() -> None:
    assert encodings.to_avro(records.JOB_CREATED, CREATED) == JOB_CREATED
    assert encodings.to_avro(records.JOB, RUNNING) == JOB_RUNNING
    for encoding in (Encoding.AVRO, Encoding.SNAPPY):
        assert encodings.wrapped(encoding, records.JOB_CREATED, CREATED) == JOB_CREATED_WRAPPED
        assert encodings.wrapped_error(encoding, "Job 7 not found") == NOT_FOUND


def test_answers_in_json_hold_json_in_a_string() -> None:
    answer = encodings.wrapped(Encoding.JSON, records.JOB_CREATED, CREATED)
    assert answer == (
        b'{"status":"OK","message":"","data_type":"create_job_response","data":"",'
        rb'"data_str":"{\"job_id\":300,\"info\":{\"job_tag\":\"t1\"}}"}'
    )
    assert encodings.wrapped_error(Encoding.JSON, "Job 7 not found") == (
        b'{"status":"ERROR","message":"Job 7 not found","data_type":"none","data":"","data_str":""}'
    )


def test_bytes_in_json_are_characters() -> None:
    answer = encodings.wrapped(Encoding.JSON, records.JOB, {"job_response": b"\x01\xff"})
    assert rb"\"job_response\":\"\\u0001\\u00ff\"" in answer
    read = encodings.decode(Encoding.JSON, records.CREATE_JOB, rb'{"data":"\u0001\u00ff"}')
    assert read["data"] == b"\x01\xff"


@pytest.mark.parametrize(("content_type", "packed"), [(AVRO, bytes), (SNAPPY, snappy)])
async def test_the_bytes_on_the_wire_are_the_documented_ones(
    kinetica: Kinetica, content_type: str, packed: type[bytes]
) -> None:
    body = CREATE_JOB.replace(b"\x18/alter/table", b"\x0a/echo")
    created = await call(kinetica, "/create/job", packed(body), content_type)
    assert (created.status, created.headers["Content-Type"]) == (200, AVRO)
    # The first job of a store has the id 1, a byte less than 300, and a second entry of its map.
    record = b"\x02\x04\x0ejob_tag\x04t1\x10query_id\x021\x00"
    head, _, end = JOB_CREATED_WRAPPED.partition(b"\x1e" + JOB_CREATED)
    assert created.body == head + bytes([2 * len(record)]) + record + end
    unknown = await call(kinetica, "/get/job", packed(b"\x0e\x00"), content_type)
    assert (unknown.status, unknown.headers["Content-Type"]) == (400, AVRO)
    assert unknown.body == NOT_FOUND


@pytest.mark.parametrize(("content_type", "packed"), [(AVRO, bytes), (SNAPPY, snappy)])
async def test_every_call_can_be_made_in_avro(
    kinetica: Kinetica, content_type: str, packed: type[bytes]
) -> None:
    async def made(path: str, body: bytes, form: Form) -> Record:
        return unwrapped(await call(kinetica, path, packed(body), content_type), form)

    create = encodings.to_avro(
        records.CREATE_JOB,
        {
            "endpoint": "/echo",
            "request_encoding": "binary",
            "data": b"\x01\xff",
            "data_str": "",
            "options": {"job_tag": "it"},
        },
    )
    created = await made("/create/job", create, records.JOB_CREATED)
    job_id = created["job_id"]
    assert created["info"] == {"job_tag": "it", "query_id": str(job_id)}
    await kinetica.ended(job_id)
    for question in (long(job_id) + b"\x00", bytes.fromhex("00020e6a6f625f74616704697400")):
        described = await made("/get/job", question, records.JOB)
        assert (described["job_status"], described["progress"]) == ("DONE", 100)
        assert (described["job_response"], described["job_response_str"]) == (b"\x01\xff", "")
    alter = {"job_ids": [job_id, 2**63 - 1, -(2**63)], "action": "cancel", "options": {}}
    altered = await made(
        "/admin/alter/jobs", encodings.to_avro(records.ALTER_JOBS, alter), records.JOBS_ALTERED
    )
    assert altered["job_ids"] == alter["job_ids"]
    assert altered["status"] == ["already ended", "not found", "not found"]
    assert (await made("/admin/show/jobs", b"\x00", records.JOBS))["job_id"] == []
    show = encodings.to_avro(records.SHOW_JOBS, {"options": {"show_async_jobs": "true"}})
    assert (await made("/admin/show/jobs", show, records.JOBS))["job_id"] == [job_id]
    status = await made("/show/system/status", b"\x00", records.STATUS)
    assert json.loads(status["status_map"]["system"])["status"] == "running"
    properties = await made("/show/system/properties", b"\x00", records.PROPERTIES)
    assert "version.gpudb_core_version" in properties["property_map"]


async def test_a_job_may_be_submitted_in_one_encoding_and_read_in_another(
    kinetica: Kinetica,
) -> None:
    job_id = await kinetica.create("/echo", '{"ä":1}')
    await kinetica.ended(job_id)
    described = unwrapped(await call(kinetica, "/get/job", long(job_id) + b"\x00"), records.JOB)
    assert (described["response_encoding"], described["job_response_str"]) == ("json", '{"ä":1}')


# --- how a request says what it is --------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        JSON,
        "application/json; charset=utf-8",
        "Application/JSON;x",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
    ],
)
async def test_json_is_read_whatever_the_usual_clients_call_it(
    kinetica: Kinetica, content_type: str | None
) -> None:
    answer = await call(kinetica, "/create/job", b'{"endpoint": "/echo"}', content_type)
    assert answered("/create/job", answer)["job_id"] == 1


@pytest.mark.parametrize(
    "content_type", ["text/xml", "application/xml", "avro/binary", "application/gzip", "x", "*/*"]
)
async def test_an_unknown_content_type_is_refused(kinetica: Kinetica, content_type: str) -> None:
    message = refusal(await call(kinetica, "/create/job", b'{"endpoint":"/echo"}', content_type))
    assert message == (
        "unknown Content-Type: expected one of "
        "application/json, application/octet-stream, application/x-snappy"
    )


async def test_a_request_may_come_in_chunks(kinetica: Kinetica) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in b'{"endpoint":"/echo"}':
            yield bytes([byte])

    answer = await kinetica.client("POST", "/create/job", data=pieces())
    assert refused(answer).startswith("the body: expected create_job_request in Avro binary")
    answer = await kinetica.client(
        "POST", "/create/job", data=pieces(), headers={"Content-Type": JSON}
    )
    assert answered("/create/job", answer)["job_id"] == 1


async def test_members_that_are_missing_null_or_unknown_do_no_harm(kinetica: Kinetica) -> None:
    for path, body in [
        ("/create/job", b'{"endpoint":"/echo"}'),
        ("/create/job", b'{"endpoint":"/echo","data":null,"data_str":null,"options":null,"a":[1]}'),
        ("/admin/alter/jobs", b'{"action":"cancel"}'),
        ("/admin/show/jobs", b"{}"),
        ("/show/system/status", b'{"options":null}'),
        ("/show/system/properties", b' {"options":{"properties":"x"}}\n'),
    ]:
        answered(path, await call(kinetica, path, body, JSON))
    assert refusal(await call(kinetica, "/get/job", b"{}", JSON)) == "Job 0 not found"


# --- what is no record --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"x"',
        b"null",
        b"{",
        b"{}{}",
        b"endpoint=/echo",
        b"<x/>",
        b'{"a":tru}',
        b"\xff",
        b'{"endpoint":"\xff"}',
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"job_id":' + b"9" * 5000 + b"}",
        GET_JOB,
    ],
)
@pytest.mark.parametrize("path", ["/create/job", "/get/job"])
async def test_what_is_no_json_object_is_refused(
    kinetica: Kinetica, path: str, body: bytes
) -> None:
    answer = await call(kinetica, path, body, JSON)
    assert refusal(answer) == "the body: expected a JSON object"


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("endpoint", 1, "a string"),
        ("data", "\u0100", "a string with one character for each byte, U+0000 to U+00FF"),
        ("data", [1], "a string with one character for each byte, U+0000 to U+00FF"),
        ("data_str", {}, "a string"),
        ("options", [], "an object whose members are strings"),
        ("options", {"a": 1}, "an object whose members are strings"),
        ("options", {"a": None}, "an object whose members are strings"),
        ("options", "{}", "an object whose members are strings"),
    ],
)
async def test_a_member_of_another_kind_is_refused(
    kinetica: Kinetica, member: str, value: object, expected: str
) -> None:
    members = {"endpoint": "/echo", member: value}
    assert await kinetica.refused("/create/job", **members) == f"{member}: expected {expected}"


@pytest.mark.parametrize(("member", "value"), [("endpoint", "/\ud800"), ("data_str", '"\udfff"')])
async def test_half_a_character_is_refused(kinetica: Kinetica, member: str, value: str) -> None:
    members = {"endpoint": "/echo", member: value}
    told = await kinetica.refused("/create/job", **members)
    assert told == "the body: expected whole characters, not half of a surrogate pair"


@pytest.mark.parametrize("packed", [False, True], ids=["avro", "snappy"])
@pytest.mark.parametrize(("form", "body", "_record"), REQUESTS)
async def test_a_record_that_is_cut_off_anywhere_is_refused(
    kinetica: Kinetica,
    form: Form,
    body: bytes,
    _record: Record,
    packed: bool,
) -> None:
    for end in range(len(body)):
        sent = snappy(body[:end]) if packed else body[:end]
        answer = await call(kinetica, PATHS[form.name], sent, SNAPPY if packed else AVRO)
        expected = f"the body: expected {form.name} in Avro binary, and nothing else"
        assert refused(answer) == expected
    assert await kinetica.shown(show_async_jobs="true") == []


async def test_compressed_bytes_that_are_cut_off_anywhere_are_refused(kinetica: Kinetica) -> None:
    body = snappy(CREATE_JOB * 2)
    for end in range(len(body)):
        answer = await call(kinetica, "/create/job", body[:end], SNAPPY)
        assert refused(answer) == "Snappy: expected one raw block, without framing"


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (form, body)
        for form, right, _ in REQUESTS
        for body in (
            *(other for _, other, _ in REQUESTS if other != right),
            right + b"\x00",
            right * 2,
            b"{}",
            b'{"options":{}}',
        )
    ],
)
async def test_another_record_or_one_more_byte_is_refused(
    kinetica: Kinetica, form: Form, body: bytes
) -> None:
    # Avro names nothing: one of them can be read as another record, but asks for nothing there is.
    message = refused(await call(kinetica, PATHS[form.name], body))
    wrong = f"the body: expected {form.name} in Avro binary, and nothing else"
    assert message in {wrong, "action: expected cancel"}


async def test_text_that_is_no_utf_8_is_refused(kinetica: Kinetica) -> None:
    answer = await call(kinetica, "/create/job", b"\x04/\xff" + bytes(4))
    assert "expected create_job_request" in refused(answer)


# --- what claims to be large, or is -------------------------------------------------------------


@pytest.mark.parametrize(("form", "body"), HOSTILE)
def test_nothing_is_set_aside_for_what_is_only_claimed(form: Form, body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RequestInvalid):
            encodings.from_avro(form, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Items that do come take room, up to a bound that is far below that of all that is claimed.
    assert peak < (64 * 1024 if len(body) < MEBIBYTE else 16 * MEBIBYTE)


async def test_whatever_is_claimed_is_refused(kinetica: Kinetica) -> None:
    for form, body in HOSTILE:
        if len(body) < MEBIBYTE:
            message = refused(await call(kinetica, PATHS[form.name], body))
            assert message == f"the body: expected {form.name} in Avro binary, and nothing else"


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\x0f" + b"\x00a",
        b"\x81\x80\x80\x20\x00a",
        bytes(cramjam.snappy.compress_raw(bytes(8 * MEBIBYTE + 1))),
    ],
    ids=["4 GiB of nothing", "4 GiB of little", "one byte more", "a bomb"],
)
async def test_a_small_block_that_would_be_too_large_is_not_decompressed(
    kinetica: Kinetica, body: bytes
) -> None:
    # The call that takes large requests, and what one of them may have in it.
    answer = await call(kinetica, "/create/job", body, SNAPPY)
    assert refused(answer) == "Snappy: expected at most 8388608 bytes once decompressed"
    members = {"endpoint": "/echo", "request_encoding": "snappy", "data": body.decode("latin-1")}
    answer = await call(kinetica, "/create/job", json.dumps(members).encode(), JSON)
    assert refusal(answer) == "Snappy: expected at most 8388608 bytes once decompressed"


@pytest.mark.parametrize("body", [b"\x80" * 20, b"\x04\x04a", b"\x04\x0cabcd\x00", b"sNaPpY"])
async def test_what_is_no_block_is_not_decompressed(kinetica: Kinetica, body: bytes) -> None:
    answer = await call(kinetica, "/get/job", body, SNAPPY)
    assert "Snappy: expected" in refused(answer)


async def test_a_block_that_is_large_but_not_too_large_is_decompressed(kinetica: Kinetica) -> None:
    data = bytes(4 * MEBIBYTE)
    record = {"endpoint": "/count", "request_encoding": "binary", "data": data, "data_str": ""}
    body = encodings.to_avro(records.CREATE_JOB, {**record, "options": {}})
    answer = await call(kinetica, "/create/job", snappy(body), SNAPPY)
    job_id = unwrapped(answer, records.JOB_CREATED)["job_id"]
    described = await kinetica.ended(job_id)
    assert json.loads(described["job_response"]) == {"size": len(data)}


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/get/job", 65_536), ("/admin/alter/jobs", 262_144), ("/show/system/status", 65_536)],
)
async def test_a_question_is_small(kinetica: Kinetica, path: str, limit: int) -> None:
    answer = await call(kinetica, path, bytes(limit + 1))
    assert refused(answer) == f"the request's body is larger than {limit} bytes"


async def test_a_job_is_not_larger_than_8_mebibytes(kinetica: Kinetica) -> None:
    answer = await call(kinetica, "/create/job", bytes(8 * MEBIBYTE + 1))
    assert refused(answer) == "the request's body is larger than 8388608 bytes"


async def test_a_request_that_breaks_off_submits_nothing(kinetica: Kinetica) -> None:
    async with connected(kinetica.client.url) as client:
        head = b"POST /create/job HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
        await client.send(head + b'{"endpoint":"/echo"}')
        assert (await client.said_all()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert await kinetica.shown(show_async_jobs="true") == []
