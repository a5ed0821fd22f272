"""How values are written: durations, sizes, names and URLs, as types that know how to read them.

Each type is annotated with its `Kind`. That reads a value from TOML, from JSON, or from text as the
environment has it, and says what was expected if it was something else. The configuration is read
with these alone; pydantic's models, which read what clients send, read these types with them too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from math import ulp
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobstore.model.job import Replay

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

_ABOVE_0: Final = ulp(0.0)

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION_SYNTAX: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)")
_DECIMAL: Final = {letter: 1000**n for n, letter in enumerate(("", *"kmgtpe"))}
_BINARY: Final = {f"{letter}i": 1024**n for n, letter in enumerate("kmgtpe", 1)}
_BYTES: Final[Mapping[str, float]] = {
    **_DECIMAL,
    **{f"{prefix}b": factor for prefix, factor in (_DECIMAL | _BINARY).items()},
    **{f"{prefix}bit": factor / 8 for prefix, factor in (_DECIMAL | _BINARY).items()},
}
_SIZE_SYNTAX: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_WHOLE_SYNTAX: Final = re.compile(r"([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0+)?")
_FLAGS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
# What no host has in it is of https://url.spec.whatwg.org/#forbidden-host-code-point
_BASE_URL: Final = re.compile(
    r"(?i:https?)://(?:\[[0-9A-Fa-f:.]+\]|[^\s/:?#@<>\[\\\]^|%\x00-\x1f\x7f]+)(?::[0-9]*)?(?:/[^?#]*)?"
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2

T = TypeVar("T")
N = TypeVar("N", int, float)
Read: TypeAlias = Callable[[object], T]


class ItemsWrong(ValueError):
    """Items of a list are not what was expected.

    Args:
        places: where they stand in the list, from 0.
    """

    def __init__(self, places: list[int]) -> None:
        super().__init__(places)
        self.places = places


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value, as people write it.

    Args:
        expected: what a message says if something else was written.
        read: gives the value, or raises ValueError.
    """

    expected: str
    read: Read[T]

    def __get_pydantic_core_schema__(self, _: object, __: object) -> Any:
        """Let a model that has a field of this kind read it in the same way.

        https://docs.pydantic.dev/latest/concepts/types/#customizing-validation-with-__get_pydantic_core_schema__
        """
        # Whoever asks has loaded it; whoever does not need not.
        from pydantic_core import core_schema  # noqa: PLC0415

        return core_schema.no_info_plain_validator_function(self.read)


def kind_of(annotated: Any) -> Kind[Any]:
    """Return the kind that a type is annotated with."""
    kind: Kind[Any] = get_args(annotated)[-1]
    return kind


# --- numbers ------------------------------------------------------------------------------------


def _within(number: N, lowest: float, highest: float) -> N:
    if not lowest <= number <= highest:  # which nan is not either
        raise ValueError
    return number


def _whole(value: object) -> int:
    """Read a whole number, also if it is written as 80.0; ``true`` is not the number 1."""
    if isinstance(value, str) and (match := _WHOLE_SYNTAX.fullmatch(value.strip())):
        return int(match[1])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError  # noqa: TRY004 - input, not code
    if isinstance(value, str) and not value.isascii():
        raise ValueError
    try:
        return float(value)
    except OverflowError:
        raise ValueError from None


def _seconds(value: object) -> float:
    match = _DURATION_SYNTAX.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2]] if match else _number(value)


def _bytes(value: object) -> int:
    if not isinstance(value, str):
        return _whole(value)
    match = _SIZE_SYNTAX.fullmatch(value.strip())
    factor = match and _BYTES.get(match[2].lower())
    if not match or factor is None:
        raise ValueError
    return int(_within(float(match[1]) * factor, 0, _LARGEST_FILE))


def _whole_from(lowest: int, highest: int, expected: str = "") -> Kind[int]:
    return Kind(
        expected or f"a whole number from {lowest} to {highest}",
        lambda value: _within(_whole(value), lowest, highest),
    )


