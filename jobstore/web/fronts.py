"""The origin by which a client reached the server, noted with its request.

It follows from the connection, by TLS, or from a trusted proxy. Requests to a service, now or as a
job, are made from the note; see `jobstore.targets.mount`.
"""

from multidict import MultiMapping

from jobstore.model.message import FRONT, Headers, without
from jobstore.web.proxies import Proxies


def told(proxies: Proxies, peer: str | None, headers: MultiMapping[str], *, secure: bool) -> str:
    """Return the origin by which a client has asked, or "" if ``http`` and ``Host`` say it.

    Args:
        proxies: whose word is taken.
        peer: the other end of the connection.
        secure: whether it is one by TLS.
    """
    if not (secure or proxies.networks):
        return ""
    scheme, host = proxies.front(peer, headers)
    named, scheme = headers.get("Host", ""), scheme or ("https" if secure else "http")
    if scheme == "http" and host in {"", named}:
        return ""
    return f"{scheme}://{host or named}"


def noted(headers: Headers, fields: MultiMapping[str], front: str) -> Headers:
    """Return the headers of a request with its origin noted; a client cannot say it.

    Args:
        headers: what goes on.
        fields: what came.
        front: what `told` returns.
    """
    if FRONT in fields:
        headers = without(headers, (FRONT.lower(),))
    return (*headers, (FRONT, front)) if front else headers
