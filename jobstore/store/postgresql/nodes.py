"""Starts of nodes: see `jobstore.store.postgresql.node_writer` for what their rows are."""

from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, insert

from jobstore.store.expressions import Statement

_BOOT: Final = Table(
    "boot",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("started_at", BigInteger),
    Column("pid", BigInteger),
    Column("version", Text),
    Column("name", Text),
)
BOOT: Final = Statement(
    insert(_BOOT).values(
        {name: bindparam(name) for name in ("started_at", "pid", "version", "name")}
    )
)
