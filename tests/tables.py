"""The tables that statements see."""

from typing import Final

from sqlalchemy import TableClause

from jobstore.store import schema

TABLES: Final = tuple(
    each
    for each in vars(schema).values()
    if isinstance(each, TableClause) and each is not schema.TIMELINE  # a view
)
