"""Read tables into sections of the configuration, and report all mistakes at once."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeAlias, TypeVar

from jobstore.config.sections import Config, ExecutorSection, TargetSection
from jobstore.model.frozen import frozen
from jobstore.model.kinds import CredentialMissing, ItemsWrong, Kind, kind_of

Place: TypeAlias = tuple[str | int, ...]  # section, key; the index of a target or of an item
Key: TypeAlias = tuple[str, ...]  # section, key

_TARGET: Final = "target"
_NOTHING: Final[Mapping[str, Any]] = {}

S = TypeVar("S")


@frozen
class Problem:
    """A mistake in the configuration.

    Args:
        place: its section and key.
        complaint: what was expected there; None if there is no such key.
        value: the given value.
    """

    place: Place
    complaint: str | None
    value: object = None


class Checker:
    """Reads the configuration.

    Attributes:
        problems: what was wrong, in the order of the sections and keys.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def config(self, tables: Mapping[str, Any]) -> Config:
        """Read all sections; invalid ones keep their defaults."""
        given = {
            name: self._section(section, tables[name], (name,))
            for name, section in SECTIONS.items()
            if name in tables and name != _TARGET
        }
        sections = {name: section for name, section in given.items() if section is not None}
        executor: ExecutorSection = sections.get("executor", Config().executor)
        sections[_TARGET] = self._targets(tables.get(_TARGET, ()), executor.shared)
        self._refuse_others(tables, SECTIONS, ())
        return Config(**sections)

    def _targets(self, written: object, shared: Mapping[str, Any]) -> tuple[TargetSection, ...]:
        # The environment can write one target, as JOBSTORE_TARGET__UPSTREAM, but no list of them.
        tables = [written] if isinstance(written, Mapping) else written
        if not isinstance(tables, list | tuple):
            self._complain((_TARGET,), KEYS[_TARGET,])
            return ()
        read = [
            self._section(TargetSection, table, (_TARGET, index), shared)
            for index, table in enumerate(tables)
        ]
        targets = tuple(target for target in read if target is not None)
        if len({target.prefix for target in targets}) < len(targets) == len(read):
            self._complain((_TARGET,), "a different prefix for each target")
        return targets

    def _section(
        self, section: type[S], table: object, place: Place, shared: Mapping[str, Any] = _NOTHING
    ) -> S | None:
        """Read a section; None if it is invalid.

        Args:
            shared: values for keys that the table does not have.
        """
        if not isinstance(table, Mapping):
            self._complain(place, KEYS[(str(place[0]),)])
            return None
        before = len(self.problems)
        kinds = _kinds(section)
        values = {
            name: self._value(kind, table[name], (*place, name))
            for name, kind in kinds.items()
            if name in table
        }
        self._refuse_others(table, kinds, place)
        return self._made(section, {**shared, **values}, place, before)

    def _made(
        self, section: type[S], values: dict[str, Any], place: Place, before: int
    ) -> S | None:
        if len(self.problems) > before:
            return None
        try:
            return section(**values)
        except ValueError as error:
            self.problems.append(Problem(place, str(error)))
            return None

    def _value(self, kind: Kind[Any], value: object, place: Place) -> object:
        try:
            return kind.read(value)
        except ItemsWrong as wrong:
            for index in wrong.places:
                self._complain((*place, index), kind.expected)
        except CredentialMissing as missing:
            self.problems.append(Problem(place, str(missing)))
        except ValueError:
            self._complain(place, kind.expected)
        return None

    def _complain(self, place: Place, expected: str) -> None:
        self.problems.append(Problem(place, f"expected {expected}"))

    def _refuse_others(
        self, table: Mapping[str, Any], known: Mapping[str, Any], place: Place
    ) -> None:
        for name, value in table.items():
            if name not in known:
                self.problems.append(Problem((*place, name), None, value))


def _kinds(section: Any) -> dict[str, Kind[Any]]:
    """Return the keys of a section, each with its kind of value."""
    return {key.name: kind_of(key.type) for key in fields(section)}


def _keys() -> dict[Key, str]:
    """Return all sections and keys, each with its kind of value."""
    keys: dict[Key, str] = {}
    for name, section in SECTIONS.items():
        keys[(name,)] = "tables headed [[target]]" if name == _TARGET else "a table"
        keys |= {(name, key): kind.expected for key, kind in _kinds(section).items()}
    return keys


SECTIONS: Final[Mapping[str, Any]] = {
    section.name: TargetSection if section.name == _TARGET else section.type
    for section in fields(Config)
}
KEYS: Final = _keys()
