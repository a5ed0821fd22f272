"""The origin by which a client reached the server, noted with its request.

It follows from the connection, by TLS, or from a trusted proxy. Requests to a service, now or as a
job, are made from the note; see `jobstore.targets.mount`.
"""

from multidict import MultiMapping

from jobstore.model.message import FRONT, Headers, without
from jobstore.web.proxies import Proxies


def told(proxies: Proxies, peer: str | None, headers: MultiMapping[str], *, secure: bool) -> str:
    """Return the origin that a client used, or "" if it is ``http`` and ``Host``.

    Args:
        proxies: the trusted proxies.
        peer: the other end of the connection.
        secure: whether the connection uses TLS.
    """
    if not (secure or proxies.networks):
        return ""
    scheme, host = proxies.front(peer, headers)
    named, scheme = headers.get("Host", ""), scheme or ("https" if secure else "http")
    if scheme == "http" and host in {"", named}:
        return ""
    return f"{scheme}://{host or named}"


def noted(headers: Headers, fields: MultiMapping[str], front: str) -> Headers:
    """Return the headers of a request with its origin noted; clients cannot set the note.

    Args:
        headers: the headers to pass on.
        fields: the headers as received.
        front: the return value of `told`.
    """
    if FRONT in fields:
        headers = without(headers, (FRONT.lower(),))
    return (*headers, (FRONT, front)) if front else headers
