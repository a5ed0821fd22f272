"""Annotated types for durations, sizes, names and URLs, each with its kind.

The configuration is read with these alone. The pydantic models that read what clients send have
fields of the same types, so both read values in the same way.
"""

from ipaddress import IPv4Network, IPv6Network
from math import ulp
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from jobstore.model.address import Address, read_address
from jobstore.model.job import Replay
from jobstore.model.kinds import (
    Kind,
    base_url,
    credential,
    decimal,
    duration,
    file_name,
    flag,
    like,
    list_of,
    network,
    one_of,
    or_auto,
    or_credential,
    or_never,
    size,
    time_zone,
    whole,
)
from jobstore.model.message import TOKEN

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
KIB: Final = 2**10
MIB: Final = 2**20
GIB: Final = 2**30
DIALECTS: Final = ("kinetica", "datameer")

_DURATION: Final = "a duration such as 500ms, 30s, 15m, 24h or 30d"
_SIZE: Final = "a size such as 262144, 256KiB or 1GiB"
_LONGER_THAN_0: Final = duration(f"{_DURATION}, above 0", ulp(0.0))
_FIELD_NAME: Final = like(TOKEN.pattern)
_PATH: Final = like(r"/[^?#\s]*")

Port: TypeAlias = Annotated[int, whole(0, 65_535)]
Count: TypeAlias = Annotated[int, whole(1, 10**9)]
CountOrUnlimited: TypeAlias = Annotated[
    int, whole(0, 10**9, "a whole number from 1 to 1000000000, or 0 for no limit")
]
RateOrUnlimited: TypeAlias = Annotated[
    float,
    decimal(0, 10**6, "a number up to 1000000 such as 0.5 or 10, or 0 for no limit"),
]
Retries: TypeAlias = Annotated[int, whole(0, 1000)]
Statuses: TypeAlias = Annotated[
    tuple[int, ...],
    list_of("a list of status codes such as 429 or 503", whole(200, 599).read),
]
Duration: TypeAlias = Annotated[float, duration(_DURATION)]
PositiveDuration: TypeAlias = Annotated[float, _LONGER_THAN_0]
DurationOrNever: TypeAlias = Annotated[float | None, or_never(duration(_DURATION))]
PositiveDurationOrNever: TypeAlias = Annotated[float | None, or_never(_LONGER_THAN_0)]
SizeOrUnlimited: TypeAlias = Annotated[int, size(f"{_SIZE}, or 0 for no limit")]
PositiveSize: TypeAlias = Annotated[int, size(f"{_SIZE}, above 0", 1)]
# Heads and bodies of these sizes are whole in memory, a head for each connection.
HeadSize: TypeAlias = Annotated[int, size(f"{_SIZE}, from 1KiB to 16MiB", KIB, 16 * MIB)]
InlineSize: TypeAlias = Annotated[int, size(f"{_SIZE}, at most 64MiB", 0, 64 * MIB)]
_FLAG: Final = Kind("true or false", flag)
Flag: TypeAlias = Annotated[bool, _FLAG]
FlagOrAuto: TypeAlias = Annotated[bool | None, or_auto(_FLAG)]
FileName: TypeAlias = Annotated[Path, Kind("a file name", file_name)]
Addresses: TypeAlias = Annotated[
    tuple[Address, ...],
    list_of(
        'a list of addresses such as "127.0.0.1:8529", "[::1]:8529" or "unix:/run/jobstore.sock"',
        read_address,
    ),
]
FileNameOrNone: TypeAlias = Annotated[
    Path | None,
    Kind(
        "a file name",
        lambda value: None if value in ("", None) else credential(value) or file_name(value),
    ),
]
Host: TypeAlias = Annotated[str, Kind("a host name or an address", like(r"(?s:.+)"))]
DatabaseUrl: TypeAlias = Annotated[
    str,
    or_credential(
        Kind(
            'the URL of a database, such as "postgresql://jobs@db.example.com/jobs"',
            like(r"(?s:(?:postgres(?:ql)?://.+)?)"),
        )
    ),
]
SchemaName: TypeAlias = Annotated[
    str, Kind("a name of 1 to 63 lower-case letters, digits and _", like(r"[a-z_][a-z0-9_]{0,62}"))
]
NodeName: TypeAlias = Annotated[
    str, Kind("a name of at most 100 letters, digits, . : _ and -", like(r"[A-Za-z0-9.:_-]{0,100}"))
]
Checkpoints: TypeAlias = Annotated[
    Literal["self", "external"], Kind('"self" or "external"', one_of("self", "external"))
]
HeaderNames: TypeAlias = Annotated[
    tuple[str, ...],
    list_of("a list of HTTP header names", lambda value: _FIELD_NAME(value).lower()),
]
BasePath: TypeAlias = Annotated[  # it ends in no slash, unless it is the root
    str,
    Kind(
        "a path that begins with / and has no query",
        lambda value: _PATH(value).rstrip("/") or "/",
    ),
]
BaseUrl: TypeAlias = Annotated[
    str | None,
    Kind(
        "an http:// or https:// URL without user, query and fragment, or unix:/PATH/OF/SOCKET",
        base_url,
    ),
]
Factory: TypeAlias = Annotated[
    str | None,
    Kind("MODULE:FACTORY, such as mypackage.web:create_app", like(r"\w+(\.\w+)*:\w+(\.\w+)*")),
]
TimeZone: TypeAlias = Annotated[
    str, Kind("an IANA time zone such as UTC or Europe/Berlin", time_zone)
]
ReplayRule: TypeAlias = Annotated[Replay, Kind('"idempotent", "always" or "never"', Replay)]
Origins: TypeAlias = Annotated[
    tuple[str, ...],
    list_of(
        'a list of origins such as "https://app.example.com"',
        like(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#@*]+"),
    ),
]
Hosts: TypeAlias = Annotated[
    tuple[str, ...],
    list_of(
        'a list of host names or addresses without a port, such as "jobs.example.com"',
        like(r"[^\s/?#@*:\[\]]+|[0-9a-fA-F:.]+"),
    ),
]
Networks: TypeAlias = Annotated[
    tuple[IPv4Network | IPv6Network | Literal["unix:"], ...],
    list_of('a list of addresses or networks such as "127.0.0.1" or "10.0.0.0/8"', network),
]
DialectsOrAuto: TypeAlias = Annotated[
    tuple[str, ...] | None,
    or_auto(list_of('a list of "kinetica" and "datameer", or of none of them', one_of(*DIALECTS))),
]
LogLevel: TypeAlias = Annotated[
    Literal["debug", "info", "warning", "error"],
    Kind('"debug", "info", "warning" or "error"', one_of("debug", "info", "warning", "error")),
]
Protection: TypeAlias = Annotated[
    Literal["all", "jobs"], Kind('"all" or "jobs"', one_of("all", "jobs"))
]
TraceRelation: TypeAlias = Annotated[
    Literal["link", "parent"], Kind('"link" or "parent"', one_of("link", "parent"))
]
LogFormat: TypeAlias = Annotated[
    Literal["text", "json"], Kind('"text" or "json"', one_of("text", "json"))
]
