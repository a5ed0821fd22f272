"""The state and the result of a job, in Kinetica's words."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, assert_never

from jobstore.dialects.kinetica.encodings import Encoding, first_string, from_avro, media_type
from jobstore.dialects.kinetica.records import WRAPPER, Record, RequestInvalid
from jobstore.dialects.kinetica.request import TAG
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.job import Job, succeeded
from jobstore.model.lifecycle import State
from jobstore.model.message import Headers, header, phrase_of
from jobstore.store.history import Beginning
from jobstore.store.jobs import Outline
from jobstore.web import documents

_RUNNING: Final = "RUNNING"
_DONE: Final = "DONE"
_ERROR: Final = "ERROR"
_CANCELLED: Final = "CANCELLED"

# How much of an answer is shown to say what went wrong, and of a query, in characters.
_BEGINNING: Final = 200
_SHOWN_QUERY: Final = 1000

Described: TypeAlias = Job | Outline


@frozen(kw_only=True)
class _Outcome:
    """The outcome of a job.

    Args:
        word: Kinetica's word for its state.
        record: the endpoint's answer, if it succeeded.
        error: the error, if it failed.
    """

    word: str
    record: bytes = b""
    error: str | None = None


def word(job: Described) -> str:
    """Return Kinetica's word for the state of a job, by the status of its response.

    As documented, a job counts as cancelled as soon as that was requested, and a queued job as
    running.
    """
    match job.state:
        case State.QUEUED | State.RUNNING:
            return _RUNNING if job.cancel_asked_at is None else _CANCELLED
        case State.DONE:
            return _DONE if succeeded(job.status) else _ERROR
        case State.FAILED:
            return _ERROR
        case State.CANCELLED:
            return _CANCELLED
        case _:
            assert_never(job.state)


def job_record(job: Outline, body: bytes) -> Record:
    """Describe a job to its client.

    Args:
        body: the body of the target's answer; empty if there is none.
    """
    return _record(job, job.request_headers, _outcome(job, body))


def _record(job: Described, asked: Headers, outcome: _Outcome) -> Record:
    done = outcome.word == _DONE
    return {
        "endpoint": job.path,
        "job_status": outcome.word,
        "running": outcome.word == _RUNNING,  # clients wait as long as it is true
        "progress": 100 if done else int(job.progress or 0),
        "successful": done,
        **_encoded(outcome.record, asked),
        "status_map": {} if outcome.error is None else {"error_message": outcome.error},
        "info": {},
    }


def not_yet(job: Job) -> Record:
    """Describe an ended job whose result may be available again in a moment."""
    return _record(job, (), _Outcome(word=_RUNNING))


def jobs_record(
    jobs: Sequence[Job], sources: Mapping[int, str], queries: Mapping[int, str]
) -> dict[str, Any]:
    """Describe jobs in parallel lists, with empty strings for unknown values.

    Args:
        jobs: the jobs.
        sources: the addresses that they came from, by id.
        queries: their queries, by id.
    """
    return {
        "job_id": [job.id for job in jobs],
        "status": [word(job) for job in jobs],
        "endpoint_name": [job.path for job in jobs],
        "time_received": [job.submitted_at * 1000 // SECOND for job in jobs],
        "auth_id": [job.owner for job in jobs],
        "source_ip": [sources.get(job.id, "") for job in jobs],
        "query_text": [queries.get(job.id, "") for job in jobs],
        "user_data": [""] * len(jobs),  # no call takes any
        "flags": [_flags(job) for job in jobs],
    }


def _flags(job: Job) -> str:
    return "remove_job_on_complete" if job.once else ""


def tags(jobs: Sequence[Job]) -> str:
    """Return the tags of jobs in order, joined by commas: tags here contain none."""
    return ",".join(job.tag if job.tag and TAG.fullmatch(job.tag) else "" for job in jobs)


def is_query(job: Job) -> bool:
    """Return whether a job executes SQL."""
    return job.path.partition("?")[0].rstrip("/") == "/execute/sql"


def queries(beginnings: Mapping[int, Beginning]) -> dict[int, str]:
    """Read the queries from requests, if these are complete; see `is_query`."""
    found = {job_id: _query(beginning) for job_id, beginning in beginnings.items()}
    return {job_id: query[:_SHOWN_QUERY] for job_id, query in found.items() if query}


def _query(beginning: Beginning) -> str | None:
    """Return the statement of a request to execute SQL: its first member."""
    if media_type(header(beginning.headers, "Content-Type")) == Encoding.AVRO:
        return first_string(beginning.content)
    try:
        record = documents.parse(beginning.content or b"")
    except ValueError:
        return None
    return _text_only(record.get("statement")) if isinstance(record, dict) else None


def _text_only(value: object) -> str | None:
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _encoded(record: bytes, asked: Headers) -> Record:
    """Return the members for a record: as text, unless the request or the record is binary."""
    text = None
    if media_type(header(asked, "Content-Type")) != Encoding.AVRO:
        text = _text(record)
    return {
        "response_encoding": "binary" if text is None else "json",
        "job_response": record if text is None else b"",
        "job_response_str": text or "",
    }


def _text(record: bytes) -> str | None:
    try:
        return record.decode()
    except UnicodeDecodeError:
        return None


def _outcome(job: Outline, body: bytes) -> _Outcome:
    if job.state is State.FAILED:
        return _Outcome(word=_ERROR, error=job.detail or "no answer could be had")
    if job.state is not State.DONE:
        return _Outcome(word=word(job))
    assert job.status is not None  # an answer is kept as long as it can be asked for
    wrapper = _wrapper(body)
    if wrapper is not None and wrapper["status"] == "OK":
        return _Outcome(word=_DONE, record=wrapper["data_str"].encode() or wrapper["data"])
    if wrapper is None and succeeded(job.status):
        return _Outcome(word=_DONE, record=body)
    message = wrapper["message"] if wrapper else ""
    return _Outcome(word=_ERROR, error=message or _said(job.status, job.reason, body))


def _said(status: int, reason: str | None, body: bytes) -> str:
    """Describe an answer for people."""
    reason = reason or phrase_of(status)
    # No character has more than four bytes.
    beginning = body[: 4 * _BEGINNING].decode(errors="replace")[:_BEGINNING]
    shown = "".join(sign if sign.isprintable() else " " for sign in beginning).strip()
    head = f"{status} {reason}".strip()
    return f"{head}: {shown}" if shown else head


# --- answers that are Kinetica's own ------------------------------------------------------------


def _wrapper(body: bytes) -> Record | None:
    """Decode an answer of Kinetica's form, in either encoding; None if it is not one."""
    try:
        found = _wrapper_in_json(body) if body[:1] == b"{" else _wrapper_in_avro(body)
    except (ValueError, RecursionError, RequestInvalid):
        return None
    return found if found and found["status"] in {"OK", "ERROR"} else None


def _wrapper_in_avro(body: bytes) -> Record | None:
    return from_avro(WRAPPER, body) if body[:1] in {b"\x04", b"\x0a"} else None


def _wrapper_in_json(body: bytes) -> Record | None:
    # Most answers are none, and can be told from one without taking them apart.
    if not all(f'"{name}"'.encode() in body for name in WRAPPER.members):
        return None
    found = documents.parse(body)
    if not isinstance(found, dict) or found.keys() != WRAPPER.members.keys():
        return None
    members = {name: _checked(member) for name, member in found.items()}
    return {**members, "data": members["data"].encode("latin-1")}


def _checked(member: object) -> str:
    """Return a member that is text.

    Raises:
        ValueError: it is not text, or contains half of a surrogate pair.
    """
    if isinstance(member, str):
        member.encode()
        return member
    raise ValueError
