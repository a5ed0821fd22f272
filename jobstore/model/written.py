"""How values are written: durations, sizes, names and URLs, as types with a description.

A translator turns what it understands into the type's own value and leaves the rest for the type
to refuse, so that whatever is wrong, one description says what was expected.
"""

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    HttpUrl,
    StringConstraints,
    ValidationError,
)

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
KIB: Final = 2**10
GIB: Final = 2**30
DIALECTS: Final = ("kinetica", "datameer")

_CENTURY: Final = 36_500 * DAY  # more is a slip, and a clock cannot be moved by it
_LARGEST_FILE: Final = 2**48  # https://sqlite.org/limits.html, "Maximum Database Size"
_LARGEST_INLINE: Final = 64 * 2**20  # such a body is whole in memory

_SMALLEST_HEAD: Final = 2**10
_LARGEST_HEAD: Final = 16 * 2**20  # it is whole in memory, for each connection

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION_SYNTAX: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)")
_SIZE_SYNTAX: Final = re.compile(r"[0-9]+(\.[0-9]+)?\s*[A-Za-z]*")


def _no_flag(value: object) -> object:
    """Keep ``true`` from being taken for the number 1."""
    return str(value) if isinstance(value, bool) else value


def _seconds(value: object) -> object:
    """Translate a duration to seconds, and ``never`` to None."""
    if value == "never":
        return None
    match = _DURATION_SYNTAX.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2]] if match else _no_flag(value)


def _bytes(value: object) -> object:
    """Refuse what ByteSize would take by its beginning alone, such as ``1.5.5`` or ``1MiB!``."""
    if isinstance(value, str) and not _SIZE_SYNTAX.fullmatch(value.strip()):
        raise ValueError
    return _no_flag(value)


def _no_number(value: object) -> object:
    """Keep a number from being taken for an address."""
    if not isinstance(value, int | float):
        return value
    raise ValueError