def _duration(expected: str, lowest: float = 0.0) -> Kind[float]:
    return Kind(expected, lambda value: _within(_seconds(value), lowest, _CENTURY))


def _or_never(duration: Kind[float]) -> Kind[float | None]:
    def read(value: object) -> float | None:
        return None if value in ("never", None) else duration.read(value)

    return Kind(f'{duration.expected}, or "never"', read)


def _size(expected: str, lowest: int = 0, highest: int = _LARGEST_FILE) -> Kind[int]:
    return Kind(expected, lambda value: _within(_bytes(value), lowest, highest))


# --- text ---------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - input, not code
    return value


def _like(pattern: str | re.Pattern[str]) -> Read[str]:
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not compiled.fullmatch(_text(value)):
            raise ValueError
        return _text(value)

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, str):
        return bool(_within(int(value) if isinstance(value, bool) else _whole(value), 0, 1))
    if value.lower() not in _FLAGS:
        raise ValueError
    return _FLAGS[value.lower()]


def _choice(*choices: str) -> Read[Any]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError
        return _text(value)

    return read


def _with_name(value: object) -> Path:
    """Read a path that ends in a name; it is kept as it was given."""
    path = value if isinstance(value, Path) else Path(_text(value))
    if not path.name:
        raise ValueError
    return path


def _base_url(value: object) -> str:
    """Read a URL that paths will be appended to: it ends in no slash."""
    # The HTTP client's own words for it, loaded only where there is one.
    from yarl import URL  # noqa: PLC0415

    text = _text(value).strip()
    if not _BASE_URL.fullmatch(text):
        raise ValueError
    url = URL(text)
    if (url.host or "").rpartition(".")[2].isdigit():
        IPv4Address(url.host or "")
    return str(url).rstrip("/")


def _base_path(value: object) -> str:
    """Read a path that others begin with: it ends in no slash, unless it is the root."""
    return _PATH(value).rstrip("/") or "/"


_PATH: Final = _like(r"/[^?#\s]*")


def _known_zone(value: object) -> str:
    """Read the name of a time zone that the IANA database has."""
    try:
        return ZoneInfo(_text(value)).key
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, int | float):  # such a number is an address to Python
        raise ValueError  # noqa: TRY004 - input, not code
    return ip_network(str(value))


# --- lists --------------------------------------------------------------------------------------


