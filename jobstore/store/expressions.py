"""Statements, compiled once for each engine, and what these say in words of their own."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    REAL,
    BigInteger,
    BindParameter,
    ColumnClause,
    ColumnElement,
    Double,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.types import TypeEngine

# Whole numbers of 64 bits. SQLite counts up only what is declared as INTEGER.
NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
# Numbers with fractions, of 64 bits as well.
FRACTION: Final[TypeEngine[float]] = Double().with_variant(REAL(), "sqlite")
_SQLITE: Final = sqlite.dialect(paramstyle="qmark")
_POSTGRESQL: Final = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

Bound = Callable[[Mapping[str, object]], tuple[object, ...]]


class Statement:
    """A SQLAlchemy statement, compiled once for each engine: when it is used first.

    Args:
        element: the statement; its named parameters are bound at each execution.
        postgresql: the statement in PostgreSQL's words, where SQLAlchemy has none for both.
        row: what it puts into which column, where it inserts one row and may go abreast with
            others; see `inserting`.

    Attributes:
        sql: the text for SQLite, with a ``?`` for each of its parameters: SQLite's driver binds a
            place in half the time that it needs for a name.
        bound: gives the values of the parameters in their order, of those by the parameters' names.
        pg_sql: the text for PostgreSQL, with ``$1`` and so on.
        pg_bound: the same as ``bound``, for that text.
        pg_types: the types of that text's parameters, by their names.
    """

    __slots__ = ("_element", "bound", "pg_bound", "pg_sql", "pg_types", "postgresql", "row", "sql")

    sql: str
    bound: Bound
    pg_sql: str
    pg_bound: Bound
    pg_types: Mapping[str, TypeEngine[Any]]

    def __init__(
        self,
        element: ClauseElement,
        postgresql: ClauseElement | None = None,
        row: Mapping[str, ColumnElement[Any]] | None = None,
    ) -> None:
        self.row = row
        self._element = element
        self.postgresql = element if postgresql is None else postgresql

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return isinstance(self._element, UpdateBase)

    def __getattr__(self, name: str) -> Any:
        """Compile the statement, since it has no text yet; this is asked for nothing else."""
        match name:
            case "sql" | "bound":
                compiled = _compiled(self._element, _SQLITE)
                self.sql, self.bound = str(compiled), _binding(compiled)
            case "pg_sql" | "pg_bound" | "pg_types":
                compiled = _compiled(self.postgresql, _POSTGRESQL)
                self.pg_sql, self.pg_bound = str(compiled), _binding(compiled)
                self.pg_types = {name: compiled.binds[name].type for name in _names(compiled)}
            case _:
                raise AttributeError(name)
        return getattr(self, name)


def inserting(
    table: Table, row: Mapping[str, ColumnElement[Any]], **postgresql: ColumnElement[Any]
) -> Statement:
    """Insert a row.

    Args:
        row: what to put into which column.
        postgresql: what PostgreSQL puts there, where that is something else.
    """
    shared = {**row, **postgresql}
    return Statement(insert(table).values(row), insert(table).values(shared), row=shared)


def _compiled(element: ClauseElement, dialect: Dialect) -> SQLCompiler:
    compiled = element.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    hidden = {name for name, value in compiled.params.items() if value is not None}
    if hidden:
        raise AssertionError(f"values that nobody will bind: {hidden}")
    return compiled


def _names(compiled: SQLCompiler) -> tuple[str, ...]:
    """Name what each place in a text is for; SQLite has a place for each time."""
    return tuple(compiled.positiontup or ())


def _binding(compiled: SQLCompiler) -> Bound:
    names = _names(compiled)
    if len(names) > 1:
        return itemgetter(*names)
    # It gives a tuple only of two and more.
    return lambda values: tuple(values[name] for name in names)


def number(name: str) -> BindParameter[int]:
    """Name a parameter that is a whole number, where nothing beside it says so."""
    return bindparam(name, type_=NUMBER)


def constant(word: str) -> ColumnClause[str]:
    """Write one of our own words into a statement's text: partial indexes serve such terms only."""
    return literal_column(f"'{word}'", Text)


