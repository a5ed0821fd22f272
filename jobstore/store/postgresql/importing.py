"""Import exported history into a database: all of it in one transaction, or nothing."""

from collections.abc import Callable, Iterable
from contextlib import closing

from jobstore.model import clock
from jobstore.store.importing import Import, Imported
from jobstore.store.postgresql import nodes
from jobstore.store.postgresql.database_url import name_of
from jobstore.store.postgresql.migrate import require
from jobstore.store.postgresql.plain import PlainTransaction, connect
from jobstore.store.postgresql.translation import translated


def import_lines(
    url: str,
    schema: str,
    lease: float,
    lines: Iterable[bytes],
    progress: Callable[[int], object] = lambda _: None,
) -> Imported:
    """Import exported history, whole or not at all; no node may be running.

    Args:
        schema: the schema with the store's tables.
        lease: how long a node may be silent before the others declare it dead, in seconds.
        lines: the lines of the export.
        progress: called with the number of jobs read, now and then.

    Raises:
        ExportInvalid: it is invalid, damaged or newer, or has a job whose id is taken.
        StoreError: a node is alive, or the store cannot be used.
    """
    require(url, schema)
    with translated(url), closing(connect(url, schema)) as link, link.transaction():
        tx = PlainTransaction(link, clock.now())
        nodes.keep_out(tx, name_of(url), lease)
        imported = Import(tx, progress).run(lines)
        tx.write_tally()
    return imported
