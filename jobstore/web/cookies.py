"""The one cookie: by it a browser shows the session that somebody has logged in for.

It is for pages alone. No API call is let in by it, and it goes on to no target: what answers there
may be less careful with it than we are.
"""

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from jobstore.model.message import Headers

SESSION: Final = "jobstore_session"
_HEADER: Final = "Cookie"


def session_of(headers: MultiMapping[str]) -> str | None:
    """Return the secret of the session that a browser shows; None if it shows none.

    Of several the first one is meant: RFC 6265 section 5.4 puts the longest path there.
    """
    return next(
        (value.strip('"') for name, value in map(_pair, _cookies(headers)) if name == SESSION), None
    )


def without_session(headers: Headers, fields: MultiMapping[str]) -> Headers:
    """Return the headers of a request as they go on, without the cookie.

    Args:
        headers: what goes on.
        fields: what came.
    """
    if not any(SESSION in field for field in fields.getall(_HEADER, ())):  # as most often
        return headers
    kept = ((name, _others(name, value)) for name, value in headers)
    return tuple([(name, value) for name, value in kept if value is not None])


def give(response: web.Response, secret: str, *, secure: bool) -> None:
    """Let a browser keep a session for as long as it runs.

    It has no path, and so it is sent where the page is that gives it, and below: only the browser
    knows where that is if a proxy cuts off the beginning of paths (RFC 6265 section 5.1.4).

    Args:
        secure: whether the browser has asked by TLS, and shall never send it otherwise.
    """
    response.set_cookie(SESSION, secret, path="", httponly=True, samesite="Lax", secure=secure)


def take_back(response: web.Response, *, secure: bool) -> None:
    """Let a browser forget its session."""
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
    """Give a field without the cookie; None if nothing is left of it."""
    if name.lower() != _HEADER.lower() or SESSION not in value:
        return value
    others = [each.strip() for each in value.split(";") if _pair(each)[0] != SESSION]
    return "; ".join(others) or None
