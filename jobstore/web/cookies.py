"""The session cookie of browsers.

It is for the dashboard's pages only. API calls do not accept it, and it is not passed to targets,
which may be less careful with it.
"""

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.model.message import Headers

SESSION: Final = "jobstore_session"
_HEADER: Final = "Cookie"


def session_of(headers: MultiMapping[str]) -> str | None:
    """Return the session secret of a request's cookie; None if there is none.

    If there are several, the first one counts: RFC 6265 section 5.4 puts the longest path first.
    """
    return next(
        (value.strip('"') for name, value in map(_pair, _cookies(headers)) if name == SESSION), None
    )


def without_session(headers: Headers, fields: MultiMapping[str]) -> Headers:
    """Return the headers to pass on, without the session cookie.

    Args:
        headers: the headers to pass on.
        fields: the headers as received.
    """
    if _HEADER not in fields or not any(SESSION in field for field in fields.getall(_HEADER)):
        return headers
    kept = ((name, _others(name, value)) for name, value in headers)
    return tuple([(name, value) for name, value in kept if value is not None])


def give(response: web.Response, secret: str, *, secure: bool) -> None:
    """Set the session cookie; the browser keeps it until it is closed.

    It has no path, so the browser sends it to the folder of the page that sets it, and below: if a
    proxy strips a prefix, only the browser knows that path (RFC 6265 section 5.1.4).

    Args:
        secure: whether the browser used TLS, and must never send it without.
    """
    response.set_cookie(SESSION, secret, path="", httponly=True, samesite="Lax", secure=secure)


def take_back(response: web.Response, *, secure: bool) -> None:
    """Delete the session cookie."""
    response.set_cookie(
        SESSION, "", max_age=0, path="", httponly=True, samesite="Lax", secure=secure
    )


def _cookies(headers: MultiMapping[str]) -> Iterator[str]:
    for field in headers.getall(_HEADER, ()):
        yield from field.split(";")


def _pair(cookie: str) -> tuple[str, str]:
    name, _, value = cookie.partition("=")
    return name.strip(), value.strip()


def _others(name: str, value: str) -> str | None:
    """Return a ``Cookie`` field without the session; None if nothing is left."""
    if name.lower() != _HEADER.lower() or SESSION not in value:
        return value
    others = [each.strip() for each in value.split(";") if _pair(each)[0] != SESSION]
    return "; ".join(others) or None
