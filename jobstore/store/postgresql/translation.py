"""What the errors of PostgreSQL mean for a store."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.errors import (
    AdminShutdown,
    CannotConnectNow,
    CrashShutdown,
    DataCorrupted,
    DiskFull,
    IdleInTransactionSessionTimeout,
    InsufficientPrivilege,
    LockNotAvailable,
    QueryCanceled,
    ReadOnlySqlTransaction,
)

from jobstore.model.errors import (
    JobstoreError,
    NodeBusy,
    StoreAway,
    StoreDamaged,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from jobstore.store.postgresql.database_url import name_of

# What a database says that is about to go away, or has not come yet; the next try may succeed.
AWAY: Final = (
    AdminShutdown,
    CannotConnectNow,
    CrashShutdown,
    IdleInTransactionSessionTimeout,
)
# What errors mean for the store, without and with PostgreSQL's words for them.
_MEANT: Final[Mapping[tuple[type[psycopg.Error], ...], Callable[[str], StoreError]]] = {
    (QueryCanceled, LockNotAvailable): NodeBusy,
    (DiskFull,): StoreFull,
}
_TOLD: Final[Mapping[type[psycopg.Error], Callable[[str, str], StoreError]]] = {
    DataCorrupted: StoreDamaged,
    InsufficientPrivilege: StoreDenied,
    ReadOnlySqlTransaction: StoreReadOnly,
}
# What the driver says before the words of libpq, and these of what one might do.
_WORDY: Final = re.compile(r"^connection (?:failed|is bad): |\n\t[^\n]*")


def is_broken(error: psycopg.Error) -> bool:
    """Return whether an error means a broken connection, so its session's state is unknown."""
    return isinstance(error, AWAY) or error.sqlstate is None or error.sqlstate[:2] == "08"


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Translate errors of PostgreSQL and of the connection into those of the store."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(name_of(url), error) from error


def translate(name: str, error: psycopg.Error) -> JobstoreError:
    """Return the store's error for one of PostgreSQL."""
    for kinds, meant in _MEANT.items():
        if isinstance(error, kinds):
            return meant(name)
    for kind, told in _TOLD.items():
        if isinstance(error, kind):
            return told(name, _said(error))
    if is_broken(error):
        return StoreAway(name, _said(error))
    return StoreError(name, _said(error))


def _said(error: psycopg.Error) -> str:
    """Return PostgreSQL's message on one line and without a hint."""
    said = error.diag.message_primary or _WORDY.sub("", str(error))
    return " ".join(said.split()) or type(error).__name__
