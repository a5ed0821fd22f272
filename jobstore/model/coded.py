"""Jobs submitted from code: checked at once, with messages that say what was expected.

Whatever a type checker would reject is rejected here too, since not everybody runs one.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypedDict

from jobstore.model import idempotency
from jobstore.model.clock import SECOND
from jobstore.model.errors import SubmissionInvalid
from jobstore.model.job import Dialect, Policy, Replay, Submission, Trigger
from jobstore.model.kinds import Kind, kind_of
from jobstore.model.message import ORIGIN_FORM, TOKEN, Headers, Request, header, unsendable
from jobstore.model.nearest import nearest
from jobstore.model.written import Duration, PositiveDuration, ReplayRule, Retries

FieldsAsWritten: TypeAlias = (
    Mapping[str, str | list[str] | tuple[str, ...]] | Iterable[tuple[str, str]]
)
# Seconds, or text such as "2s" or "15m".
Time: TypeAlias = str | float | timedelta

_LARGEST_PRIORITY: Final = 2**31 - 1
_LONGEST_NAME: Final = 255


class JobOptions(TypedDict, total=False):
    """What code may say about a job besides its request.

    Attributes:
        owner: the name of its owner.
        priority: lower numbers run first; 0 if not given.
        tag: a name to find it by, unique among the owner's jobs that have not ended.
        delay: how long to wait before it runs: seconds, ``"2s"`` or a timedelta.
        not_before: the earliest time to run: a datetime with a time zone, or microseconds since
            1970.
        timeout: how long an attempt may take: seconds, ``"5m"`` or a timedelta.
        replay: what runs again after an interruption: ``"idempotent"``, ``"always"`` or
            ``"never"``.
        retries: how often to retry it after a temporary failure.
        key: an idempotency key; a second submission with the same key returns the same job.
        wanted: whether to keep the result; True if not given.
        follows: the id of a job that has to succeed first.
        account: the id of the account it belongs to, if not the owner's.
        policy: timeout, replay and retries as one value.
        trigger: what started it, if it is a run of a definition.
        definition: the id of the definition.
        once: whether reading the result takes it, in every API.
        source: the address that it was submitted from.
    """

    owner: str
    priority: int
    tag: str | None
    delay: Time | None
    not_before: datetime | int | None
    timeout: Time | None
    replay: Replay | str | None
    retries: int | None
    key: str | None
    wanted: bool
    follows: int | None
    account: int
    policy: Policy
    trigger: Trigger | None
    definition: int | None
    once: bool
    source: str | None


def submission(
    method: str,
    path: str,
    headers: FieldsAsWritten,
    body: bytes | str,
    content: object,
    options: Mapping[str, Any],
) -> Submission:
    """Create a submission from arguments given in code.

    Args:
        headers: names and values: a mapping, whose values may be lists, or pairs.
        body: bytes, or text.
        content: a value to send as JSON instead; ``...`` means none.
        options: those of `JobOptions`.

    Raises:
        SubmissionInvalid: an argument is invalid.
    """
    _check_names(options)
    return Submission(
        request=_request(method, path, headers, body, content),
        target="/",
        dialect=Dialect.NATIVE,
        **_members(options),
    )


def _check_names(options: Mapping[str, Any]) -> None:
    known = [*JobOptions.__annotations__, "headers", "body", "json"]
    for name in options:
        if name not in known:
            meant = nearest(name, known)
            raise SubmissionInvalid(f"{name}: no such keyword; did you mean {meant}?")


# --- the request --------------------------------------------------------------------------------


def _request(
    method: str, path: str, headers: FieldsAsWritten, body: bytes | str, content: object
) -> Request:
    if not (isinstance(method, str) and TOKEN.fullmatch(method)):
        raise SubmissionInvalid("method: expected a method such as GET or POST")
    if not (isinstance(path, str) and ORIGIN_FORM.fullmatch(path)):
        raise SubmissionInvalid("path: expected a percent-encoded path that begins with /")
    fields = _fields(headers)
    if problem := unsendable(fields, method):
        raise SubmissionInvalid(f"headers: expected valid HTTP fields, but one {problem}")
    sent, kind = _content(body, content)
    if kind and header(fields, "content-type") is None:
        fields = (*fields, ("Content-Type", kind))
    return Request(method=method, path=path, headers=fields, body=sent)


def _fields(headers: FieldsAsWritten) -> Headers:
    written: Any = headers  # whatever it is said to be
    pairs = written.items() if isinstance(written, Mapping) else written
    try:
        fields = [
            (name, each)
            for name, value in pairs
            for each in (value if isinstance(value, list | tuple) else [value])
        ]
    except (TypeError, ValueError):
        fields = [(None, None)]
    if not all(isinstance(part, str) for field in fields for part in field):
        raise SubmissionInvalid(
            'headers: expected names and values, such as {"Accept": "text/csv"}, or pairs of them'
        )
    return tuple(fields)


def _content(body: bytes | str, content: object) -> tuple[bytes, str]:
    """Return the body and its content type, "" if unknown."""
    if content is not ...:
        if body:
            raise SubmissionInvalid("expected either body or json, and not both")
        return _json(content), "application/json"
    match body:
        case bytes() | bytearray() | memoryview():
            return bytes(body), ""
        case str():
            return _encoded(body), "text/plain; charset=utf-8" if body else ""
    raise SubmissionInvalid(
        f"body: expected bytes or text, not {type(body).__name__}; for JSON, use json="
    )


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise SubmissionInvalid("body: expected text that can be encoded as UTF-8") from None


def _json(content: object) -> bytes:
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SubmissionInvalid(
            f"json: expected a value that JSON can represent: {error}"
        ) from None


# --- what is said of it -------------------------------------------------------------------------


def _members(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a submission, each checked."""
    given = {**options}
    policy = {name: given.pop(name) for name in ("timeout", "replay", "retries") if name in given}
    members = {name: _READ[name](name, value) for name, value in given.items()}
    if policy:
        if "policy" in members:
            raise SubmissionInvalid("expected either policy, or timeout, replay and retries")
        read = {name: _READ[name](name, value) for name, value in policy.items()}
        members["policy"] = Policy(**read)
    if None not in {members.get("delay"), members.get("not_before")}:
        raise SubmissionInvalid("expected either delay or not_before, and not both")
    return members


