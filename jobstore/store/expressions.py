"""Statements, compiled once, and what they say that each database says in its own words."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    case,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.sqlite import Insert, dialect, insert
from sqlalchemy.sql.elements import ClauseElement

_COMPILED: Final = frozenset({"sql", "bound"})
_DIALECT: Final = dialect(paramstyle="qmark")


class Statement:
    """A SQLAlchemy statement, compiled once: when it is used first.

    Args:
        element: the statement; its named parameters are bound at each execution.

    Attributes:
        sql: the text, with a ``?`` for each of its parameters: SQLite's driver binds a place in
            half the time that it needs for a name.
        bound: gives the values of the parameters in their order, of those by the parameters' names.
    """

    __slots__ = ("_element", "bound", "sql")

    bound: Callable[[Mapping[str, object]], tuple[object, ...]]
    sql: str

    def __init__(self, element: ClauseElement) -> None:
        self._element = element

    def __getattr__(self, name: str) -> Any:
        """Compile the statement, since it has no text yet; this is asked for nothing else."""
        if name not in _COMPILED:
            raise AttributeError(name)
        self._compile()
        return getattr(self, name)

    def _compile(self) -> None:
        compiled = self._element.compile(dialect=_DIALECT)
        hidden = {name for name, value in compiled.params.items() if value is not None}
        if hidden:
            raise AssertionError(f"values that nobody will bind: {hidden}")
        self.sql = str(compiled)
        names = tuple(getattr(compiled, "positiontup", None) or ())
        if len(names) > 1:
            self.bound = itemgetter(*names)
        else:  # it gives a tuple only of two and more
            self.bound = lambda values: tuple(values[name] for name in names)


def constant(word: str) -> ColumnClause[str]:
    """Write one of our own words into a statement's text: partial indexes serve such terms only."""
    return literal_column(f"'{word}'", Text)


def blank(column: ColumnElement[str]) -> ColumnElement[str]:
    """Write spaces over a text, as many as it has characters.

    SQLite overwrites a row where it stands if it keeps its size. A text that is dropped instead, or
    shortened, may stay legible in the pages that its row has left.
    """
    return func.printf(constant("%*s"), func.length(column), constant(""), type_=Text)


def listed(name: str) -> Select[tuple[Any]]:
    """Select the members of a list that is bound as one parameter, as JSON text."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


def next_id(table: str) -> ColumnElement[int]:
    """Give the id that the next row of a table with AUTOINCREMENT will get.

    https://www.sqlite.org/autoinc.html
    """
    last = f"(SELECT seq FROM sqlite_sequence WHERE name = '{table}')"  # noqa: S608 - our own word
    return literal_column(f"coalesce({last}, 0) + 1", Integer)


def merged(column: ColumnElement[str], name: str) -> ColumnElement[str]:
    """Merge an object, bound as JSON text, into a column of such objects; null changes nothing."""
    return case(
        (bindparam(name).is_(None), column),
        else_=func.json_patch(func.coalesce(column, literal_column("'{}'")), bindparam(name)),
    )


def added(table: Table, key: str, largest: str | None = None) -> Insert:
    """Insert a row of numbers; if there is one with its key, add them to those that it has.

    Args:
        key: the column by which there is one row.
        largest: the column that keeps the largest number instead of the sum, if there is one.
    """
    row = insert(table).values({column.name: bindparam(column.name) for column in table.columns})
    kept = {
        name: func.max(old, row.excluded[name]) if name == largest else old + row.excluded[name]
        for name, old in table.columns.items()
        if name != key
    }
    return row.on_conflict_do_update(index_elements=[key], set_=kept)
