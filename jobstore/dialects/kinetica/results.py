"""How a job stands, and what came of it, in Kinetica's words."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, assert_never

from jobstore import documents
from jobstore.clock import SECOND
from jobstore.dialects.kinetica.encodings import Encoding, from_avro, media_type
from jobstore.dialects.kinetica.records import WRAPPER, Record, RequestInvalid
from jobstore.job import Job
from jobstore.lifecycle import State
from jobstore.message import Headers, Response, header

_RUNNING: Final = "RUNNING"
_DONE: Final = "DONE"
_ERROR: Final = "ERROR"
_CANCELLED: Final = "CANCELLED"

# How much of an answer is shown to say what went wrong, in characters.
_BEGINNING: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of a job.

    Args:
        word: Kinetica's word for how it stands.
        record: what the endpoint answered, if all went well.
        error: what went wrong, if something did.
    """

    word: str
    record: bytes = b""
    error: str | None = None


def word(job: Job) -> str:
    """Return Kinetica's word for how a job stands, as far as its answer's status code tells."""
    match job.state:
        case State.QUEUED | State.RUNNING:
            return _RUNNING
        case State.DONE:
            return _DONE if job.succeeded else _ERROR
        case State.FAILED:
            return _ERROR
        case State.CANCELLED:
            return _CANCELLED
        case _:
            assert_never(job.state)


def described(job: Job, asked: Headers, response: Response | None, body: bytes) -> Record:
    """Describe a job to whoever asks for it.

    Args:
        job: the job.
        asked: the headers of its request.
        response: the target's answer; None if there is none.
        body: what is in it.
    """
    outcome = _outcome(job, response, body)
    done = outcome.word == _DONE
    return {
        "endpoint": job.path,
        "job_status": outcome.word,
        "running": job.state is State.RUNNING,
        "progress": 100 if done else int(job.progress or 0),
        "successful": done,
        **_encoded(outcome.record, asked),
        "status_map": {} if outcome.error is None else {"error_message": outcome.error},
        "info": {},
    }


def listed(jobs: list[Job]) -> dict[str, Any]:
    """Describe jobs side by side, with empty strings for what is not kept of them."""
    unknown = [""] * len(jobs)
    return {
        "job_id": [job.id for job in jobs],
        "status": [word(job) for job in jobs],
        "endpoint_name": [job.path for job in jobs],
        "time_received": [job.submitted_at * 1000 // SECOND for job in jobs],
        "auth_id": [job.owner for job in jobs],
        "source_ip": unknown,
        "query_text": unknown,
        "user_data": unknown,
        "flags": unknown,
    }


def _encoded(record: bytes, asked: Headers) -> Record:
    """Put a record where its encoding belongs: text unless the request was binary, or it is."""
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


def _outcome(job: Job, response: Response | None, body: bytes) -> _Outcome:
    if job.state is State.FAILED:
        return _Outcome(word=_ERROR, error=job.detail or "no answer could be had")
    if job.state is not State.DONE:
        return _Outcome(word=word(job))
    assert response is not None  # an answer is kept as long as it can be asked for
    said = _said(response, body)
    wrapper = _wrapper(body)
    if wrapper is not None:
        return _unwrapped(wrapper, said)
    if job.succeeded:
        return _Outcome(word=_DONE, record=body)
    return _Outcome(word=_ERROR, error=said)


def _said(response: Response, body: bytes) -> str:
    """Say what an answer was, for people."""
    phrases = {status.value: status.phrase for status in HTTPStatus}
    reason = response.reason or phrases.get(response.status, "")
    # No character has more than four bytes.
    beginning = body[: 4 * _BEGINNING].decode(errors="replace")[:_BEGINNING]
    shown = "".join(sign if sign.isprintable() else " " for sign in beginning).strip()
    head = f"{response.status} {reason}".strip()
    return f"{head}: {shown}" if shown else head


# --- answers that are Kinetica's own ------------------------------------------------------------


def _unwrapped(wrapper: Record, said: str) -> _Outcome:
    if wrapper["status"] == "OK":
        return _Outcome(word=_DONE, record=wrapper["data_str"].encode() or wrapper["data"])
    return _Outcome(word=_ERROR, error=wrapper["message"] or said)


def _wrapper(body: bytes) -> Record | None:
    """Read an answer that is one of Kinetica's, in either encoding; None if it is not."""
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
        ValueError: it is none, or JSON has only half of one of its characters.
    """
    if not isinstance(member, str):
        raise ValueError  # noqa: TRY004 - like the other one
    member.encode()
    return member
