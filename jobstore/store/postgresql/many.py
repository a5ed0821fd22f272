"""A statement for many operations, derived from that for one.

Columns of a table of values, one row for each operation, replace the parameters. Guards and
everything else stay as they are, so there is no second set of rules.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Insert,
    Select,
    Update,
    bindparam,
    column,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import NullType, TypeEngine

from jobstore.model.frozen import frozen
from jobstore.store.expressions import Statement

_ORDER: Final = "ord"


@frozen
class Many:
    """A statement for many operations, derived from one for a single operation.

    Args:
        types: the types of the parameters, by name; each takes a list now.
        inserts: whether it inserts rows.
    """

    statement: Statement
    types: Mapping[str, TypeEngine[Any]]
    inserts: bool


@cache
def many(statement: Statement) -> Many | None:
    """Derive the statement for many; None if that is not possible."""
    element = statement.postgresql
    types = statement.pg_types
    if not types or any(isinstance(each, NullType) for each in types.values()):
        return None
    table = listing(types)
    if isinstance(element, Insert) and statement.row is not None:
        derived = _inserting(element, statement.row, table)
    elif isinstance(element, Update):
        derived = _with(table, element).returning(table.c[_ORDER])
    elif isinstance(element, Select) and " LIMIT " not in statement.pg_sql:
        derived = _with(table, element).add_columns(table.c[_ORDER])
    else:
        return None
    return Many(Statement(derived), types, inserts=isinstance(element, Insert))


def _with(table: Any, element: Any) -> Any:
    """Replace parameters by columns of the table of values."""

    def replace(each: Any, **_: Any) -> Any:
        return table.c[each.key] if isinstance(each, BindParameter) else None

    replaced: Any = replacement_traverse(element, {}, replace)  # type: ignore[call-overload]
    return replaced


def _inserting(element: Insert, row: Mapping[str, ColumnElement[Any]], table: Any) -> ClauseElement:
    values = {name: _with(table, value) for name, value in row.items()}
    rows = select(*values.values()).select_from(table).order_by(table.c[_ORDER])
    made = insert(element.table).from_select([*values], rows)
    return made.returning(element.table.c.id) if "id" in element.table.columns else made


def listing(types: Mapping[str, TypeEngine[Any]]) -> Any:
    """Return a table of values: a column for each parameter, bound as a list, and the order."""
    lists = [bindparam(name, type_=ARRAY(each)) for name, each in types.items()]
    columns = [column(name, each) for name, each in types.items()]
    values = func.unnest(*lists).table_valued(
        *columns, with_ordinality=_ORDER, name="given", joins_implicitly=True
    )
    return values.render_derived()
