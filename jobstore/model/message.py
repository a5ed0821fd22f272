"""HTTP messages as values, and the header rules that every hop has to follow.

The text of a head represents its bytes: they are decoded as UTF-8, and each invalid byte becomes a
lone surrogate (Python's ``surrogateescape``), so a head is sent exactly as it was received.
"""

import re
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import field, replace
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import Final, Protocol, Self, TypeAlias, runtime_checkable

from jobstore.model.frozen import frozen

Headers: TypeAlias = tuple[tuple[str, str], ...]

# RFC 9110 section 7.6.1: these belong to one connection, not to the message.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# The header that tells a service which job its request is for.
JOB_ID: Final = "Jobstore-Id"
# By which origin a client has asked, where its own connection does not say so; it stays here.
FRONT: Final = "Jobstore-Front"
# What a server tells a service about a job, or keeps with a request; a client cannot.
OURS: Final = ("jobstore-id", "jobstore-attempt", "jobstore-front")
REDACTED: Final = "[redacted]"  # stands in the place of a value that is secret
FINAL: Final = range(200, 600)  # RFC 9110 section 15: what may answer a request for good
# RFC 9110 sections 15.3.5 and 15.4.5: these answers have no body, whatever was asked.
BODILESS: Final = frozenset({204, 304})
# RFC 9112 section 3.2.1, percent-encoded: what a request for a path asks for.
ORIGIN_FORM: Final = re.compile(r"/[!-\"$-~]*")
# RFC 9110 section 5.6.2: what methods and the names of fields are.
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 section 5.5 and RFC 9112 section 4: what no value and no reason phrase may have in it.
# The surrogates here stand for no byte.
_STRAY: Final = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
_ESCAPED: Final = "backslashreplace"
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")
# Names that a server may take for others. WSGI and CGI spell each name with underscores, and some
# servers put one in the place of anything that is no letter or digit: RFC 3875 section 4.1.18.
_PUNCTUATION: Final = re.compile(r"[^0-9a-z]")
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
# Those that Python 3.13 has renamed: what one version takes for the standard phrase, another adds.
_RENAMED: Final = frozenset({413, 414, 416, 422})


@runtime_checkable
class Stream(Protocol):
    """A body too large to be one value in memory.

    Attributes:
        size: its length in bytes, or None if that is not known before its end.
    """

    @property
    def size(self) -> int | None:
        """The length in bytes, or None if that is not known before its end."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...


Body: TypeAlias = bytes | Stream


def body_size(body: Body) -> int | None:
    """Return the length of a body in bytes, or None if it is not known beforehand."""
    return len(body) if isinstance(body, bytes) else body.size


async def chunks(body: Body) -> AsyncIterator[bytes]:
    """Iterate over a body of either kind, without empty chunks."""
    if isinstance(body, bytes):
        if body:
            yield body
        return
    async for chunk in body:
        if chunk:
            yield chunk


@frozen(kw_only=True)
class HeadLimits:
    """Limits for the head of a message.

    Args:
        field_size: the longest field, or first line, in bytes.
        fields: the most fields.
        size: the longest head, in bytes.
    """

    field_size: int = 64 * 1024
    fields: int = 1000
    size: int = 128 * 1024


@frozen(kw_only=True)
class Request:
    """A request as it was received, or as it will be sent.

    Args:
        method: the method, in its original case.
        path: the path with query, percent-encoded as received.
        headers: all fields in their order, repeated ones included.
        body: the content without transfer coding.
    """

    method: str
    path: str
    headers: Headers = ()
    body: Body = b""

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> Self:
        """Return the same request with other headers."""
        return replace(self, headers=tuple(headers))


@frozen(kw_only=True)
class Response:
    """A response as the target gave it.

    Args:
        status: the status code, 200 to 599.
        reason: the reason phrase, or None for the standard one.
        headers: all fields in their order, repeated ones included.
        body: the content without transfer coding.
    """

    status: int
    reason: str | None = None
    headers: Headers = ()
    body: Body = field(default=b"")


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of a header field, its name matched without regard to case."""
    name, length = name.lower(), len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == name:
            return value
    return None