def _refuse(name: str, expected: str) -> SubmissionInvalid:
    return SubmissionInvalid(f"{name}: expected {expected}")


def _one_of_types(expected: str, *types: type) -> Any:
    def read(name: str, value: object) -> object:
        wrong_flag = isinstance(value, bool) and bool not in types
        if wrong_flag or not isinstance(value, types):
            raise _refuse(name, expected)
        return value

    return read


def _of_kind(kind: Kind[Any]) -> Any:
    def read(name: str, value: object) -> object:
        if value is None:
            return None
        try:
            return kind.read(value.total_seconds() if isinstance(value, timedelta) else value)
        except ValueError:
            raise _refuse(name, f"{kind.expected}, or None") from None

    return read


def _delay(name: str, value: object) -> int | None:
    seconds = _of_kind(kind_of(Duration))(name, value)
    return int(seconds * SECOND) or None if seconds is not None else None


def _not_before(name: str, value: object) -> int | None:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return int(value.timestamp() * SECOND)
    if value is None or type(value) is int:
        return value
    raise _refuse(name, "a datetime with a time zone, or microseconds since 1970, or None")


def _priority(name: str, value: object) -> int:
    if type(value) is int and abs(value) <= _LARGEST_PRIORITY:
        return value
    raise _refuse(name, f"a whole number from -{_LARGEST_PRIORITY} to {_LARGEST_PRIORITY}")


def _tag(name: str, value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) and value.isprintable() else ""
    if text.strip() and len(text) <= _LONGEST_NAME:
        return text
    raise _refuse(name, f"a handle of 1 to {_LONGEST_NAME} characters, or None")


def _key(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _refuse(name, "a key of 1 to 255 printable ASCII characters, or None")
    return None if value is None else idempotency.checked(value)


_ID: Final = _one_of_types("the id of a job, or None", int, type(None))
_FLAG: Final = _one_of_types("True or False", bool)
_READ: Final[Mapping[str, Any]] = {
    "owner": _one_of_types("a name", str),
    "priority": _priority,
    "tag": _tag,
    "delay": _delay,
    "not_before": _not_before,
    "timeout": _of_kind(kind_of(PositiveDuration)),
    "replay": _of_kind(kind_of(ReplayRule)),
    "retries": _of_kind(kind_of(Retries)),
    "key": _key,
    "wanted": _FLAG,
    "follows": _ID,
    "account": _one_of_types("the number of an account", int),
    "policy": _one_of_types("a Policy", Policy),
    "trigger": _one_of_types("a Trigger, or None", Trigger, type(None)),
    "definition": _one_of_types("the id of a definition, or None", int, type(None)),
    "once": _FLAG,
    "source": _one_of_types("an address, or None", str, type(None)),
}
assert _READ.keys() == JobOptions.__annotations__.keys()
