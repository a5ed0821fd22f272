"""Statements, compiled once for each engine, and constructs that the engines write differently."""

from collections.abc import Callable, Mapping
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    REAL,
    BigInteger,
    BindParameter,
    ColumnClause,
    ColumnElement,
    Double,
    Insert,
    Integer,
    LargeBinary,
    TableClause,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

# Whole numbers of 64 bits. SQLite counts up only what is declared as INTEGER.
NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
# Numbers with fractions, of 64 bits as well.
FRACTION: Final[TypeEngine[float]] = Double().with_variant(REAL(), "sqlite")
_SQLITE: Final = sqlite.dialect(paramstyle="qmark")

Bound = Callable[[Mapping[str, object]], tuple[object, ...]]


class Statement:
    """A SQLAlchemy statement, compiled once for each engine: when it is used first.

    Args:
        element: the statement; its named parameters are bound at each execution.
        postgresql: a separate statement for PostgreSQL, where one text cannot serve both, or a
            function that makes it when it is needed.
        row: the value of each column, if it inserts one row and may be combined with
            others; see `inserting`.

    Attributes:
        sql: the text for SQLite, with a ``?`` for each parameter: SQLite's driver binds positions
            in half the time that it needs for names.
        bound: returns the parameters' values in order, from a mapping by name.
        pg_sql: the text for PostgreSQL, with ``$1`` and so on.
        pg_bound: the same as ``bound``, for that text.
        pg_types: the types of that text's parameters, by name.
    """

    __slots__ = ("_element", "_other", "bound", "pg_bound", "pg_sql", "pg_types", "row", "sql")

    sql: str
    bound: Bound
    pg_sql: str
    pg_bound: Bound
    pg_types: Mapping[str, TypeEngine[Any]]

    def __init__(
        self,
        element: ClauseElement,
        postgresql: ClauseElement | Callable[[], ClauseElement] | None = None,
        row: Mapping[str, ColumnElement[Any]] | None = None,
    ) -> None:
        self.row = row
        self._element = element
        self._other = element if postgresql is None else postgresql

    @property
    def postgresql(self) -> ClauseElement:
        """The statement for PostgreSQL."""
        return self._other() if callable(self._other) else self._other

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return isinstance(self._element, UpdateBase)

    def __getattr__(self, name: str) -> Any:
        """Compile the statement when its text is first needed."""
        match name:
            case "sql" | "bound":
                compiled = _compiled(self._element, _SQLITE)
                self.sql, self.bound = str(compiled), _binding(compiled)
            case "pg_sql" | "pg_bound" | "pg_types":
                compiled = _compiled(returning_id(self.postgresql), _postgresql())
                self.pg_sql, self.pg_bound = str(compiled), _binding(compiled)
                self.pg_types = {name: compiled.binds[name].type for name in _names(compiled)}
            case _:
                raise AttributeError(name)
        return getattr(self, name)


def inserting(
    table: TableClause, row: Mapping[str, ColumnElement[Any]], **postgresql: ColumnElement[Any]
) -> Statement:
    """Insert a row.

    Args:
        row: the value of each column.
        postgresql: values for PostgreSQL, where they differ.
    """
    shared = {**row, **postgresql}
    return Statement(insert(table).values(row), insert(table).values(shared), row=shared)


def returning_id(made: ClauseElement) -> ClauseElement:
    """Have an INSERT of one row return the row's id, if it has one; others stay as they are."""
    if not isinstance(made, Insert) or made.select is not None or made.exported_columns:
        return made
    return made.returning(made.table.c.id) if "id" in made.table.c else made


@cache
def _postgresql() -> Dialect:
    """Load the dialect, which takes a tenth of the time of a command that reads a file."""
    from sqlalchemy.dialects.postgresql import dialect  # a fast start

    made: Dialect = dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    return made


def _compiled(element: ClauseElement, dialect: Dialect) -> SQLCompiler:
    compiled = element.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    hidden = {name for name, value in compiled.params.items() if value is not None}
    if hidden:
        raise AssertionError(f"values that nobody will bind: {hidden}")
    return compiled


def _names(compiled: SQLCompiler) -> tuple[str, ...]:
    """Return the parameter name of each position; in SQLite a name may have several positions."""
    return tuple(compiled.positiontup or ())


def _binding(compiled: SQLCompiler) -> Bound:
    names = _names(compiled)
    if len(names) > 1:
        return itemgetter(*names)
    # It gives a tuple only of two and more.
    return lambda values: tuple(values[name] for name in names)


def number(name: str) -> BindParameter[int]:
    """Declare a parameter as a whole number, where the context does not imply it."""
    return bindparam(name, type_=NUMBER)


def constant(word: str) -> ColumnClause[str]:
    """Write a constant into a statement's text: only such terms can use partial indexes."""
    return literal_column(f"'{word}'", Text)


NO_BYTES: Final = cast(constant(""), LargeBinary)


# --- words that the engines do not share ----------------------------------------------------------


def _words(kind: type[FunctionElement[Any]], **texts: str) -> None:
    """Define how each engine writes a construct, with ``{0}`` and so on for its arguments."""
    for engine, text in texts.items():

        def write(
            word: FunctionElement[Any], compiler: SQLCompiler, text: str = text, **options: Any
        ) -> str:
            return text.format(*(compiler.process(each, **options) for each in word.clauses))

        compiles(kind, engine)(write)


