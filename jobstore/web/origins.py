"""Which web pages and host names may be used: a decision from the headers of a request alone.

A browser lets any page send requests to any server that it can reach, even a local one. Two headers
that no page can forge say where the page comes from: ``Origin`` (RFC 6454, and the Fetch standard,
https://fetch.spec.whatwg.org/#origin-header) and ``Sec-Fetch-Site``
(https://w3c.github.io/webappsec-fetch-metadata/). Programs other than browsers send neither.

If a page's host name was made to point at this server (DNS rebinding), the browser considers it
the same origin, but sends that name as ``Host``. So without accounts, only names are accepted that
nobody else can give to a server.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from multidict import CIMultiDict, MultiMapping

from jobstore.model.frozen import frozen
from jobstore.model.message import TOKEN

# RFC 1035 section 2.3.4 allows a name of 255 bytes; a port may follow.
_LONGEST_AUTHORITY: Final = 262
_MOST_KNOWN: Final = 256  # nearly all requests name the same one
_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]\\]+))(?::([0-9]{0,5}))?")
_DEFAULT_PORTS: Final[Mapping[str, str]] = {"http": "80", "https": "443"}
# No public DNS answers for these: RFC 6761, RFC 6762, RFC 8375, and ICANN's resolution of
# 2024-07-29 about "internal".
_PRIVATE: Final = (".localhost", ".test", ".local", ".home.arpa", ".internal")

_SITE: Final = "Sec-Fetch-Site"
_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
# What our own APIs read.
_READ: Final = frozenset(
    {
        "accept",
        "authorization",
        "cache-control",
        "content-type",
        "idempotency-key",
        "if-range",
        "jobstore-attempt",
        "last-event-id",
        "prefer",
        "range",
        "x-arango-async",
    }
)
_MOST_NAMES: Final = 128
_MAX_AGE: Final = "3600"
_EXPOSED: Final = (
    "x-arango-async-id",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "Jobstore-Status",
)


@frozen
class OriginDecision:
    """What happens to a request.

    Args:
        status: the status to refuse it with, or 0 if it is allowed.
        detail: why it is refused, in a sentence.
        page: the origin of another server's page that may read the answer, or None.
    """

    status: int = 0
    detail: str = ""
    page: str | None = None


FINE: Final = OriginDecision()
_MISDIRECTED: Final = OriginDecision(
    421,
    "without accounts, this server answers only to its own names: use localhost, or add the name "
    "to [server] hosts",
)
_FOREIGN: Final = OriginDecision(
    403, "pages of other origins are refused: add this one to [server] origins"
)


@frozen
class Rules:
    """Which pages and host names are allowed.

    Args:
        origins: the origins of allowed pages, in lower case and without a default port.
        hosts: names of this server besides loopback ones, in lower case.
        public: whether the server is meant to be reached from elsewhere: then addresses are its
            names as well, and so are names that no public DNS answers for.
    """

    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    public: bool = False
    _known: dict[str, bool] = field(default_factory=dict, init=False, compare=False, repr=False)

    @classmethod
    def of(cls, origins: Iterable[str], hosts: Iterable[str], *, public: bool) -> "Rules":
        """Create rules; a trusted origin's host is a valid name: it may be this server's proxy."""
        named = frozenset(map(origin_of, origins))
        own = {host_of(origin.partition("://")[2]) for origin in named}
        own |= {host_of(f"[{host}]" if ":" in host else host) for host in hosts}
        return cls(named, frozenset(host for host in own if host), public)

    def decide(
        self, headers: MultiMapping[str], authority: str | None = None, *, anonymous: bool
    ) -> OriginDecision:
        """Decide about a request to one of our APIs or for a job.

        Args:
            authority: the authority in its target, if that is a full URL.
            anonymous: whether callers need no account.
        """
        if anonymous and not self._reached(headers, authority):
            return _MISDIRECTED
        if "Origin" not in headers and _SITE not in headers:  # as most requests are
            return FINE
        return self._page(headers)

    def plain(self, headers: MultiMapping[str], *, anonymous: bool) -> bool:
        """Return whether `decide` certainly allows a request, which no browser sent.

        That is so for nearly all requests, except the first one with each name of this server.
        """
        if "Origin" in headers or _SITE in headers:
            return False
        if not anonymous:
            return True
        names = headers.getall("Host", ())
        return len(names) == 1 and self._known.get(names[0], False)

    def _page(self, headers: MultiMapping[str]) -> OriginDecision:
        """Decide about a request that a browser sends on behalf of a page."""
        site = headers.get(_SITE, "").strip().lower()
        if site == "same-origin":  # also behind a proxy that changes Host
            return FINE
        origins = headers.getall("Origin", ())
        unsaid = site in {"", "none"}
        if not origins:
            return FINE if unsaid else _FOREIGN
        origin = origins[0].strip()
        if len(origins) == 1 and origin_of(origin) in self.origins:
            return OriginDecision(page=origin)
        host = headers.get("Host", "")
        ours = unsaid and all(_same(each.strip().lower(), host) for each in origins)
        return FINE if ours else _FOREIGN

    def _reached(self, headers: MultiMapping[str], authority: str | None) -> bool:
        """Return whether all host names in a request are names of this server.

        Browsers always send one; a client that sends none, such as with HTTP/1.0, is not a browser.
        """
        names = headers.getall("Host", ())
        if len(names) == 1 and authority is None:
            return self._is_own(names[0])
        return all(map(self._is_own, names)) and (authority is None or self._is_own(authority))

    def _is_own(self, authority: str) -> bool:
        known = self._known.get(authority)
        if known is None:
            known = self._looked_up(authority)
            if len(self._known) < _MOST_KNOWN and len(authority) <= _LONGEST_AUTHORITY:
                self._known[authority] = known
        return known

    def _looked_up(self, authority: str) -> bool:
        if not authority:
            return True
        host = host_of(authority)
        if host is None:
            return False
        return _is_loopback(host) or host in self.hosts or (self.public and _is_private(host))


def host_of(authority: str) -> str | None:
    """Return the host of a ``Host`` header in its normal form; None if it is invalid."""
    return _split(authority)[0] if len(authority) <= _LONGEST_AUTHORITY else None


def origin_of(origin: str) -> str:
    """Return an origin in lower case and without a default port; anything else is unchanged."""
    scheme, separator, authority = origin.strip().lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}{separator}{authority.removesuffix(f':{port}')}"


def _split(authority: str) -> tuple[str | None, str]:
    match = _AUTHORITY.fullmatch(authority.strip().lower())
    if not match:
        return None, ""
    host = match[1] or match[2].removesuffix(".")
    address = _address(host)
    return (str(address) if address else host) or None, match[3] or ""


def _same(origin: str, authority: str) -> bool:
    """Return whether an origin is the server's own.

    Its scheme is ignored: a proxy may offer the server by HTTPS.
    """
    scheme, separator, own = origin.partition("://")
    if not separator or max(len(own), len(authority)) > _LONGEST_AUTHORITY:
        return False
    default = _DEFAULT_PORTS.get(scheme, "")
    (host, port), (asked, asked_port) = _split(own), _split(authority)
    return host is not None and (host, port or default) == (asked, asked_port or default)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _is_private(host: str) -> bool:
    """Return whether strangers cannot make a host name point here: an address or a local name."""
    return _address(host) is not None or "." not in host or host.endswith(_PRIVATE)


# --- CORS: https://fetch.spec.whatwg.org/#http-cors-protocol ------------------------------------


def is_preflight(method: str, headers: MultiMapping[str]) -> bool:
    """Return whether a request is a preflight."""
    return method == "OPTIONS" and "Origin" in headers and _ASKED_METHOD in headers


_ASKED_METHOD: Final = "Access-Control-Request-Method"
_ASKED_HEADERS: Final = "Access-Control-Request-Headers"


def asked_headers(headers: MultiMapping[str]) -> list[str]:
    """Return the names of the headers that a page wants to send, in lower case."""
    names = [name.strip().lower() for name in headers.get(_ASKED_HEADERS, "").split(",")]
    return [name for name in names[:_MOST_NAMES] if TOKEN.fullmatch(name)]


def leave(headers: MultiMapping[str], *, submission: bool) -> dict[str, str]:
    """Return the headers that answer a preflight of an allowed page.

    Args:
        headers: the preflight's headers.
        submission: whether it is for a submission, which may have any method and header.
    """
    names, method = asked_headers(headers), headers.get(_ASKED_METHOD, "")
    own = submission and method not in _METHODS and TOKEN.fullmatch(method[:20]) is not None
    return {
        "Access-Control-Allow-Methods": ", ".join([*_METHODS, *([method[:20]] if own else [])]),
        "Access-Control-Allow-Headers": ", ".join(
            name for name in dict.fromkeys(names) if submission or name in _READ
        ),
        "Access-Control-Max-Age": _MAX_AGE,
    }


def let_read(headers: CIMultiDict[str], page: str) -> None:
    """Let a page of a trusted origin read an answer.

    A stored answer may have been meant for another page, so its own CORS headers are replaced.
    """
    headers["Access-Control-Allow-Origin"] = page
    headers["Access-Control-Allow-Credentials"] = "true"
    _extend(headers, "Access-Control-Expose-Headers", _EXPOSED)
    _extend(headers, "Vary", ("Origin",))


def _extend(headers: CIMultiDict[str], name: str, values: Iterable[str]) -> None:
    """Add values to a list field, once each; ``*`` does not count with credentials."""
    fields = headers.popall(name, [])
    given = [value.strip() for field in fields for value in field.split(",")]
    every = {value.lower(): value for value in (*given, *values) if value}
    headers[name] = ", ".join(every.values())