NO_BYTES: Final = cast(constant(""), LargeBinary)


# --- words that the engines do not share ----------------------------------------------------------


def _words(kind: type[FunctionElement[Any]], **texts: str) -> None:
    """Say how the engines write a word, with ``{0}`` and so on for what it is given."""
    for engine, text in texts.items():

        def write(
            word: FunctionElement[Any], compiler: SQLCompiler, text: str = text, **options: Any
        ) -> str:
            return text.format(*(compiler.process(each, **options) for each in word.clauses))

        compiles(kind, engine)(write)


class blank(FunctionElement[str]):  # noqa: N801 - as SQL's own are written
    """Write spaces over a text, as many as it has characters.

    SQLite overwrites a row where it stands if it keeps its size. A text that is dropped instead, or
    shortened, may stay legible in the pages that its row has left. PostgreSQL keeps the old row
    until it is vacuumed, whatever takes its place.
    """

    type, inherit_cache = Text(), True


class checked(FunctionElement[bool]):  # noqa: N801 - as SQL writes it
    """Give a condition as it is, in words by which PostgreSQL does not look for rows.

    It neither knows an index for it, nor takes it for true of few. It has no type, since SQLAlchemy
    would compare one that is true or false with a number for SQLite.
    """

    inherit_cache = True


class next_id(FunctionElement[int]):  # noqa: N801 - as SQL writes it
    """Give the id that the next row of a table will get, in SQLite; or has got, in PostgreSQL.

    Where a row is inserted, both are that row's own.

    https://www.sqlite.org/autoinc.html
    """

    type, inherit_cache = NUMBER, True


class lower(FunctionElement[int]):  # noqa: N801 - as SQL writes it
    """Give the lower of two numbers, or null if there is none in the first place."""

    type, inherit_cache = NUMBER, True


class no_earlier(FunctionElement[int]):  # noqa: N801 - as SQL writes it
    """Give the time that is bound; in PostgreSQL, no earlier one than another.

    A batch begins with a look at the clock. What it changes may have been put there since, by a
    node that has looked later.
    """

    type, inherit_cache = NUMBER, True


class without_query(FunctionElement[str]):  # noqa: N801 - as SQL writes it
    """Give a path as it is up to its query."""

    type, inherit_cache = Text(), True


class joined(FunctionElement[str]):  # noqa: N801 - as SQL writes it
    """Write the numbers of a group beside each other, with commas; null if there are none."""

    type, inherit_cache = Text(), True


class _patched(FunctionElement[str]):  # noqa: N801 - as SQL writes it
    """Merge an object of JSON into another."""

    type, inherit_cache = Text(), True


class _listed(FunctionElement[Any]):  # noqa: N801 - as SQL writes it
    """The members of a list of JSON, in a column ``value``."""

    inherit_cache = True


class _listed_numbers(_listed):  # noqa: N801 - as SQL writes it
    inherit_cache = True


class in_parts(FunctionElement[int]):  # noqa: N801
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
    """Select the members of a list of numbers that is bound as one parameter, as JSON text."""
    return select(_listed_numbers(bindparam(name)).table_valued("value").c.value)


def listed_words(name: str) -> Select[tuple[str]]:
    """Select the members of a list of texts that is bound as one parameter, as JSON text."""
    return select(_listed(bindparam(name)).table_valued("value").c.value)


def replacing(table: Table, key: str) -> Statement:
    """Insert a row, in the place of the one with its key if there is one."""

    def put(into: sqlite.Insert | postgresql.Insert) -> ClauseElement:
        names = [column.name for column in table.columns]
        row = into.values({name: bindparam(name) for name in names})
        others = {name: row.excluded[name] for name in names if name != key}
        return row.on_conflict_do_update(index_elements=[key], set_=others)

    return Statement(put(sqlite.insert(table)), put(postgresql.insert(table)))
