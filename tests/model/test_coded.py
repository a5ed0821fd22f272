"""A job as code writes it: what is meant is understood, anything else is told at once."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.coded import submission
from jobstore.model.errors import KeyInvalid, SubmissionInvalid
from jobstore.model.job import Policy, Replay, Submission

pytestmark = pytest.mark.file


def written(**given: Any) -> Submission:
    """Write a submission."""
    parts: dict[str, Any] = {
        "method": "GET",
        "path": "/a",
        "headers": (),
        "body": b"",
        "content": ...,
    }
    parts |= {name: given.pop(name) for name in parts.keys() & given.keys()}
    return submission(**parts, options=given)


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, ()),
        ({"A": "1", "B": ["2", "3"]}, (("A", "1"), ("B", "2"), ("B", "3"))),
        ([("A", "1"), ("A", "2")], (("A", "1"), ("A", "2"))),
    ],
)
def test_headers_are_a_mapping_or_pairs(headers: object, fields: object) -> None:
    assert written(headers=headers).request.headers == fields


@pytest.mark.parametrize(
    ("given", "body", "kind"),
    [
        ({"body": b"\xff"}, b"\xff", None),
        ({"body": bytearray(b"a")}, b"a", None),
        ({"body": "ä"}, "ä".encode(), "text/plain; charset=utf-8"),
        ({"body": ""}, b"", None),
        ({"content": {"a": None}}, b'{"a":null}', "application/json"),
        ({"content": None}, b"null", "application/json"),
        ({"content": 1, "headers": {"content-type": "a/b"}}, b"1", "a/b"),
    ],
)
def test_a_body_is_bytes_or_text_or_json(
    given: dict[str, Any], body: bytes, kind: str | None
) -> None:
    request = written(**given).request
    assert request.body == body
    assert {name.lower(): value for name, value in request.headers}.get("content-type") == kind


def test_times_are_written_as_people_do() -> None:
    assert written(delay="2s").delay == 2 * SECOND
    assert written(delay=0.5).delay == SECOND // 2
    assert written(delay=timedelta(minutes=1)).delay == 60 * SECOND
    assert written(delay=0).delay is written(delay=None).delay is None
    assert written(not_before=datetime(1970, 1, 2, tzinfo=UTC)).not_before == 86_400 * SECOND
    assert written(not_before=7).not_before == 7
    policy = written(timeout="5m", replay="always", retries=3).policy
    assert policy == Policy(timeout=300, replay=Replay.ALWAYS, retries=3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"priorty": 1}, "priorty: no such keyword; did you mean priority?"),
        ({"target": "/x"}, "target: no such keyword; did you mean"),
        ({"method": "GET IT"}, "method: expected a method such as GET or POST"),
        ({"method": None}, "method: expected a method such as GET or POST"),
        ({"path": "a"}, "path: expected a percent-encoded path"),
        ({"path": None}, "path: expected a percent-encoded path"),
        ({"headers": "A: 1"}, "headers: expected names and values, such as"),
        ({"headers": {"A": 1}}, "headers: expected names and values, such as"),
        ({"headers": None}, "headers: expected names and values, such as"),
        ({"headers": {"A": "1\r\nB: 2"}}, "headers: expected valid HTTP fields"),
        ({"body": {"a": 1}}, "body: expected bytes or text, not dict; for JSON, use json="),
        ({"body": "\ud800"}, "body: expected text that can be encoded as UTF-8"),
        ({"body": b"a", "content": 1}, "expected either body or json, and not both"),
        ({"content": {1, 2}}, "json: expected a value that JSON can represent"),
        ({"content": float("nan")}, "json: expected a value that JSON can represent"),
        ({"delay": "soon"}, "delay: expected a duration such as 500ms, 30s, 15m, 24h or 30d"),
        ({"delay": -1}, "delay: expected a duration"),
        ({"delay": True}, "delay: expected a duration"),
        ({"delay": 1, "not_before": 1}, "expected either delay or not_before, and not both"),
        ({"not_before": datetime(2026, 1, 1)}, "not_before: expected a datetime with a time"),  # noqa: DTZ001
        ({"not_before": "2026-01-01"}, "not_before: expected a datetime with a time zone"),
        ({"timeout": 0}, "timeout: expected a duration"),
        ({"replay": "maybe"}, 'replay: expected "idempotent", "always" or "never", or None'),
        ({"retries": -1}, "retries: expected a whole number from 0 to 1000, or None"),
        ({"retries": 1, "policy": Policy()}, "expected either policy, or timeout"),
        ({"priority": "1"}, "priority: expected a whole number from -2147483647 to 2147483647"),
        ({"priority": True}, "priority: expected a whole number"),
        ({"priority": 2**31}, "priority: expected a whole number"),
        ({"owner": None}, "owner: expected a name"),
        ({"tag": ""}, "tag: expected a handle of 1 to 255 characters, or None"),
        ({"tag": "x" * 256}, "tag: expected a handle"),
        ({"wanted": 1}, "wanted: expected True or False"),
        ({"follows": "1"}, "follows: expected the id of a job, or None"),
        ({"key": 1}, "key: expected a key of 1 to 255 printable ASCII characters, or None"),
    ],
)
def test_what_is_not_as_expected_is_refused_in_a_sentence(
    given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SubmissionInvalid, match=re.escape(sentence)):
        written(**given)


def test_a_key_that_is_none_is_refused_as_over_http() -> None:
    with pytest.raises(KeyInvalid):
        written(key=" ")