def _split(value: object) -> object:
    """Split names at commas, which is how the environment writes a list."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


def _names_or_auto(value: object) -> object:
    """Translate a list of names, and ``auto`` to None."""
    return None if value == "auto" else _split(value)


def _with_name(value: Path) -> Path:
    """Refuse a path that ends in no name; any other is kept as it was given."""
    if not value.name:
        raise ValueError
    return value


def _base_url(value: str) -> str:
    """Normalise a URL that paths will be appended to: it ends in no slash."""
    with suppress(ValidationError):
        url = HttpUrl(value)
        if (url.username, url.password, url.query, url.fragment) == (None, None, None, None):
            return str(url).rstrip("/")
    raise ValueError


def _base_path(value: str) -> str:
    """Normalise a path that others begin with: it ends in no slash, unless it is the root."""
    return value.rstrip("/") or "/"


def _known_zone(value: str) -> str:
    """Refuse a time zone that the IANA database does not have."""
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


_DURATION: Final = "a duration such as 500ms, 30s, 15m, 24h or 30d"
_SIZE: Final = "a size such as 262144, 256KiB or 1GiB"
# Bounds go before these: behind them, pydantic 2.14 would apply a bound to the None of "never".
_TO_NUMBER: Final = BeforeValidator(_no_flag)
_TO_SECONDS: Final = BeforeValidator(_seconds)
_TO_BYTES: Final = BeforeValidator(_bytes)

Port: TypeAlias = Annotated[
    int, Field(ge=0, le=65_535, description="a whole number from 0 to 65535"), _TO_NUMBER
]
Count: TypeAlias = Annotated[
    int, Field(ge=1, le=10**9, description="a whole number from 1 to 1000000000"), _TO_NUMBER
]
CountOrUnlimited: TypeAlias = Annotated[
    int,
    Field(ge=0, le=10**9, description="a whole number from 1 to 1000000000, or 0 for no limit"),
    _TO_NUMBER,
]
RateOrUnlimited: TypeAlias = Annotated[
    float,
    Field(
        ge=0, le=10**6, description="a number up to 1000000 such as 0.5 or 10, or 0 for no limit"
    ),
    _TO_NUMBER,
]
Retries: TypeAlias = Annotated[
    int, Field(ge=0, le=1000, description="a whole number from 0 to 1000"), _TO_NUMBER
]
Statuses: TypeAlias = Annotated[
    tuple[Annotated[int, Field(ge=200, le=599), _TO_NUMBER], ...],
    BeforeValidator(_split),
    Field(description="a list of status codes such as 429 or 503"),
]
Duration: TypeAlias = Annotated[float, Field(ge=0, le=_CENTURY, description=_DURATION), _TO_SECONDS]
PositiveDuration: TypeAlias = Annotated[
    float, Field(gt=0, le=_CENTURY, description=f"{_DURATION}, above 0"), _TO_SECONDS
]
DurationOrNever: TypeAlias = Annotated[
    float | None, Field(ge=0, le=_CENTURY, description=f'{_DURATION}, or "never"'), _TO_SECONDS
]
PositiveDurationOrNever: TypeAlias = Annotated[
    float | None,
    Field(gt=0, le=_CENTURY, description=f'{_DURATION}, above 0, or "never"'),
    _TO_SECONDS,
]
SizeOrUnlimited: TypeAlias = Annotated[
    ByteSize, Field(ge=0, le=_LARGEST_FILE, description=f"{_SIZE}, or 0 for no limit"), _TO_BYTES
]
PositiveSize: TypeAlias = Annotated[
    ByteSize, Field(gt=0, le=_LARGEST_FILE, description=f"{_SIZE}, above 0"), _TO_BYTES
]
HeadSize: TypeAlias = Annotated[
    ByteSize,
    Field(ge=_SMALLEST_HEAD, le=_LARGEST_HEAD, description=f"{_SIZE}, from 1KiB to 16MiB"),
    _TO_BYTES,
]
InlineSize: TypeAlias = Annotated[
    ByteSize, Field(ge=0, le=_LARGEST_INLINE, description=f"{_SIZE}, at most 64MiB"), _TO_BYTES
]
FileName: TypeAlias = Annotated[Path, AfterValidator(_with_name), Field(description="a file name")]
HeaderNames: TypeAlias = Annotated[
    tuple[
        # RFC 9110 section 5.6.2: a token
        Annotated[str, StringConstraints(to_lower=True, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")],
        ...,
    ],
    BeforeValidator(_split),
    Field(description="a list of HTTP header names"),
]
BasePath: TypeAlias = Annotated[
    str,
    Field(pattern=r"^/[^?#\s]*$", description="a path that begins with / and has no query"),
    AfterValidator(_base_path),
]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_base_url)]
TimeZone: TypeAlias = Annotated[
    str,
    AfterValidator(_known_zone),
    Field(description="an IANA time zone such as UTC or Europe/Berlin"),
]
Origins: TypeAlias = Annotated[
    tuple[
        Annotated[str, StringConstraints(pattern=r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#@*]+$")], ...
    ],
    BeforeValidator(_split),
    Field(description='a list of origins such as "https://app.example.com"'),
]
Hosts: TypeAlias = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^([^\s/?#@*:\[\]]+|[0-9a-fA-F:.]+)$")], ...],
    BeforeValidator(_split),
    Field(
        description='a list of host names or addresses without a port, such as "jobs.example.com"'
    ),
]
Networks: TypeAlias = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_no_number)], ...],
    BeforeValidator(_split),
    Field(description='a list of addresses or networks such as "127.0.0.1" or "10.0.0.0/8"'),
]
DialectsOrAuto: TypeAlias = Annotated[
    tuple[Literal["kinetica", "datameer"], ...] | None,
    BeforeValidator(_names_or_auto),
    Field(description='"auto", or a list of "kinetica" and "datameer", or of none of them'),
]