def without(headers: Headers, names: Collection[str]) -> Headers:
    """Return the headers without those with one of the given lower-case names."""
    return tuple([item for item in headers if item[0].lower() not in names])


def without_lookalikes(headers: Headers, names: tuple[str, ...] | frozenset[str]) -> Headers:
    """Return the headers without those that a server may take for one of the given names.

    Args:
        names: in lower case, with hyphens: ``jobstore-id`` stands for ``Jobstore_Id`` as well.
    """
    initials = _initials(names)
    return tuple(
        [
            item
            for item in headers
            if item[0][:1] not in initials  # as most often
            or not ((name := item[0].lower()) in names or _PUNCTUATION.sub("-", name) in names)
        ]
    )


@lru_cache(maxsize=8)
def _initials(names: tuple[str, ...] | frozenset[str]) -> frozenset[str]:
    return frozenset(initial for name in names for initial in (name[0], name[0].upper()))


def dubious(headers: Headers, reason: str | None) -> str:
    """Return the text of a head, or "" if all of it is printable: a quick look before a pattern."""
    text = "".join((reason or "", *chain.from_iterable(headers)))
    return "" if text.isprintable() else text


def unsendable(headers: Headers, reason: str | None = None) -> str | None:
    """Return why a head cannot be sent over HTTP, as the end of a sentence; None if it can."""
    if _UNSENDABLE.search(dubious(headers, reason)):
        return "has a control character in it"
    names = [name for name, _ in headers]
    if "" in names or (names and not TOKEN.fullmatch("".join(names))):
        return "has a name that is none in HTTP"
    return None


def end_to_end(headers: Headers) -> Headers:
    """Return the end-to-end headers: RFC 9110 section 7.6.1.

    Removes hop-by-hop fields and each field that ``Connection`` names.
    """
    if HOP_BY_HOP.isdisjoint([name.lower() for name, _ in headers]):  # as most often
        return headers
    named = {
        option.strip().lower()
        for key, value in headers
        if key.lower() == "connection"
        for option in value.split(",")
    }
    return without(headers, HOP_BY_HOP | named)


def framed(headers: Headers, body: Body) -> Headers:
    """Return a request's headers with the length of its body, if known.

    ``Expect`` is removed: the body is here already (RFC 9110 section 10.1.1).
    """
    kept = without(headers, ("content-length", "expect"))
    size = body_size(body)
    return (*kept, ("Content-Length", str(size))) if size else kept


def bodiless(method: str, status: int) -> bool:
    """Return whether a response has no body, whatever its headers say: RFC 9110 section 6.4.1."""
    return method == "HEAD" or status in BODILESS


def legible(text: str) -> str:
    r"""Return the text of a head for people and JSON, with invalid UTF-8 bytes as ``\xfc``."""
    if text.isascii():
        return text
    return _STRAY.sub("\ufffd", text).encode("utf-8", "surrogateescape").decode(errors=_ESCAPED)


def loggable(words: object, most: int = 500) -> str:
    """Return a client's text for the log: cut, and without line breaks.

    Args:
        words: the text, or an error that repeats it.
        most: the most characters to show.
    """
    text = legible(str(words))
    shown = text[:most]
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in shown)
    return shown if len(text) <= most else f"{shown}…"


def own_phrase(status: int, phrase: str) -> str | None:
    """Return a reason phrase, or None if it is empty or goes without saying: 200 OK."""
    if status in _RENAMED:
        return phrase or None
    return None if phrase in ("", _PHRASES.get(status)) else phrase


def phrase_of(status: int) -> str:
    """Return the standard reason phrase of a status, or "" if it has none."""
    return _PHRASES.get(status, "")
