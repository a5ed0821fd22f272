"""How paths and locations are mapped between a target and its clients.

A client's ``/api/x`` may be the service's ``/x``, or ``/app/x`` on a host of its own.
Locations in the service's responses are rewritten for the client: RFC 9110 sections
8.7 and 10.2.2.
"""

import re
from collections.abc import Mapping
from typing import Final

from jobstore.model.frozen import frozen
from jobstore.model.message import FRONT, Headers, Request

# What names a place in an answer, in lower case.
_PLACES: Final = frozenset({"location", "content-location"})
_ABSOLUTE: Final = re.compile(r"(?:(https?):)?//([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_HOST: Final = len("host")
_DEFAULT_PORTS: Final[Mapping[str, str]] = {"http": ":80", "https": ":443"}


@frozen
class Front:
    """The name by which a client reached the server.

    Args:
        scheme: ``http`` or ``https``.
        host: the host with its port, or None if unknown.
        named: the value of ``Host``, which a proxy may have set.
    """

    scheme: str
    host: str | None
    named: str | None

    @property
    def origin(self) -> str:
        """The origin as text; "" if unknown."""
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


@frozen(kw_only=True)
class Mount:
    """How clients' paths are mapped to a target's paths.

    Args:
        prefix: the prefix to remove, such as ``/api``; "" for none.
        base: the path to prepend: the path of the service's URL, without a slash at its end.
        origin: the service's origin, such as ``http://127.0.0.1:9000``; "" in process.
    """

    prefix: str = ""
    base: str = ""
    origin: str = ""

    @property
    def told(self) -> Headers:
        """The prefix that the service is told."""
        return (("X-Forwarded-Prefix", self.prefix),) if self.prefix else ()

    def path(self, path: str) -> str:
        """Return the service's path for a client's path."""
        path = path.partition("#")[0].removeprefix(self.prefix)
        # Without a slash in between, a path such as "@example.com" would lead to another host.
        return f"{self.base}{path}" if path.startswith("/") else f"{self.base}/{path}"

    def places(self, headers: Headers, request: Request) -> Headers:
        """Return the headers of an answer with locations rewritten for the client."""
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
        """Return whether a location already includes the prefix that the service was told."""
        return bool(self.prefix) and _below(self.prefix, path)

    def _back(self, path: str) -> str | None:
        """Return the client's path for a service's path; None if there is none."""
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
    """Return an origin in its normal form."""
    scheme, _, authority = origin.lower().partition("://")
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"
