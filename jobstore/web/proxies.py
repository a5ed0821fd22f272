"""Client addresses behind trusted proxies.

Each proxy appends the address of its client to ``X-Forwarded-For`` or ``Forwarded`` (RFC 7239), and
passes on whatever a client has written there. So only the end of the list is reliable, as far as
the proxies that wrote it are trusted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal, TypeAlias

from multidict import MultiMapping

from jobstore.model.frozen import frozen

# The last one is whoever asks over a socket file, which has no address.
Network: TypeAlias = IPv4Network | IPv6Network | Literal["unix:"]
_Address: TypeAlias = IPv4Address | IPv6Address

_FILES: Final = "unix:"
_MOST_HOPS: Final = 32
_LONGEST_NODE: Final = 100
# An address, with a port after it or not: RFC 7239 section 6.
_NODE: Final = re.compile(
    r"\[([0-9A-Fa-f:.]+)\](?::[0-9_.A-Za-z-]+)?|([0-9.]+)(?::[0-9]+)?|([0-9A-Fa-f:.]+)"
)
_SCHEME: Final = re.compile(r"(?i:https?)")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{1,5})?")
# Networks that one customer has as a rule: RFC 6177.
_CUSTOMER: Final = 64


@frozen
class Proxies:
    """The trusted proxies.

    Args:
        networks: their networks.
    """

    networks: Sequence[Network] = ()

    def source(self, peer: str | None, headers: MultiMapping[str]) -> str | None:
        """Return the same as `client`; None for a request that did not come over a network."""
        if peer is None:
            return None
        return (self.client(peer, headers) if self.networks else peer) or None

    def client(self, peer: str, headers: MultiMapping[str]) -> str:
        """Return the address that a request comes from.

        Args:
            peer: the other end of the connection.
        """
        address = _address(peer)
        if not self._is_ours(peer):
            return peer
        by_lists = [
            self._first(address, nodes)
            for field, nodes in (
                ("X-Forwarded-For", _listed(headers.getall("X-Forwarded-For", ()))),
                ("Forwarded", _forwarded(headers.getall("Forwarded", ()))),
            )
            if field in headers
        ]
        # Where two lists do not agree, the client has written one of them.
        return str(by_lists[0] or peer) if len(set(by_lists)) == 1 else peer

    def front(self, peer: str | None, headers: MultiMapping[str]) -> tuple[str, str]:
        """Return the scheme and host that a client used at the first of the proxies.

        Either is "" if no trusted proxy says it. A later proxy that knows better replaces the
        value, so each is a single value.

        Args:
            peer: the other end of the connection.
        """
        if not self._is_ours(peer or ""):
            return "", ""
        forwarded = _pairs(headers.getall("Forwarded", ()))
        scheme = headers.getall("X-Forwarded-Proto", ()) or [forwarded.get("proto", "")]
        host = headers.getall("X-Forwarded-Host", ()) or [forwarded.get("host", "")]
        return _last(scheme, _SCHEME).lower(), _last(host, _HOST)

    def _first(self, address: _Address | None, nodes: Iterator[str]) -> _Address | None:
        """Go back from proxy to proxy, as long as each one is trusted."""
        for _, node in zip(range(_MOST_HOPS), nodes, strict=False):
            before = _address(node)
            if before is None:
                return address
            address = before
            if not self._trusts(address):
                return address
        return address

    def _is_ours(self, peer: str) -> bool:
        """Return whether the other end of a connection is trusted."""
        address = _address(peer)
        return self._trusts(address) if address else not peer and _FILES in self.networks

    def _trusts(self, address: _Address) -> bool:
        return any(network != _FILES and address in network for network in self.networks)


NO_PROXIES: Final = Proxies()


def customer(address: str) -> str:
    """Return the network of an address that one customer is usually given."""
    parsed = _address(address)
    if not isinstance(parsed, IPv6Address):
        return str(parsed or address)
    return str(IPv6Network((parsed, _CUSTOMER), strict=False))


def _address(node: str) -> _Address | None:
    match = _NODE.fullmatch(node.strip()) if len(node) <= _LONGEST_NODE else None
    if match is None:
        return None
    try:
        address = ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _listed(fields: Iterable[str]) -> Iterator[str]:
    """Yield the elements of a list, the last one first."""
    return reversed(",".join(fields).rsplit(",", _MOST_HOPS))


def _last(fields: Sequence[str], pattern: re.Pattern[str]) -> str:
    """Return the last element of a list if it is valid, or else ""."""
    last = fields[-1].rpartition(",")[2].strip()
    return last if pattern.fullmatch(last) else ""


def _pairs(fields: Iterable[str]) -> dict[str, str]:
    """Read the last element of ``Forwarded``."""
    element = ",".join(fields).rpartition(",")[2]
    pairs = [pair.partition("=") for pair in element.split(";")]
    return {name.strip().lower(): value.strip(' \t"') for name, _, value in pairs}


def _forwarded(fields: Iterable[str]) -> Iterator[str]:
    """Yield the addresses in ``Forwarded``, the last one first.

    A quotation mark that a client left open must not hide what a proxy appended, so elements end at
    each comma: no proxy writes one with a comma in it.
    """
    for element in _listed(fields):
        pairs = [pair.partition("=") for pair in element.split(";")]
        nodes = [value.strip(' \t"') for name, _, value in pairs if name.strip().lower() == "for"]
        yield nodes[0] if len(nodes) == 1 else ""
