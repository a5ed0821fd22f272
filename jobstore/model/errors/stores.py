"""The store cannot be used, or a change of it failed."""

from pathlib import Path

from jobstore.model.errors.base import JobstoreError


class StoreError(JobstoreError):
    """The store file cannot be used.

    Args:
        problem: what is wrong with it, as the end of a sentence that begins with its name.
    """

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class StoreMissing(StoreError):
    """There is no such file."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "no such store; `jobstore serve` or `jobstore migrate` creates one")


class StoreInUse(StoreError):
    """Another server is using the file.

    Args:
        pid: the owner's process id, or None if it did not leave one.
    """

    def __init__(self, path: Path | str, pid: int | None) -> None:
        owner = f"the server with process id {pid}" if pid else "another server"
        super().__init__(path, f"{owner} is using this store; stop it first, or name another file")
        self.pid = pid


class StoreForeign(StoreError):
    """The file is not one of jobstore's, or the schema of a database is not."""

    def __init__(self, path: Path | str) -> None:
        what = "file" if isinstance(path, Path) else "schema"
        super().__init__(path, f"this is not a jobstore {what}; nothing was changed")


class StoreNewer(StoreError):
    """The file comes from a newer jobstore.

    Args:
        found: the file's schema version.
        known: the newest schema version that this jobstore knows.
    """

    def __init__(self, path: Path | str, found: int, known: int) -> None:
        super().__init__(
            path,
            f"its schema version is {found}, this jobstore knows versions up to {known}; "
            "install a newer jobstore; nothing was changed",
        )
        self.found = found
        self.known = known


class StoreOutdated(StoreError):
    """The file comes from an older jobstore and has to be upgraded first.

    Args:
        found: the file's schema version.
        known: the schema version that this jobstore needs.
    """

    def __init__(self, path: Path | str, found: int, known: int) -> None:
        super().__init__(
            path,
            f"its schema version is {found}, this jobstore needs {known}; "
            "run `jobstore migrate` (or start the server, which migrates by itself)",
        )


class StoreDamaged(StoreError):
    """SQLite finds the file malformed."""

    status = 503

    def __init__(self, path: Path | str, detail: str) -> None:
        super().__init__(
            path,
            f"the file is damaged ({detail}); "
            "`jobstore check` shows how badly; restore a backup with `jobstore restore-backup`",
        )


class StoreMixed(StoreError):
    """The log beside the file belongs to another file, or to another state of this one.

    Args:
        log: the log's name.
    """

    def __init__(self, path: Path | str, log: str) -> None:
        super().__init__(
            path,
            f"{log} beside it belongs to another state of the store, for example from before a "
            "backup was copied over it; use `jobstore restore-backup FILE`, which keeps the old "
            "files; nothing was changed",
        )


class StoreUnsupported(StoreError):
    """The database server is not one that nodes can share."""


class StoreOccupied(StoreError):
    """A store is not empty.

    Args:
        holds: what it contains.
    """

    def __init__(self, path: Path | str, holds: str) -> None:
        super().__init__(path, f"this store is not empty ({holds}); nothing was changed")


class StoreUnavailable(StoreError):
    """The store cannot be used at the moment; nothing was changed. A later attempt may succeed."""

    status = 503


class StoreBusy(StoreUnavailable):
    """Another process holds the file's write lock for too long."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "another process is writing to this store; try again")


class StoreFull(StoreUnavailable):
    """No space is left for the change, on the disk or under the configured size."""

    def __init__(self, path: Path | str, why: str = "") -> None:
        super().__init__(path, f"there is no space left to write{why}")


class StoreAtLimit(StoreFull):
    """The store is as large as the configuration allows, while the disk has room."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, ": it is as large as [store] max_size allows")


class StoreFailing(StoreUnavailable):
    """The disk returned an error.

    Args:
        detail: SQLite's message.
    """

    def __init__(self, path: Path | str, detail: str) -> None:
        super().__init__(path, f"the disk returned an error ({detail}); nothing was changed")


class StoreAway(StoreUnavailable):
    """The database cannot be reached.

    Args:
        detail: the message of the database or the connection.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, f"the database cannot be reached ({detail})")


class NodeBusy(StoreUnavailable):
    """More operations wait to be written than can be kept in memory."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "the database is too slow for the load; try again later")


class StoreDenied(StoreUnavailable):
    """The database user lacks a permission.

    Args:
        detail: the message of the database.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, f"the database does not allow that ({detail}); nothing was changed")


class StoreReadOnly(StoreUnavailable):
    """The database is read-only.

    Args:
        detail: the message of the database.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(
            name,
            f"the database is read-only, as a standby is ({detail}); nothing was changed",
        )


class NodeFenced(StoreUnavailable):
    """The other nodes declared this one dead: whatever it still tries to write is refused."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "the other nodes declared this one dead; it is starting again")


class StoreLost(StoreUnavailable):
    """Nothing more is written to the store until the server is started again."""


class StoreReplaced(StoreLost):
    """The store's files were removed or replaced while it was open.

    Args:
        problem: what happened to which of them.
    """

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(
            path, f"{problem} while the store was open; no more is written: restart the server"
        )


class StoreClosed(StoreLost):
    """Something was to be written after the server had closed its store, since it ends."""

    def __init__(self) -> None:
        super().__init__("the store", "it is closed, since the server is stopping")


class StoreUnsure(StoreError):
    """A change could not be committed, and could not be removed from the disk either.

    The running server goes on without it, but after a crash the change may be found in the file.

    Args:
        what: what failed.
        again: when the outcome will be known.
    """

    status = 500

    def __init__(
        self,
        path: Path | str,
        what: str = "the disk failed",
        again: str = "the disk can be written again",
    ) -> None:
        super().__init__(
            path,
            f"{what} in the middle of this change; whether it took effect will be known when "
            f"{again}",
        )
