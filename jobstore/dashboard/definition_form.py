"""Convert a definition to the fields of a form, and back.

The fields are the members of ``PATCH /_jobs/definitions/{id}``, as text; empty ones are sent as
null. Errors are reported for the same names.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from jobstore.dashboard.forms import Fields
from jobstore.model.definition import Draft
from jobstore.model.definition_reader import change, parse
from jobstore.model.errors import DefinitionInvalid, JobstoreError
from jobstore.model.job import Replay
from jobstore.model.message import REDACTED, Request
from jobstore.model.schedule import CatchUp, Overlap, Schedule

HEADERS: Final = "headers"
BODY: Final = "body"
# What is chosen from, by the name of the field.
CHOICES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {"replay": tuple(Replay), "catch_up": tuple(CatchUp), "overlap": tuple(Overlap)}
)
_PLAIN: Final = ("name", "path", "method", "target", "timeout", "replay")
_SCHEDULE: Final = ("cron", "time_zone", "catch_up", "overlap")
# A form takes 64 KiB, in which a byte of a body may take three.
_LARGEST_BODY: Final = 16 * 2**10
_MOST_DIGITS: Final = 9  # of a number; none that is accepted has more
_SOME: Final = Draft(name="-", path="/-", request=Request(method="GET", path="/"))
_EMPTY: Final = Draft(name="", path="", request=Request(method="GET", path=""))


def written(draft: Draft, secret: frozenset[str]) -> Fields:
    """Write a definition as fields.

    Args:
        secret: lower-case names of headers whose values are not shown.
    """
    policy, schedule = draft.policy, draft.schedule or Schedule(cron="")
    return {
        "name": draft.name,
        "path": draft.path,
        "method": draft.request.method,
        "target": draft.request.path,
        "timeout": "" if policy.timeout is None else f"{policy.timeout:g}s",
        "replay": policy.replay or "",
        "retries": "" if policy.retries is None else str(policy.retries),
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "catch_up": schedule.catch_up,
        "overlap": schedule.overlap,
        HEADERS: _headers(draft, secret),
        BODY: shown_body(draft) or "" if is_editable(draft) else "",
    }


def changes(draft: Draft, fields: Fields, secret: frozenset[str]) -> Mapping[str, Any]:
    """Read the changes, as the members of a PATCH.

    Raises:
        DefinitionInvalid: the headers cannot be read.
    """
    members: dict[str, Any] = {
        name: fields[name].strip() or None for name in _PLAIN if name in fields
    }
    if "retries" in fields:
        members["retries"] = _number(fields["retries"].strip())
    if "cron" in fields:
        members["schedule"] = _schedule(fields)
    if HEADERS in fields and _lines(fields[HEADERS]) != _lines(_headers(draft, secret)):
        members[HEADERS] = _read_headers(draft, fields[HEADERS], secret)
    if BODY in fields and is_editable(draft):
        body = _unix(fields[BODY])
        if body != _unix(shown_body(draft) or ""):
            members[BODY] = body or None
    return members


def blank() -> Fields:
    """Return the fields of a form that nobody has filled in."""
    return written(_EMPTY, frozenset())


def created(fields: Fields, secret: frozenset[str]) -> Draft:
    """Read a definition that is new.

    Raises:
        DefinitionInvalid: it is invalid; the message says which field, and what was expected.
    """
    members = changes(_EMPTY, {**blank(), **fields}, secret)
    return parse(_given(members))


def schedule_of(fields: Fields) -> Schedule | None:
    """Read when it runs by itself; None if it does not, or that cannot be read."""
    members = _schedule(fields)
    try:
        return change(_SOME, {"schedule": members}).schedule if members else None
    except DefinitionInvalid:
        return None


def problems(error: JobstoreError) -> Mapping[str, str]:
    """Return the problems by field; those of no field by ""."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in str(error).splitlines():
        name, colon, _ = line.removeprefix("schedule.").partition(": ")
        known = colon and name in {*_PLAIN, *_SCHEDULE, "retries", HEADERS, BODY}
        found[name if known else ""].append(line)
    return {name: "; ".join(lines) for name, lines in found.items()}


def shown_body(draft: Draft) -> str | None:
    """Return its body as text; None if it is not text."""
    try:
        return body_of(draft).decode()
    except UnicodeDecodeError:
        return None


def is_editable(draft: Draft) -> bool:
    """Return whether its body is text, and short enough for a form."""
    return len(body_of(draft)) <= _LARGEST_BODY and shown_body(draft) is not None


def body_of(draft: Draft) -> bytes:
    """Return its body."""
    body = draft.request.body
    assert isinstance(body, bytes)
    return body


def _given(members: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _number(text: str) -> int | str | None:
    """Read a number; anything else is left unchanged, to be reported as an error."""
    whole = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if whole else text or None


def _schedule(fields: Fields) -> Mapping[str, str | None] | None:
    if not fields["cron"].strip():
        return None
    return {name: fields.get(name, "").strip() or None for name in _SCHEDULE}


# --- headers and text -----------------------------------------------------------------------------


def _headers(draft: Draft, secret: frozenset[str]) -> str:
    return "\n".join(
        f"{name}: {REDACTED if name.lower() in secret else value}"
        for name, value in draft.request.headers
    )


def _read_headers(
    draft: Draft, text: str, secret: frozenset[str]
) -> Mapping[str, str | Sequence[str]]:
    """Read lines of headers; a hidden secret keeps its value unless it is entered again.

    Raises:
        DefinitionInvalid: a line is invalid.
    """
    kept: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in draft.request.headers:
        kept[name.lower()].append(value)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in _lines(text):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not name:
            raise DefinitionInvalid("headers: expected a line such as Accept: text/csv for each")
        own = kept[name.lower()]
        hidden = value == REDACTED and name.lower() in secret and own
        found[name].append(own.pop(0) if hidden else value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _unix(text: str) -> str:
    """Convert line ends to single line feeds: browsers send CR LF."""
    return text.replace("\r\n", "\n")
