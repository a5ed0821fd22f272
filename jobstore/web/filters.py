"""Which jobs of the history are asked for: filters, pages, and cursors that fit one query."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, TypeVar

from multidict import MultiMapping

from jobstore.model.errors import QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.job import Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.model.nearest import nearest
from jobstore.store.search import Search
from jobstore.web.parameters import is_count, value_of
from jobstore.web.times import microseconds, zoned

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000
_LARGEST: Final = 2**63 - 1
_LISTS: Final = frozenset({"state", "result"})

_STATUS: Final = re.compile(r"([1-5])xx|([1-5][0-9][0-9])")
# In a query, a plus is read as a space.
_LOST_PLUS: Final = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")

E = TypeVar("E", bound=StrEnum)


@frozen
class PageQuery:
    """A page of a list.

    Args:
        search: which jobs are listed.
        limit: how many at most.
        before: list only jobs with a smaller id.
        query: identifies the list's filters.
    """

    search: Search
    limit: int
    before: int
    query: str

    def cursor(self, last: int) -> str:
        """Return the cursor of the page after this one.

        Args:
            last: the id of the last job that was looked at.
        """
        return urlsafe_b64encode(f"{self.query}.{last}".encode()).decode().rstrip("=")


def page_query(query: MultiMapping[str], scope: int | None) -> PageQuery:
    """Read the filters and page of a request.

    Args:
        query: the request's query.
        scope: whose jobs the caller may see, or None for everybody's.

    Raises:
        QueryInvalid: it is invalid; the message says what was expected.
    """
    values = values_of(query, (*FILTERS, "limit", "cursor"))
    filters = {name: value for name, value in values.items() if name in FILTERS}
    search = search_of(filters, scope)
    own = _digest({"scope": scope, **filters})
    return PageQuery(search, limit_of(values.get("limit")), _before(values.get("cursor"), own), own)


def search_of(filters: Mapping[str, str], scope: int | None) -> Search:
    """Read filters.

    Args:
        filters: their values, by name.
        scope: whose jobs the caller may see, or None for everybody's.

    Raises:
        QueryInvalid: one of them is invalid; the message says what was expected.
    """
    found: dict[str, Any] = {}
    for name, value in filters.items():
        found |= FILTERS[name](name, value)
    if found.get("since", 0) > found.get("until", _LARGEST):
        raise QueryInvalid("until: expected a time that is not before since")
    return Search(**found, account=scope)


def values_of(query: MultiMapping[str], known: Sequence[str]) -> dict[str, str]:
    """Return the values of parameters by name.

    Args:
        known: the names of all parameters.

    Raises:
        QueryInvalid: an unknown one is given, or one is repeated.
    """
    return {name: _one_of(query, name, known) for name in sorted(set(query))}


def _one_of(query: MultiMapping[str], name: str, known: Sequence[str]) -> str:
    """Return the value of a parameter; a filter that takes a list may have several."""
    if name not in known:
        raise QueryInvalid(f"{name[:100]}: no such parameter; did you mean {nearest(name, known)}?")
    if name in _LISTS:
        return ",".join(query.getall(name))
    return value_of(query, name) or ""


def limit_of(text: str | None) -> int:
    """Read the length of a page.

    Raises:
        QueryInvalid: it is invalid.
    """
    limit = _PAGE if text is None else int(text) if is_count(text) else 0
    if not 1 <= limit <= _LARGEST_PAGE:
        raise QueryInvalid(f"limit: expected a whole number from 1 to {_LARGEST_PAGE}")
    return limit


# --- filters ------------------------------------------------------------------------------------


def _words(of: type[E], member: str) -> Callable[[str, str], dict[str, Any]]:
    def filter_of(name: str, text: str) -> dict[str, Any]:
        try:
            return {member: tuple(of(word.strip()) for word in text.split(","))}
        except ValueError:
            raise QueryInvalid(f"{name}: expected one or more of {', '.join(of)}") from None

    return filter_of


def _trigger(name: str, text: str) -> dict[str, Any]:
    try:
        return {"trigger": Trigger(text)}
    except ValueError:
        raise QueryInvalid(f"{name}: expected one of {', '.join(Trigger)}") from None


def _yes_or_no(member: str) -> Callable[[str, str], dict[str, Any]]:
    def filter_of(name: str, text: str) -> dict[str, Any]:
        if text not in {"yes", "no"}:
            raise QueryInvalid(f"{name}: expected yes or no")
        return {member: text == "yes"}

    return filter_of


def _text(name: str, text: str) -> dict[str, Any]:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryInvalid(f"{name}: expected text in UTF-8") from None
    return {name: text}


def _number(name: str, text: str) -> dict[str, Any]:
    if not is_count(text):
        raise QueryInvalid(f"{name}: expected a whole number")
    return {name: int(text)}


def _status(name: str, text: str) -> dict[str, Any]:
    match = _STATUS.fullmatch(text)
    if not match:
        raise QueryInvalid(f"{name}: expected a status code such as 404, or a class such as 5xx")
    lowest = int(match[2] or match[1] + "00")
    return {"lowest_status": lowest, "highest_status": lowest if match[2] else lowest + 99}


def _time(name: str, text: str) -> dict[str, Any]:
    try:
        return {name: microseconds(zoned(_LOST_PLUS.sub("+", text)))}
    except (ValueError, OverflowError):
        expected = "a time with its zone such as 2026-11-01T18:00:00Z"
        raise QueryInvalid(f"{name}: expected {expected}") from None


FILTERS: Final[Mapping[str, Callable[[str, str], dict[str, Any]]]] = {
    "state": _words(State, "states"),
    "result": _words(Result, "results"),
    "owner": _text,
    "path": _text,
    "target": _text,
    "definition": _number,
    "trigger": _trigger,
    "tag": _text,
    "status": _status,
    "error": _yes_or_no("errors"),
    "since": _time,
    "until": _time,
    "running_at": _time,
}

# --- cursors ------------------------------------------------------------------------------------


def _digest(query: Mapping[str, object]) -> str:
    return blake2b(json.dumps(query).encode(), digest_size=8).hexdigest()


def _before(cursor: str | None, query: str) -> int:
    """Read the cursor of a page.

    Raises:
        QueryInvalid: it is invalid, or belongs to another query.
    """
    if cursor is None:
        return _LARGEST
    own, last = _decoded(cursor)
    if own != query:
        raise QueryInvalid("cursor: it belongs to another query; repeat the query that gave it")
    return last


def _decoded(cursor: str) -> tuple[str, int]:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        text = ""
    match = re.fullmatch(r"([0-9a-f]{16})\.([0-9]{1,18})", text)
    if not match:
        raise QueryInvalid("cursor: expected the next of an earlier page")
    return match[1], int(match[2])
