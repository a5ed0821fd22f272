"""How paths and locations are mapped between a target and its clients.

A client asks for ``/api/x``, and its service may know that as ``/x``, or as ``/app/x`` of a host of
its own. Locations in the responses of the service are rewritten for the client: RFC 9110 sections
8.7 and 10.2.2.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jobstore.model.message import FRONT, Headers, Request

# What names a place in an answer, in lower case.
_PLACES: Final = frozenset({"location", "content-location"})
_ABSOLUTE: Final = re.compile(r"(?:(https?):)?//([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_HOST: Final = len("host")
_DEFAULT_PORTS: Final[Mapping[str, str]] = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Front:
    """The name by which a client reached the server.

    Args:
        scheme: ``http`` or ``https``.
        host: the host with its port, or None if none was named.
        named: the one in ``Host``, which a proxy may have put there.
    """

    scheme: str
    host: str | None
    named: str | None

    @property
    def origin(self) -> str:
        """What stands before a path; nothing if that is not known."""
        return "" if self.host is None else f"{self.scheme}://{self.host}"


def front_of(request: Request) -> Front:
    """Return the name by which a client reached the server."""
    told = named = None
    for name, value in request.headers:
        if len(name) == _HOST and name.lower() == "host":
            named = value if named is None else named
        elif name == FRONT:  # as it was noted
            told = value
    if told is None:
        return Front("http", named, named)
    scheme, _, host = told.partition("://")
    return Front(scheme, host or None, named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """How paths in front stand for those of a target.

    Args:
        prefix: what is cut off, such as ``/api``; nothing if the whole path goes on.
        base: what is put before the rest: the path of the service's own URL, without a last slash.
        origin: the service's own, such as ``http://127.0.0.1:9000``; nothing in process.
    """

    prefix: str = ""
    base: str = ""
    origin: str = ""

    @property
    def told(self) -> Headers:
        """The prefix that a service is told."""
        return (("X-Forwarded-Prefix", self.prefix),) if self.prefix else ()

    def path(self, path: str) -> str:
        """Return the path to ask for."""
        path = path.partition("#")[0].removeprefix(self.prefix)
        # Without a slash in between, a path such as "@example.com" would lead to another host.
        return f"{self.base}{path}" if path.startswith("/") else f"{self.base}/{path}"

    def places(self, headers: Headers, request: Request) -> Headers:
        """Return the headers of an answer with its places as its client may ask for them."""
        front = front_of(request)
        return tuple(
            [
                (name, self._place(value, front) if name.lower() in _PLACES else value)
                for name, value in headers
            ]
        )

    def _place(self, place: str, front: Front) -> str:
        absolute = _ABSOLUTE.fullmatch(place)
        if absolute is None:
            rest = self._back(place) if place.startswith("/") and not self._knows(place) else None
            return place if rest is None else rest
        scheme, authority, tail = absolute.groups()
        origin = f"{scheme or front.scheme}://{authority}"
        own = _same(origin, self.origin) or (not scheme and _same_authority(origin, self.origin))
        if not own and (self._knows(tail) or not _same_authority(origin, front.origin)):
            return place
        rest = self._back(tail)
        if rest is None:
            return place
        return front.origin + rest if own else place[: absolute.start(3)] + rest

    def _knows(self, path: str) -> bool:
        """Tell whether a service has used what it was told of its prefix."""
        return bool(self.prefix) and _below(self.prefix, path)

    def _back(self, path: str) -> str | None:
        """Return the path in front for a path of the service; None if there is none."""
        if self.base:
            if not _below(self.base, path):
                return None
            path = path[len(self.base) :]
        if not path.startswith("/") and (self.base or self.prefix or not path):
            path = f"/{path}"
        return f"{self.prefix}{path}"


def _below(prefix: str, path: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"", "/", "?", "#"}


def _same(origin: str, other: str) -> bool:
    return bool(other) and _written(origin) == _written(other)


def _same_authority(origin: str, other: str) -> bool:
    return bool(other) and _written(origin).split("://")[1] == _written(other).split("://")[1]


def _written(origin: str) -> str:
    """Write an origin in one way."""
    scheme, _, authority = origin.lower().partition("://")
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"
