"""Kinds of values in configuration and JSON: how they are read, and what is accepted.

A reader takes a value from TOML or JSON, or text from the environment, and returns the parsed
value; it raises ValueError for anything else.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobstore.model.frozen import frozen

_CENTURY: Final = 36_500 * 86_400.0  # more is a slip, and a clock cannot be moved by it
_LARGEST_FILE: Final = 2**48  # https://sqlite.org/limits.html, "Maximum Database Size"

_WHOLE: Final = re.compile(r"([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0+)?")
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_DECIMAL: Final = {letter: 1000**n for n, letter in enumerate(("", *"kmgtpe"))}
_BINARY: Final = {f"{letter}i": 1024**n for n, letter in enumerate("kmgtpe", 1)}
_BYTES: Final[Mapping[str, float]] = {
    **_DECIMAL,
    **{f"{prefix}b": factor for prefix, factor in (_DECIMAL | _BINARY).items()},
    **{f"{prefix}bit": factor / 8 for prefix, factor in (_DECIMAL | _BINARY).items()},
}
_FLAGS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_CREDENTIAL: Final = "credential:"
_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
# What no host has in it is of https://url.spec.whatwg.org/#forbidden-host-code-point
_BASE_URL: Final = re.compile(
    r"(?i:https?)://"
    r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/:?#@<>\[\\\]^|%\x00-\x1f\x7f]+)"
    r"(?::[0-9]*)?(?:/[^?#]*)?"
)

_SOCKET: Final = re.compile(r"unix:/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]")
_LONGEST_SOCKET: Final = 107  # unix(7): sun_path, with the byte that ends it

T = TypeVar("T")
N = TypeVar("N", int, float)
Read: TypeAlias = Callable[[object], T]


class ItemsWrong(ValueError):
    """Some items of a list are invalid.

    Args:
        places: their indexes, from 0.
    """

    def __init__(self, places: list[int]) -> None:
        super().__init__(places)
        self.places = places


class CredentialMissing(ValueError):
    """A value refers to a credential that does not exist."""


@frozen
class Kind(Generic[T]):
    """A kind of value.

    Args:
        expected: the description of valid values, for messages.
        read: returns the parsed value, or raises ValueError.
    """

    expected: str
    read: Read[T]

    def __get_pydantic_core_schema__(self, _: object, __: object) -> Any:
        """Let pydantic models read fields of this kind in the same way.

        https://docs.pydantic.dev/latest/concepts/types/#customizing-validation-with-__get_pydantic_core_schema__
        """
        # Only pydantic asks; whoever has no model does not load it.
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.read)


def kind_of(annotated: Any) -> Kind[Any]:
    """Return the kind that a type is annotated with."""
    kind: Kind[Any] = get_args(annotated)[-1]
    return kind


# --- numbers ------------------------------------------------------------------------------------


def whole(lowest: int, highest: int, expected: str = "") -> Kind[int]:
    """Make a kind of whole numbers."""
    return Kind(
        expected or f"a whole number from {lowest} to {highest}",
        lambda value: _within(_whole(value), lowest, highest),
    )


def decimal(lowest: float, highest: float, expected: str) -> Kind[float]:
    """Make a kind of numbers."""
    return Kind(expected, lambda value: _within(_number(value), lowest, highest))


def duration(expected: str, lowest: float = 0.0) -> Kind[float]:
    """Make a kind of durations, which are read as seconds."""
    return Kind(expected, lambda value: _within(_seconds(value), lowest, _CENTURY))


def or_never(of: Kind[float]) -> Kind[float | None]:
    """Make a kind of durations that may be ``never``, read as None."""
    return Kind(
        f'{of.expected}, or "never"',
        lambda value: None if value in ("never", None) else of.read(value),
    )


def size(expected: str, lowest: int = 0, highest: int = _LARGEST_FILE) -> Kind[int]:
    """Make a kind of sizes, which are read as bytes."""
    return Kind(expected, lambda value: _within(_bytes(value), lowest, highest))


def flag(value: object) -> bool:
    """Read a yes or no."""
    if not isinstance(value, str):
        return bool(_within(int(value) if isinstance(value, bool) else _whole(value), 0, 1))
    if value.lower() not in _FLAGS:
        raise ValueError
    return _FLAGS[value.lower()]


def _within(number: N, lowest: float, highest: float) -> N:
    if not lowest <= number <= highest:  # which nan is not either
        raise ValueError
    return number


def _whole(value: object) -> int:
    """Read a whole number, also if it is written as 80.0; ``true`` is not the number 1."""
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value.strip())):
        return int(match[1])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError


def _number(value: object) -> float:
    if isinstance(value, str) and value.isascii():
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _float(value)
    raise ValueError


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError from None


def _seconds(value: object) -> float:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2]] if match else _number(value)


def _bytes(value: object) -> int:
    if not isinstance(value, str):
        return _whole(value)
    match = _SIZE.fullmatch(value.strip())
    factor = match and _BYTES.get(match[2].lower())
    if not match or factor is None:
        raise ValueError
    return int(_within(float(match[1]) * factor, 0, _LARGEST_FILE))


# --- text ---------------------------------------------------------------------------------------


def like(pattern: str) -> Read[str]:
    """Make a reader of text that matches a pattern from its beginning to its end."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not compiled.fullmatch(_text(value)):
            raise ValueError
        return _text(value)

    return read


