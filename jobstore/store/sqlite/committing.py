"""Run operations in transactions, such that a refused change can never come back.

A commit appends frames to the WAL, syncs them, and only then makes them visible to other
connections. If the sync fails, SQLite forgets the frames, but they are still in the file: after a
crash at that moment, recovery would find a complete transaction. The caller was told that nothing
changed, yet the job would run.

So a commit that fails in a way that may leave a complete transaction in the file makes the WAL
*stale*. A later commit repairs that: it is written from the first forgotten frame on, and the
checksum of each frame covers everything before it, so recovery reads no further than the later
commit. That commit is made without content (``overwrite``), before anyone is told of the failure;
commits of others in between do not count, since a transaction that changes nothing writes no frame.
If the disk refuses that as well, the callers learn that the outcome is unknown (``StoreUnsure``),
and nothing is written until the overwriting succeeds.

https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

from jobstore.model.errors import JobstoreError, StoreError, StoreUnsure
from jobstore.store.facts import Changes
from jobstore.store.sqlite.engine import begin_patiently
from jobstore.store.sqlite.names import beside
from jobstore.store.sqlite.transaction import FileTransaction
from jobstore.store.sqlite.translation import primary_code, translate
from jobstore.store.transaction import Batch, Operation, Outcome

# After these a transaction is not whole in the WAL: its last frame is what could not be written, or
# nothing has been written at all.
_NOTHING_WRITTEN: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
_NEVER_BEGUN: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT})


class _NotBegun(Exception):
    """Another process has kept the file's lock for too long; its cause says so."""


class _CommitFailed(Exception):
    """A transaction could not be committed and was rolled back; its cause says why."""


class Committer:
    """Run operations on the one connection that writes; one call at a time.

    Attributes:
        stale: whether a crash could bring back what was refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stale = False

    def together(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation[Any]],
        now: int,
        changes: Changes,
    ) -> Batch:
        """Run operations in one transaction, after what was changed before it.

        Raises:
            Exception: one of them failed after it had changed something, or the transaction could
                not be begun or committed; nothing of it remains but for the caller to roll back.
        """
        batch = self.begun(connection, operations, now, changes)
        batch.seconds = self.commit(connection)
        return batch

    def begun(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation[Any]],
        now: int,
        changes: Changes,
    ) -> Batch:
        """Do as `together` does, except for the commit."""
        _begin(connection)
        return self.execute(connection, operations, now, changes)

    def execute(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation[Any]],
        now: int,
        changes: Changes,
    ) -> Batch:
        """Run operations in the transaction that has begun, and write what they have counted.

        Args:
            changes: what was changed before them.
        """
        transaction, batch = FileTransaction(connection, now, changes), Batch([], changes)
        for operation in operations:
            before = connection.total_changes, len(changes.facts)
            try:
                outcome = Outcome(operation(transaction))
            except JobstoreError as error:
                # A refusal that has changed nothing is no reason to undo the others.
                if (connection.total_changes, len(changes.facts)) != before:
                    raise
                outcome = Outcome.refused(error)
            batch.outcomes.append(outcome)
        transaction.write_tally()
        return batch

    def commit(self, connection: sqlite3.Connection) -> float:
        """Commit the transaction that has begun, and sync it; return how many seconds it took."""
        began = monotonic()
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if _may_be_written(error):
                self.stale = True
            raise _CommitFailed from error
        return monotonic() - began

    def each_alone(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation[Any]],
        now: int,
        error: Exception,
    ) -> Batch:
        """Run operations that failed together; one that was alone is not run again.

        A lock that was waited for in vain is not waited for again with each of them.
        """
        _roll_back(connection)
        if len(operations) == 1 or isinstance(error, _NotBegun):
            return Batch([self.failed(error)] * len(operations))
        batch = Batch()
        for operation in operations:
            try:
                alone = self.together(connection, [operation], now, batch.changes.copy())
            except _NotBegun as busy:
                left = len(operations) - len(batch.outcomes)
                return Batch([*batch.outcomes, *[self.failed(busy)] * left], batch.changes)
            except Exception as failure:  # noqa: BLE001 - whatever it is, it is its caller's alone
                _roll_back(connection)
                batch.outcomes.append(self.failed(failure))
            else:
                batch.outcomes += alone.outcomes
                batch.changes = alone.changes
        return batch

    def failed(self, error: Exception) -> Outcome:
        """Make the outcome of an operation that failed."""
        return Outcome(error=self.told(error), committing=isinstance(error, _CommitFailed))

    def told(self, error: BaseException | None) -> Exception:
        """Return the error of the store that an error means."""
        if isinstance(error, _CommitFailed | _NotBegun):
            return self.told(error.__cause__)
        if isinstance(error, sqlite3.Error):
            return translate(self._path, error)
        assert isinstance(error, Exception)
        return error

    def overwrite(self, connection: sqlite3.Connection) -> None:
        """Ensure that a crash cannot bring back a refused change.

        Raises:
            StoreUnsure: the disk refuses to be written.
        """
        _roll_back(connection)
        try:
            self._commit_nothing(connection)
        except (sqlite3.Error, _CommitFailed, StoreError) as error:
            _roll_back(connection)
            if not (_emptied(connection) and _synced(beside(self._path, "-wal"))):
                raise StoreUnsure(self._path) from error
        self.stale = False

    def _commit_nothing(self, connection: sqlite3.Connection) -> None:
        """Commit a transaction that changes a page of the file, but no content."""
        begin_patiently(connection)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")
        self.commit(connection)


def commit(connection: sqlite3.Connection, path: Path) -> None:
    """Commit a transaction; if that fails, nothing of it may remain.

    Raises:
        StoreError: it failed; if it is StoreUnsure, something may remain.
    """
    committer = Committer(path)
    try:
        committer.commit(connection)
    except _CommitFailed as error:
        if committer.stale:
            committer.overwrite(connection)
        raise committer.told(error) from error


def _begin(connection: sqlite3.Connection) -> None:
    try:
        begin_patiently(connection)
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_BUSY:
            raise
        raise _NotBegun from error


def _may_be_written(error: sqlite3.Error) -> bool:
    """Return whether a failed commit may have left a complete transaction in the WAL."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code not in _NOTHING_WRITTEN and primary_code(error) not in _NEVER_BEGUN


def _emptied(connection: sqlite3.Connection) -> bool:
    """Checkpoint and truncate the WAL, if possible."""
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    return not busy


def _synced(file: Path) -> bool:
    """Sync the truncation of a file to the disk."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