def _items(value: object) -> Iterable[object]:
    """Give the items of a list, which the environment writes with commas."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError  # noqa: TRY004 - input, not code
    return value


def _list(expected: str, read_item: Read[T]) -> Kind[tuple[T, ...]]:
    def read(value: object) -> tuple[T, ...]:
        read_items: list[T] = []
        wrong: list[int] = []
        for place, item in enumerate(_items(value)):
            try:
                read_items.append(read_item(item))
            except ValueError:
                wrong.append(place)
        if wrong:
            raise ItemsWrong(wrong)
        return tuple(read_items)

    return Kind(expected, read)


def _or_auto(names: Kind[tuple[T, ...]]) -> Kind[tuple[T, ...] | None]:
    return Kind(
        f'"auto", or {names.expected}',
        lambda value: None if value in ("auto", None) else names.read(value),
    )


# --- the types ----------------------------------------------------------------------------------

_A_DURATION: Final = "a duration such as 500ms, 30s, 15m, 24h or 30d"
_A_SIZE: Final = "a size such as 262144, 256KiB or 1GiB"
_LONGER_THAN_0: Final = _duration(f"{_A_DURATION}, above 0", _ABOVE_0)

Port: TypeAlias = Annotated[int, _whole_from(0, 65_535)]
Count: TypeAlias = Annotated[int, _whole_from(1, 10**9)]
CountOrUnlimited: TypeAlias = Annotated[
    int, _whole_from(0, 10**9, "a whole number from 1 to 1000000000, or 0 for no limit")
]
RateOrUnlimited: TypeAlias = Annotated[
    float,
    Kind(
        "a number up to 1000000 such as 0.5 or 10, or 0 for no limit",
        lambda value: _within(_number(value), 0, 10**6),
    ),
]
Retries: TypeAlias = Annotated[int, _whole_from(0, 1000)]
Statuses: TypeAlias = Annotated[
    tuple[int, ...],
    _list(
        "a list of status codes such as 429 or 503",
        lambda value: _within(_whole(value), 200, 599),
    ),
]
Duration: TypeAlias = Annotated[float, _duration(_A_DURATION)]
PositiveDuration: TypeAlias = Annotated[float, _LONGER_THAN_0]
DurationOrNever: TypeAlias = Annotated[float | None, _or_never(_duration(_A_DURATION))]
PositiveDurationOrNever: TypeAlias = Annotated[float | None, _or_never(_LONGER_THAN_0)]
SizeOrUnlimited: TypeAlias = Annotated[int, _size(f"{_A_SIZE}, or 0 for no limit")]
PositiveSize: TypeAlias = Annotated[int, _size(f"{_A_SIZE}, above 0", 1)]
HeadSize: TypeAlias = Annotated[
    int, _size(f"{_A_SIZE}, from 1KiB to 16MiB", _SMALLEST_HEAD, _LARGEST_HEAD)
]
InlineSize: TypeAlias = Annotated[int, _size(f"{_A_SIZE}, at most 64MiB", 0, _LARGEST_INLINE)]
Flag: TypeAlias = Annotated[bool, Kind("true or false", _flag)]
FileName: TypeAlias = Annotated[Path, Kind("a file name", _with_name)]
Host: TypeAlias = Annotated[str, Kind("a host name or an address", _like(r"(?s:.+)"))]
HeaderNames: TypeAlias = Annotated[
    tuple[str, ...],
    _list("a list of HTTP header names", lambda value: _like(_TOKEN)(value).lower()),
]
BasePath: TypeAlias = Annotated[str, Kind("a path that begins with / and has no query", _base_path)]
BaseUrl: TypeAlias = Annotated[
    str | None,
    Kind("an http:// or https:// URL without user, query and fragment", _base_url),
]
Factory: TypeAlias = Annotated[
    str | None,
    Kind(
        "MODULE:FACTORY, such as mypackage.web:create_app",
        _like(r"\w+(\.\w+)*:\w+(\.\w+)*"),
    ),
]
TimeZone: TypeAlias = Annotated[
    str, Kind("an IANA time zone such as UTC or Europe/Berlin", _known_zone)
]
ReplayRule: TypeAlias = Annotated[Replay, Kind('"idempotent", "always" or "never"', Replay)]
Origins: TypeAlias = Annotated[
    tuple[str, ...],
    _list(
        'a list of origins such as "https://app.example.com"',
        _like(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#@*]+"),
    ),
]
Hosts: TypeAlias = Annotated[
    tuple[str, ...],
    _list(
        'a list of host names or addresses without a port, such as "jobs.example.com"',
        _like(r"[^\s/?#@*:\[\]]+|[0-9a-fA-F:.]+"),
    ),
]
Networks: TypeAlias = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    _list('a list of addresses or networks such as "127.0.0.1" or "10.0.0.0/8"', _network),
]
DialectsOrAuto: TypeAlias = Annotated[
    tuple[str, ...] | None,
    _or_auto(_list('a list of "kinetica" and "datameer", or of none of them', _choice(*DIALECTS))),
]
LogLevel: TypeAlias = Annotated[
    Literal["debug", "info", "warning", "error"],
    Kind('"debug", "info", "warning" or "error"', _choice("debug", "info", "warning", "error")),
]
LogFormat: TypeAlias = Annotated[
    Literal["text", "json"], Kind('"text" or "json"', _choice("text", "json"))
]
