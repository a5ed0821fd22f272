"""Load the configuration: flags over environment over TOML file over defaults.

Each of these is a layer that keeps its own values and its own way of writing a key, so that a
message can name the key where, and as, the user wrote it.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jobstore.config.checking import KEYS, SECTIONS, Checker, Key, Place, Problem
from jobstore.config.sections import Config
from jobstore.model.errors import ConfigError
from jobstore.model.frozen import frozen
from jobstore.model.nearest import nearest

_PREFIX: Final = "JOBSTORE_"
# What is for commands that ask a server on another machine, and no key.
TOKEN: Final = "JOBSTORE_TOKEN"  # noqa: S105 - its name
# Keys of a section that stand for each other: a layer that has one takes away what those below it
# say of the others.
_ALTERNATIVES: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "store": (frozenset({"path"}), frozenset({"url"})),
    "server": (frozenset({"host", "port"}), frozenset({"listen"})),
}
_NESTED: Final = "__"
_SCHEMES: Final = ("postgresql://", "postgres://")

# Kubernetes puts these into every container beside a service whose name begins with "jobstore":
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(
    rf"{_PREFIX}(\w+_)?(SERVICE_(HOST|PORT)\w*=.*|PORT_\d+_(TCP|UDP|SCTP)\w*=.*|PORT=\w+://.*)"
)


def store_key(store: str | Path) -> dict[str, str | Path]:
    """Return the key of [store] for a file, or for the URL of a database."""
    if isinstance(store, str) and store.startswith(_SCHEMES):
        return {"url": store}
    return {"path": Path(store)}


def load(
    file: Path | None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """Load the configuration from all its layers.

    Args:
        file: the TOML file, or None for none.
        overrides: values by section and key, as in the file; None marks a flag that was not given.
        environ: the environment, or None for that of the process.
        defaults: values by section and key that differ from the usual defaults.

    Raises:
        ConfigError: something is wrong; each line of the message is one problem.
    """
    layers = (
        _Layer("command line: ", _in_file, _given(overrides or {})),
        _Layer("", _in_environment, _variables(os.environ if environ is None else environ)),
        _Layer(f"{file}: ", _in_file, _tables(file) if file else {}),
        _Layer("", _in_file, defaults or {}),
    )
    checker = Checker()
    config = checker.config(_merged(layers))
    if checker.problems:
        told = [_told(problem, layers) for problem in checker.problems]
        raise ConfigError("\n".join(dict.fromkeys(told)))
    return config


@frozen
class _Layer:
    """One source of values.

    Args:
        origin: how a message about a value from here begins.
        write: returns how a key is written here.
        values: by section and key.
    """

    origin: str
    write: Callable[[Place], str]
    values: Mapping[str, Any]

    def holds(self, place: Place) -> bool:
        """Return whether this layer has a value at the place."""
        section = self.values.get(str(place[0]))
        if isinstance(section, Mapping) and len(place) > 1 and isinstance(place[1], str):
            return place[1] in section
        return bool(section) or section == []


def _in_file(place: Place) -> str:
    section, *rest = place
    heads = {name: f"[{name}]" for name in SECTIONS} | {"target": "[[target]]"}
    parts = [f"#{part + 1}" if isinstance(part, int) else part for part in rest]
    return " ".join([heads.get(str(section), str(section)), *parts])


def _in_environment(place: Place) -> str:
    return _PREFIX + _NESTED.join(_names(place)).upper()


def _names(place: Place) -> Key:
    return tuple(part for part in place if isinstance(part, str))


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for name, value in environ.items():
        if name.upper() == TOKEN:
            continue
        if name.upper().startswith(_PREFIX) and not _SERVICE_LINK.fullmatch(f"{name}={value}"):
            _put(tables, name[len(_PREFIX) :].lower(), value)
    return tables


def _put(tables: dict[str, Any], name: str, value: str) -> None:
    section, nested, key = name.partition(_NESTED)
    if section not in SECTIONS or not nested:
        tables[name] = value  # which is refused, by the name that it has here
    elif isinstance(table := tables.setdefault(section, {}), dict):
        table[key] = value


def _tables(file: Path) -> dict[str, Any]:
    import tomllib  # a fast start of commands without a file

    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        problem = f"{file}: {error.strerror}"
    except (ValueError, RecursionError) as error:
        problem = f"{file}: expected TOML: {error}"
    raise ConfigError(problem)


def _given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _given(value) if isinstance(value, Mapping) else value
        for name, value in overrides.items()
        if value is not None
    }


def _merged(layers: tuple[_Layer, ...]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        for name, value in layer.values.items():
            below = merged.get(name)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                merged[name] = {**_but_for_others(name, below, value), **value}
            else:
                merged[name] = value
    return merged


def _but_for_others(
    section: str, below: Mapping[str, Any], above: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return a lower layer's values of a section, without those that a higher layer replaces."""
    groups = _ALTERNATIVES.get(section, ())
    said = [group for group in groups if not group.isdisjoint(above)]
    if not said:
        return below
    others = frozenset().union(*groups).difference(*said)
    return {key: value for key, value in below.items() if key not in others}


def _told(problem: Problem, layers: tuple[_Layer, ...]) -> str:
    """Return a message that says where a mistake is, and what was expected there."""
    place = problem.place
    layer = next(layer for layer in layers if layer.holds(place))
    complaint = problem.complaint
    if complaint is None:
        is_section = len(place) == 1 and isinstance(problem.value, Mapping | list)
        nearest = layer.write(_nearest(_names(place), depth=1 if is_section else 2))
        section = layer.write(place[:1])
        complaint = f"no such key; did you mean {nearest.removeprefix(f'{section} ')}?"
    return f"{layer.origin}{layer.write(place)}: {complaint}"


def _nearest(key: Key, depth: int) -> Key:
    """Return the most similar valid key, or with a depth of 1 the most similar section."""
    valid = {".".join(names): names for names in KEYS if len(names) == depth}
    return valid[nearest(".".join(key), valid)]