def one_of(*choices: str) -> Read[Any]:
    """Make a reader of some words."""

    def read(value: object) -> str:
        if value not in choices:
            raise ValueError
        return _text(value)

    return read


def file_name(value: object) -> Path:
    """Read a path that ends in a name; it is kept as it was given."""
    path = value if isinstance(value, Path) else Path(_text(value))
    if not path.name:
        raise ValueError
    return path


def or_credential(of: Kind[T]) -> Kind[T]:
    """Make a kind of values that may be given as ``credential:NAME``, a file with the value.

    https://systemd.io/CREDENTIALS/
    """

    def read(value: object) -> T:
        file = credential(value)
        if file is None:
            return of.read(value)
        try:
            return of.read(file.read_text("utf-8").strip())
        except OSError as error:
            raise CredentialMissing(f"cannot read {file}: {error.strerror}") from error

    return Kind(of.expected, read)


def credential(value: object) -> Path | None:
    """Return the file of a credential; None if the value is not a credential."""
    if not (isinstance(value, str) and value.startswith(_CREDENTIAL)):
        return None
    name, folder = value.removeprefix(_CREDENTIAL), os.environ.get("CREDENTIALS_DIRECTORY")
    if not _CREDENTIAL_NAME.fullmatch(name):
        raise CredentialMissing(f'expected {_CREDENTIAL} and a name, such as "credential:tls-key"')
    if not folder:
        raise CredentialMissing(
            "there are no credentials: expected LoadCredential= in the unit of systemd, or "
            "CREDENTIALS_DIRECTORY in the environment"
        )
    return Path(folder, name)


def base_url(value: object) -> str:
    """Read a base URL, without a slash at its end; paths are appended to it.

    A socket file is written as ``unix:`` and its path.
    """
    # Only those have a URL that load the client anyway.
    from yarl import URL

    text = _text(value).strip()
    if text.startswith("unix:") and _SOCKET.fullmatch(text):
        if len(text.removeprefix("unix:").encode()) > _LONGEST_SOCKET:
            raise ValueError
        return text
    if not _BASE_URL.fullmatch(text):
        raise ValueError
    url = URL(text)
    host = url.host or ""
    if host.rpartition(".")[2].isdigit():
        IPv4Address(host)
    return str(url).rstrip("/")


def time_zone(value: object) -> str:
    """Read the name of a time zone that the IANA database has."""
    try:
        return ZoneInfo(_text(value)).key
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


def network(value: object) -> IPv4Network | IPv6Network | Literal["unix:"]:
    """Read an address or a network; ``unix:`` stands for clients of a socket file."""
    if value == "unix:":
        return "unix:"
    if not isinstance(value, int | float):  # such a number is an address to Python
        return ip_network(str(value))
    raise ValueError


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


# --- lists --------------------------------------------------------------------------------------


def list_of(expected: str, read_item: Read[T]) -> Kind[tuple[T, ...]]:
    """Make a kind of lists; its reader raises `ItemsWrong` for invalid items."""

    def read(value: object) -> tuple[T, ...]:
        found: list[T] = []
        wrong: list[int] = []
        for place, item in enumerate(_items(value)):
            try:
                found.append(read_item(item))
            except ValueError:
                wrong.append(place)
        if wrong:
            raise ItemsWrong(wrong)
        return tuple(found)

    return Kind(expected, read)


def or_auto(of: Kind[T]) -> Kind[T | None]:
    """Make a kind of values that may be ``auto``, read as None."""
    return Kind(
        f'"auto", or {of.expected}',
        lambda value: None if value in ("auto", None) else of.read(value),
    )


def _items(value: object) -> Iterable[object]:
    """Return the items of a list; in the environment they are separated by commas."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        return value
    raise ValueError