class blank(FunctionElement[str]):
    """Overwrite a text with as many spaces.

    SQLite overwrites a row in place if its size does not change. A text that is deleted or
    shortened instead may stay readable in pages that the row no longer uses. PostgreSQL keeps the
    old row until it is vacuumed, in any case.
    """

    type, inherit_cache = Text(), True


class checked(FunctionElement[bool]):
    """Return a condition in a form that PostgreSQL's planner does not use to find rows.

    The planner then neither uses an index for it, nor assumes that few rows meet it. It has no
    type, since SQLAlchemy would compare a boolean with a number for SQLite.
    """

    inherit_cache = True


class next_id(FunctionElement[int]):
    """Return the id that the next row will get (SQLite), or the last row got (PostgreSQL).

    While a row is inserted, both are that row's own id.

    https://www.sqlite.org/autoinc.html
    """

    type, inherit_cache = NUMBER, True


class lower(FunctionElement[int]):
    """Return the lower of two numbers, or null if the first is null."""

    type, inherit_cache = NUMBER, True


class no_earlier(FunctionElement[int]):
    """Return the bound time; in PostgreSQL, not before another time.

    A batch reads the clock at its beginning. The rows that it changes may have been written since,
    by a node that read the clock later.
    """

    type, inherit_cache = NUMBER, True


class without_query(FunctionElement[str]):
    """Return a path without its query."""

    type, inherit_cache = Text(), True


class joined(FunctionElement[str]):
    """Join the numbers of a group by commas; null if there are none."""

    type, inherit_cache = Text(), True


class _patched(FunctionElement[str]):
    """Merge a JSON object into another."""

    type, inherit_cache = Text(), True


class _listed(FunctionElement[Any]):
    """The members of a JSON list, in a column ``value``."""

    inherit_cache = True


class _listed_numbers(_listed):
    inherit_cache = True


class in_parts(FunctionElement[int]):
    """Select the ids that are stored with an operation on many jobs."""

    type, inherit_cache = NUMBER, True


_words(blank, sqlite="printf('%*s', length({0}), '')", postgresql="repeat(' ', length({0}))")
_words(checked, sqlite="{0}", postgresql="coalesce({0}, false)")
_words(
    next_id,
    sqlite="(coalesce((SELECT seq FROM sqlite_sequence WHERE name = {0}), 0) + 1)",
    postgresql="currval(pg_get_serial_sequence({0}, 'id'))",
)
_words(
    lower,
    sqlite="min({0}, {1})",
    postgresql="CASE WHEN {0} > {1} THEN {1} ELSE {0} END",  # `least` passes over what is null
)
_words(no_earlier, sqlite="{0}", postgresql="greatest({0}, {1})")
_words(
    without_query,
    sqlite="substr({0}, 1, instr({0} || '?', '?') - 1)",
    postgresql="split_part({0}, '?', 1)",
)
_words(joined, sqlite="group_concat({0})", postgresql="string_agg(CAST({0} AS TEXT), ',')")
_words(_patched, sqlite="json_patch({0}, {1})", postgresql="merged({0}, {1})")
_words(
    in_parts,
    sqlite="(SELECT value FROM operation_part, json_each(ids) WHERE operation = {0})",
    postgresql="(SELECT CAST(member AS BIGINT) FROM operation_part,"
    " json_array_elements_text(CAST(ids AS JSON)) AS member WHERE operation = {0})",
)
_MEMBERS: Final = (
    "(SELECT {0} AS value FROM json_array_elements_text(CAST({{0}} AS JSON)) AS member)"
)
_words(_listed, sqlite="json_each({0})", postgresql=_MEMBERS.format("member"))
_words(
    _listed_numbers,
    sqlite="json_each({0})",
    postgresql=_MEMBERS.format("CAST(member AS BIGINT)"),
)


def merged(column: ColumnElement[str], name: str) -> ColumnElement[str]:
    """Merge an object, bound as JSON text, into a column of such objects; null changes nothing."""
    more = bindparam(name, type_=Text)
    before = func.coalesce(column, literal_column("'{}'", Text))
    return case((more.is_(None), column), else_=_patched(before, more))


def listed(name: str) -> Select[tuple[int]]:
    """Select the members of a list of numbers that is bound as a single parameter, as JSON."""
    return select(_listed_numbers(bindparam(name)).table_valued("value").c.value)


def listed_words(name: str) -> Select[tuple[str]]:
    """Select the members of a list of texts that is bound as a single parameter, as JSON."""
    return select(_listed(bindparam(name)).table_valued("value").c.value)


def replacing(table: TableClause, key: str) -> Statement:
    """Insert a row, or replace the row with the same key."""

    def put(into: "sqlite.Insert | postgresql.Insert") -> ClauseElement:
        names = [column.name for column in table.columns]
        row = into.values({name: bindparam(name) for name in names})
        others = {name: row.excluded[name] for name in names if name != key}
        return row.on_conflict_do_update(index_elements=[key], set_=others)

    def into_postgresql() -> ClauseElement:
        from sqlalchemy.dialects.postgresql import insert as insert_there  # as above

        return put(insert_there(table))

    return Statement(put(sqlite.insert(table)), into_postgresql)
