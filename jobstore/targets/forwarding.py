"""What a service learns about its client, by RFC 7239 and the headers that frameworks read.

Only jobstore writes these headers; those of the client were evaluated when the request arrived.
"""

from functools import lru_cache
from typing import Final

from jobstore.model.message import Headers
from jobstore.targets.mount import Front

# The fields in which it stands, in lower case; the last is of `jobstore.targets.mount`.
FORWARDING: Final = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
)
# RFC 1035 section 2.3.4 allows a name of 255 bytes; a port may follow. Longer ones are nobody's.
_LONGEST_HOST: Final = 262


def forwarded(source: str | None, front: Front) -> Headers:
    """Return the headers that say where a request comes from.

    Args:
        source: the address of its client.
        front: the name by which the client reached us.
    """
    scheme, host = front.scheme, front.host
    if host is not None and len(host) > _LONGEST_HOST:
        return _fields.__wrapped__(source, scheme, host)
    return _fields(source, scheme, host)


@lru_cache(maxsize=1024)  # most requests come from a few clients, by the same name
def _fields(source: str | None, scheme: str, host: str | None) -> Headers:
    if source is None and host is None:
        return ()
    node = _quoted(f"[{source}]") if source and ":" in source else source
    pairs = (("for", node), ("host", host and _quoted(host)))
    said = [f"{name}={value}" for name, value in pairs if value]
    fields = (
        ("Forwarded", ";".join([*said, f"proto={scheme}"])),
        ("X-Forwarded-For", source),
        ("X-Forwarded-Host", host),
        ("X-Forwarded-Proto", scheme),
    )
    return tuple([(name, value) for name, value in fields if value])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
