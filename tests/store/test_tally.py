"""The numbers that are kept of the jobs are written with the jobs, or not at all: see `tally`."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.model.errors import JobNotFound
from jobstore.store import deleting, submitting
from jobstore.store.counters import count_queued
from jobstore.store.facts import Changes
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.committing import Committer
from jobstore.store.sqlite.transaction import connection_of
from jobstore.store.transaction import Batch, Operation, Transaction
from tests.stores import MISCOUNTED, START, check_sound, prepare, submission

pytestmark = pytest.mark.file

BODY: Final = b"seven b"


class File:
    """A store's file, on which batches of operations are run."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self._committer = Committer(path)

    def together(self, *operations: Operation[Any]) -> Batch:
        """Run operations as the writer does: together, or if that fails each alone."""
        try:
            return self._committer.together(self.connection, operations, START, Changes())
        except Exception as error:  # noqa: BLE001 - as the writer does
            return self._committer.each_alone(self.connection, operations, START, error)

    def numbers(self) -> list[Any]:
        """Read all that is kept."""
        return [
            self.connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("counter", "account_usage", "day")
        ]

    def queued(self) -> int:
        """Read how many jobs are said to be queued."""
        text = "SELECT count FROM counter WHERE machine = 'job' AND state = 'queued'"
        (count,) = self.connection.execute(text).fetchone()
        return int(count)


@pytest.fixture
def file(store_path: Path) -> Iterator[File]:
    prepare(store_path)
    with closing(sqlite.connect(store_path, "rw", sqlite.WRITER_PRAGMAS)) as connection:
        yield File(store_path, connection)
    check_sound(store_path)


def put(tx: Transaction) -> int:
    """Put a job in, to be queued."""
    return submitting.submit(tx, submission(body=BODY), BODY, frozenset(), None).job_id


def refused(tx: Transaction) -> None:
    """Delete a result that is not there."""
    deleting.delete(tx, 2**40)


def broken(tx: Transaction) -> None:
    """Put a job in, and fail then."""
    put(tx)
    raise KeyError("its own mistake")


def unable_to_commit(tx: Transaction) -> None:
    """Put a job in, and leave something behind that cannot be committed."""
    put(tx)
    connection_of(tx).execute("PRAGMA defer_foreign_keys = ON")
    connection_of(tx).execute(
        "INSERT INTO event (job_id, at, event) VALUES (?, 0, 'lost')", (2**40,)
    )


def test_each_number_is_written_once_for_all_operations_of_a_batch(file: File) -> None:
    said: list[str] = []
    file.connection.set_trace_callback(said.append)
    file.together(*[put] * 10)
    tables = ("counter", "account_usage", "day")
    written = [name for text in said for name in tables if name in text.split(" ", 3)]
    assert sorted(written) == sorted(tables)
    assert file.queued() == 10


def test_a_refusal_in_a_batch_counts_nothing(file: File) -> None:
    done = file.together(put, refused, put)
    assert [type(outcome.error) for outcome in done.outcomes] == [
        type(None),
        JobNotFound,
        type(None),
    ]
    assert file.queued() == 2


def test_what_fails_alone_leaves_the_numbers_of_the_others_right(file: File) -> None:
    done = file.together(put, broken, put, refused, put)
    assert [outcome.error is None for outcome in done.outcomes] == [True, False, True, False, True]
    assert file.queued() == 3


@pytest.mark.parametrize("operation", [broken, unable_to_commit])
def test_what_is_not_committed_leaves_the_numbers_as_they_were(
    file: File, operation: Operation[None]
) -> None:
    file.together(put)
    before = file.numbers()
    (outcome,) = file.together(operation).outcomes
    assert outcome.error is not None
    assert file.numbers() == before


def test_an_operation_sees_in_the_numbers_what_its_batch_has_done_before_it(file: File) -> None:
    seen = [file.together(put, put, reading).outcomes[-1].value for reading in (used, queued)]
    assert seen == [(2, 2 * len(BODY)), 4]


def used(tx: Transaction) -> tuple[int, int]:
    return submitting.usage(tx, 0)


def queued(tx: Transaction) -> int:
    return count_queued(tx)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE counter SET count = count + 1 WHERE state = 'queued'",
        "UPDATE account_usage SET stored = stored + 1",
        "DELETE FROM account_usage",
        "UPDATE day SET errors = 1",
    ],
)
def test_what_compares_the_numbers_with_the_jobs_notices_each_that_is_wrong(
    file: File, change: str
) -> None:
    file.together(put)
    file.connection.execute("BEGIN")
    file.connection.execute(change)
    assert [row for text in MISCOUNTED["file"] for row in file.connection.execute(text)]
    file.connection.execute("ROLLBACK")
