"""What a client of Kinetica may do within its encodings and HTTP, though few clients do it."""

import json
from collections.abc import AsyncIterator
from typing import cast

import cramjam
import pytest
from aiohttp import ClientSession, web

from jobstore.dialects.kinetica import encodings, outcomes, records
from jobstore.dialects.kinetica.encodings import Encoding
from jobstore.dialects.kinetica.error_messages import refused_in
from jobstore.model.errors import JobstoreError
from jobstore.model.lifecycle import State
from pages.messages import MESSAGES
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.dialects.test_datameer_words import a_job
from tests.dialects.test_kinetica import FAILOVER
from tests.kinetica import Kinetica, answered, refusal
from trials.clients import Answer

pytestmark = pytest.mark.file  # how a call is written is no affair of the engine

AVRO = "application/octet-stream"
SNAPPY = "application/x-snappy"
# The same request as Avro writes it in one block, in two, and with the size of a block before it.
ONE_TAG = bytes.fromhex("0e6a6f625f746167047431")
OTHER = bytes.fromhex("0278027a")  # {"x": "z"}
BLOCKS = [
    b"\x02" + ONE_TAG + b"\x02" + OTHER + b"\x00",
    b"\x04" + ONE_TAG + OTHER + b"\x00",
    b"\x01" + bytes([2 * len(ONE_TAG)]) + ONE_TAG + b"\x02" + OTHER + b"\x00",
]
REFUSALS = [error for subject in MESSAGES.values() for error, _ in subject]


@pytest.fixture
async def kinetica(serve: Serve, http: ClientSession) -> Kinetica:
    """Give a client of a server that has an ordinary application behind it."""
    return Kinetica(Client(http, (await serve(target=ORDINARY)).url))


async def call(kinetica: Kinetica, path: str, body: bytes, content_type: str) -> Answer:
    """Send a body as it is."""
    headers = {"Content-Type": content_type}
    return await kinetica.client("POST", path, data=body, headers=headers)


@pytest.mark.parametrize("options", BLOCKS)
def test_a_map_may_come_in_several_blocks_with_and_without_their_size(options: bytes) -> None:
    record = encodings.from_avro(records.GET_JOB, b"\x00" + options)
    assert record == {"job_id": 0, "options": {"job_tag": "t1", "x": "z"}}


def test_a_list_may_come_in_several_blocks_with_and_without_their_size() -> None:
    ids = b"\x02\xd8\x04" + b"\x01\x04\xda\x04" + b"\x00"
    record = encodings.from_avro(records.ALTER_JOBS, ids + b"\x0ccancel\x00")
    assert (record["job_ids"], record["action"]) == ([300, 301], "cancel")


@pytest.mark.parametrize(
    ("content_type", "packed"),
    [
        (f"{AVRO}; charset=binary", bytes),
        (AVRO.upper(), bytes),
        (f"{SNAPPY} ;x=y", cramjam.snappy.compress_raw),
        (SNAPPY.title(), cramjam.snappy.compress_raw),
    ],
)
async def test_parameters_and_case_of_a_content_type_make_no_difference(
    kinetica: Kinetica, content_type: str, packed: type[bytes]
) -> None:
    answer = await call(kinetica, "/get/job", bytes(packed(b"\x0e\x00")), content_type)
    assert (answer.status, answer.headers["Content-Type"]) == (400, AVRO)
    assert encodings.from_avro(records.WRAPPER, answer.body)["message"] == "Job 7 not found"


@pytest.mark.parametrize("query", ["?", "?x=1&x=2", "?job_id=99", "?%FF"])
async def test_what_stands_in_the_query_is_ignored(kinetica: Kinetica, query: str) -> None:
    job_id = await kinetica.create("/echo", "1")
    await kinetica.ended(job_id)
    answer = await kinetica.client("POST", f"/get/job{query}", json={"job_id": job_id})
    assert answered("/get/job", answer)["job_response_str"] == "1"


async def test_an_empty_body_is_no_record(kinetica: Kinetica) -> None:
    for path in ("/create/job", "/get/job", "/admin/show/jobs", "/show/system/status"):
        answer = await call(kinetica, path, b"", "application/json")
        assert refusal(answer) == "the body: expected a JSON object"


async def test_what_has_failed_has_come_as_far_as_was_reported(kinetica: Kinetica) -> None:
    described = await kinetica.ended(await kinetica.create("/refuse"))
    assert (described["job_status"], described["progress"]) == ("ERROR", 0)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("encoding", list(Encoding))
def test_nothing_that_is_refused_makes_a_client_look_for_another_cluster(
    error: JobstoreError, encoding: Encoding
) -> None:
    answer = refused_in(encoding, error)
    assert 400 <= answer.status < 500
    assert answer.status != 404
    assert answer.content_type == encoding.answer
    message = message_of(answer, encoding)
    assert message
    assert not [words for words in FAILOVER if words.lower() in message.lower()]


def message_of(answer: web.Response, encoding: Encoding) -> str:
    """Return the message of a wrapper that has nothing else in it."""
    body = cast("bytes", answer.body)
    wrapper = (
        json.loads(body)
        if encoding is Encoding.JSON
        else {**encodings.from_avro(records.WRAPPER, body)}
    )
    message: str = wrapper.pop("message")
    assert [value for value in wrapper.values() if value] == ["ERROR", "none"]
    return message


async def test_a_call_may_come_in_chunks_in_every_encoding(kinetica: Kinetica) -> None:
    question = b"\x0e\x00"
    for content_type, body in [
        (AVRO, question),
        (SNAPPY, bytes(cramjam.snappy.compress_raw(question))),
        ("application/json", b'{"job_id": 7}'),
    ]:

        async def pieces(body: bytes = body) -> AsyncIterator[bytes]:
            for byte in body:
                yield bytes([byte])

        headers = {"Content-Type": content_type}
        answer = await kinetica.client("POST", "/get/job", data=pieces(), headers=headers)
        assert (answer.status, b"Job 7 not found" in answer.body) == (400, True)


def test_a_result_on_its_way_to_another_reader_is_not_there_yet_even_if_a_cancellation_came() -> (
    None
):
    job = a_job(1, State.DONE, cancel_asked_at=5)
    told = outcomes.not_yet(job)
    assert (told["job_status"], told["running"]) == ("RUNNING", True)
