"""Load the configuration: flags over environment over TOML file over defaults.

Each of these is a layer that keeps its own values and its own way of writing a key, so that a
message can name the key where, and as, the user wrote it.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from jobstore.config.sections import Config
from jobstore.model.errors import ConfigError

_Place: TypeAlias = tuple[str | int, ...]  # section, key; the index of a target or of an item
_Key: TypeAlias = tuple[str, ...]  # section, key

_PREFIX: Final = "JOBSTORE_"
_NESTED: Final = "__"

# Kubernetes puts these into every container beside a service whose name begins with "jobstore":
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK: Final = re.compile(
    rf"{_PREFIX}(\w+_)?(SERVICE_(HOST|PORT)\w*=.*|PORT_\d+_(TCP|UDP|SCTP)\w*=.*|PORT=\w+://.*)"
)


def load(
    file: Path | None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Load the configuration from all its layers.

    Args:
        file: the TOML file, or None for none.
        overrides: values by section and key, as in the file; None marks a flag that was not given.
        environ: the environment, or None for that of the process.

    Raises:
        ConfigError: something is wrong; each line of the message is one problem.
    """
    layers = (
        _Layer("command line: ", _in_file, _given(overrides or {})),
        _Layer("", _in_environment, _variables(os.environ if environ is None else environ)),
        _Layer(f"{file}: ", _in_file, _tables(file) if file else {}),
    )
    try:
        return Config.model_validate(_merged(layers))
    except ValidationError as invalid:
        problems = [_problem(error, layers) for error in invalid.errors(include_url=False)]
        raise ConfigError("\n".join(problems)) from None


@dataclass(frozen=True, slots=True)
class _Layer:
    """One origin of values.

    Args:
        origin: what a message about a value from here begins with.
        write: writes a place as it is written here.
        values: by section and key.
    """

    origin: str
    write: Callable[[_Place], str]
    values: Mapping[str, Any]

    def holds(self, place: _Place) -> bool:
        """Tell whether this layer has a value at the place."""
        section = self.values.get(str(place[0]))
        if isinstance(section, Mapping) and len(place) > 1 and isinstance(place[1], str):
            return place[1] in section
        return place[0] in self.values


def _in_file(place: _Place) -> str:
    section, *rest = place
    heads = {name: f"[{name}]" for name in Config.model_fields} | {"target": "[[target]]"}
    parts = [f"#{part + 1}" if isinstance(part, int) else part for part in rest]
    return " ".join([heads.get(str(section), str(section)), *parts])


def _in_environment(place: _Place) -> str:
    return _PREFIX + _NESTED.join(_names(place)).upper()


def _names(place: _Place) -> _Key:
    return tuple(part for part in place if isinstance(part, str))


class _Environment(BaseSettings, Config):
    """How the environment calls the keys."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter=_NESTED, enable_decoding=False
    )


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    ours = {
        name.lower(): value
        for name, value in environ.items()
        if name.upper().startswith(_PREFIX) and not _SERVICE_LINK.fullmatch(f"{name}={value}")
    }
    source = EnvSettingsSource(_Environment)
    source.env_vars = ours
    return _strangers(ours) | source()


def _strangers(variables: Mapping[str, str]) -> dict[str, str]:
    """Keep what the settings source would pass over, so that it will be refused by its name."""
    keys = {name.removeprefix(_PREFIX.lower()): value for name, value in variables.items()}
    sections = Config.model_fields
    return {key: v for key, v in keys.items() if key.partition(_NESTED)[0] not in sections}


def _tables(file: Path) -> dict[str, Any]:
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
                merged[name] = {**below, **value}
            else:
                merged[name] = value
    return merged


def _problem(error: ErrorDetails, layers: tuple[_Layer, ...]) -> str:
    """Say where something wrong stands, and what was expected there."""
    place = error["loc"]
    layer = next(layer for layer in layers if layer.holds(place))
    if error["type"] == "extra_forbidden":
        is_section = len(place) == 1 and isinstance(error["input"], Mapping | list)
        nearest = layer.write(_nearest(_names(place), depth=1 if is_section else 2))
        section = layer.write(place[:1])
        complaint = f"no such key; did you mean {nearest.removeprefix(f'{section} ')}?"
    else:
        own_words = str(error.get("ctx", {}).get("error", ""))
        complaint = own_words or f"expected {_EXPECTED[_names(place)]}"
    return f"{layer.origin}{layer.write(place)}: {complaint}"


def _nearest(key: _Key, depth: int) -> _Key:
    """Find the valid key, or with a depth of 1 the section, that is written most alike."""
    valid = {".".join(names): names for names in _EXPECTED if len(names) == depth}
    return valid[get_close_matches(".".join(key), valid, n=1, cutoff=0.0)[0]]


def _expected() -> dict[_Key, str]:
    """List all sections and keys, each with the description of what is expected there."""
    expected: dict[_Key, str] = {}
    for name, field in Config.model_fields.items():
        section: Any = next(iter(get_args(field.annotation)), field.annotation)
        expected[(name,)] = field.description or "a table"
        for key, described in section.model_fields.items():
            expected[name, key] = str(described.description)
    return expected


_EXPECTED: Final = _expected()
