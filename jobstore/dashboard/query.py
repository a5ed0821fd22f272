"""The filters of the list of jobs: in its URL, or as a line of ``qualifier:value``.

A line is another way to write a URL, to which it redirects; the URL determines what is shown.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, urlencode

from multidict import MultiDict, MultiMapping

from jobstore.model.clock import SECOND, iso
from jobstore.model.errors import QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.kinds import kind_of
from jobstore.model.nearest import nearest
from jobstore.model.written import Duration
from jobstore.store.jobs import LARGEST_ID
from jobstore.web.filters import FILTERS, PageQuery, page_query
from jobstore.web.parameters import id_of

# How many jobs are shown, unless the URL says.
LIMIT: Final = "50"
LINE: Final = "q"
# Which job is the first one that is shown, however many are newer; the script asks for that.
TOP: Final = "top"
# What a form has beside the line, and no URL that it leads to.
_TIMES: Final = ("since", "until", "running_at")
_DURATION: Final = kind_of(Duration)
# A value in quotes may have spaces in it.
_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_UNREADABLE: Final = (
    "expected qualifier:value, such as owner:shop, a path such as /exports, or the id of a job"
)
# Each filter with a value, and which jobs it then finds.
EXAMPLES: Final[Mapping[str, tuple[str, str]]] = {
    "state": ("queued,running", "that are queued or running"),
    "result": ("held", "whose result is held"),
    "owner": ("shop", "that shop submitted"),
    "path": ("/exports", "whose path begins with /exports; the same as /exports alone"),
    "target": ("/v1", "of the target /v1"),
    "definition": ("3", "that are runs of definition 3"),
    "trigger": ("SCHEDULE", "that are runs started by a schedule"),
    "tag": ("nightly", "with the tag nightly"),
    "status": ("5xx", "answered with a status from 500 to 599"),
    "error": ("yes", "that went wrong: failed, or status ≥ 400"),
    "since": ("24h", "submitted since 24 hours ago, or a time such as 2026-11-01T18:00:00Z"),
    "until": ("1h", "submitted until 1 hour ago, or a time"),
    "running_at": ("2h", "that were running 2 hours ago, or at a time"),
}


@frozen(kw_only=True)
class Chip:
    """An active filter.

    Args:
        without: the query of the list without it.
    """

    name: str
    value: str
    without: str


@frozen(kw_only=True)
class Query:
    """The query of a list.

    Args:
        filters: the values of filters, by name.
        others: other parameters, such as how many jobs are on a page.
    """

    filters: Mapping[str, str]
    others: Mapping[str, str]

    @classmethod
    def of(cls, query: MultiMapping[str]) -> "Query":
        """Read the query of a URL; unknown parameters are kept, and refused by the search."""
        values = {name: ",".join(query.getall(name)) for name in dict.fromkeys(query)}
        filters = {name: value for name, value in values.items() if name in FILTERS}
        return cls(
            filters=filters,
            others={name: value for name, value in values.items() if name not in filters},
        )

    @property
    def chips(self) -> list[Chip]:
        """The filters, for people."""
        return [
            Chip(name=name, value=value, without=self.but(**{name: None}))
            for name, value in self.filters.items()
        ]

    def but(self, **changed: str | None) -> str:
        """Return the query of the first page of a list with other filters.

        Args:
            changed: the filters that differ; None removes one.
        """
        return written({**self.filters, **changed})

    def at(self, now: int) -> "Query":
        """Convert relative times to absolute ones."""
        times = {
            name: instant(value, now) if name in _TIMES else value
            for name, value in self.filters.items()
        }
        return Query(filters=times, others=self.others)

    def older(self, cursor: str) -> str:
        """Return the query of the page after this one."""
        rest = {name: value for name, value in self.others.items() if name not in {"cursor", TOP}}
        return written({**self.filters, **rest, "cursor": cursor})

    def page(self, scope: int | None) -> PageQuery:
        """Return the search of the page.

        Raises:
            QueryInvalid: it cannot be understood; the message says what was expected.
        """
        others = {name: value for name, value in self.others.items() if name != TOP}
        return page_query(MultiDict({"limit": LIMIT, **others, **self.filters}), scope)

    @property
    def top(self) -> int | None:
        """The id of the first shown job; None if that is the newest one.

        Raises:
            QueryInvalid: it is not an id.
        """
        if TOP not in self.others or "cursor" in self.others:
            return None
        top = id_of(self.others[TOP])
        if top is None or top >= LARGEST_ID:
            raise QueryInvalid(f"{TOP}: expected the id of a job")
        return top


def written(values: Mapping[str, str | None]) -> str:
    """Return a query string; values that are None are left out."""
    given = {name: value for name, value in values.items() if value is not None}
    return "?" + urlencode(given, safe="/:,", quote_via=quote, errors="replace") if given else "./"


def line_of(text: str) -> dict[str, str]:
    """Read a line of ``qualifier:value``.

    Raises:
        QueryInvalid: it cannot be understood; the message says what was expected.
    """
    found: dict[str, str] = {}
    for word in _WORD.findall(text):
        name, value = _read(word)
        if name in found and name in {"state", "result"}:
            value = f"{found[name]},{value}"
        elif name in found:
            raise QueryInvalid(f"{name}: expected one value")
        found[name] = value
    return found


def meant(text: str) -> str | None:
    """Return a line with a slash before each word that is no filter; None if that is no help."""
    words = [w if ":" in w or w.startswith("/") else f"/{w}" for w in _WORD.findall(text)]
    try:
        line_of(" ".join(words))
    except QueryInvalid:
        return None
    return " ".join(words)


def job_named(text: str) -> int | None:
    """Read the id of a job, as ``#123`` or a bare number; None if the line says anything else."""
    return id_of(text.strip().removeprefix("#"))


def _read(word: str) -> tuple[str, str]:
    if word.startswith("/"):
        return "path", word.replace('"', "")
    name, colon, value = word.partition(":")
    if not colon or not name:
        raise QueryInvalid(f"{word[:100]}: {_UNREADABLE}")
    if name not in FILTERS:
        raise QueryInvalid(f"{name[:100]}: no such filter; did you mean {nearest(name, FILTERS)}?")
    return name, value.replace('"', "")


def line(filters: Mapping[str, str]) -> str:
    """Return filters as a line."""
    return " ".join(f"{name}:{_quoted(value)}" for name, value in filters.items())


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) else value


def instant(text: str, now: int) -> str:
    """Return a time in the form of the API, given as a time or as how long ago it was."""
    try:
        seconds = _DURATION.read(text)
    except ValueError:
        return text
    return iso(now - int(seconds * SECOND))


def command(filters: Mapping[str, str]) -> str | None:
    """Return the command that prints the same list; None if it lacks one of the filters."""
    options: list[str] = []
    for name, value in filters.items():
        if name not in _OPTIONS:
            return None
        options += _options(name, value)
    return " ".join(["jobstore history", *options])


_OPTIONS: Final = frozenset(
    {
        "state",
        "owner",
        "path",
        "definition",
        "tag",
        "status",
        "since",
        "until",
        "running_at",
        "error",
    }
)


def _options(name: str, value: str) -> Iterable[str]:
    match name:
        case "state":
            return [f"--state {each.strip()}" for each in value.split(",")]
        case "error":
            return ["--errors"] if value == "yes" else []
        case _:
            return [f"--{name.replace('_', '-')} {_shell(value)}"]


def _shell(value: str) -> str:
    return shlex.quote(value)
