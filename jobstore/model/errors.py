"""What can go wrong, as data.

Each kind of error that a client can get carries the HTTP status of the answer, the same in every
dialect. A kind without a status never reaches a client: its words are for the log or the command
line.

JobstoreError
├── ConfigError                 the configuration cannot be used
├── StoreError                  the store file cannot be used
│   ├── StoreMissing            there is no such file
│   ├── StoreInUse              another server is using it
│   ├── StoreForeign            it is not a jobstore file
│   ├── StoreNewer              it comes from a newer jobstore
│   ├── StoreOutdated           it has to be upgraded first
│   ├── StoreDamaged            SQLite finds it malformed
│   ├── StoreMixed              the log beside it belongs to another file
│   ├── StoreUnsupported        its server is not one that nodes can share
│   ├── StoreOccupied           it is not empty
│   ├── StoreUnsure             a failed change may come back after a crash
│   └── StoreUnavailable        nothing was changed; a later attempt may succeed
│       ├── StoreBusy           another process holds the write lock
│       ├── StoreFull           no space is left for the change
│       │   └── StoreAtLimit    since it is as large as the configuration allows
│       ├── StoreFailing        the disk returns errors
│       ├── NodeBusy            more operations wait than can be kept in memory
│       ├── StoreDenied         the database user lacks a permission
│       ├── StoreReadOnly       the database is read-only
│       ├── StoreAway           the database cannot be reached
│       ├── NodeFenced          the other nodes declared this one dead
│       └── StoreLost           nothing more is written until the next start
│           ├── StoreReplaced   since its files were removed or replaced while it was open
│           └── StoreClosed     since the server is stopping
├── NotAccepting                no jobs are accepted at the moment
│   ├── QueueFull               as many jobs are queued as the configuration allows
│   ├── NoRoom                  too many large requests are in memory at once
│   └── ShuttingDown            the server is shutting down
├── OwnerLimit                  an owner has reached a limit
│   └── TooFast                 or submits too many jobs per second
├── TooDeep                     the chain of jobs that submit jobs is too long
├── NoJobOfThat                 a tunnel or another protocol cannot become a job
├── BodyTooLarge                the request's body exceeds the configured limit
├── BodyBroken                  the request's body ended before its announced end
│   └── BodyStalled             or has stopped arriving
├── BodyGone                    a stored body was purged while it was read
├── JobNotFound                 no such job, or its result is gone
├── JobGone                     what was asked for is no longer kept
├── NotKept                     a message of a job is not kept
├── WrongState                  the job's state does not allow that
│   ├── BeingDelivered          its result is on its way to another reader
│   └── SecretsMissing          its secrets were not kept for another run
├── TagTaken                    a job of the same owner that has not ended has the tag
├── MetricsOff                  metrics are turned off
├── TooManyListeners            too many clients follow all changes
├── SubmissionInvalid           the submission is invalid
├── QueryInvalid                the query is invalid
├── OperationNotFound           no such bulk operation, or not visible
├── OperationChanged            the number of matching jobs has changed
├── MemberRefused               one submission of a batch was refused
├── KeyInvalid                  the idempotency key is invalid
├── KeyReused                   the key was used for another request
├── DefinitionNotFound          no such definition, or not visible
├── DefinitionExists            the owner has a definition with the path
├── DefinitionAmbiguous         several owners have a definition at a path
├── DefinitionInvalid           the definition is invalid
├── AccountProblem              an account cannot be created, changed or found
├── Unauthorized                the credentials are missing or wrong
├── AccountsUnavailable         the accounts cannot be read at the moment
├── TooManyLogins               too many logins at once
├── Forbidden                   the account is not allowed to do that
├── ExportInvalid               the export cannot be imported
├── AnswerUnsendable            a stored response cannot be sent over HTTP
├── ResultNotRestorable         the result cannot be restored
├── DeliveryRefused             the result went away while it was being delivered
├── NoTarget                    no target is configured for the path
│   └── PathLeaves              the path leaves its target's prefix
├── TargetUnknown               there is no target with the name
├── CannotListen                the server cannot listen on its address
├── NotOpen                     without accounts, the address is not allowed
└── TargetFailed                the target did not answer
    ├── TargetUnreachable       no connection to it could be made
    └── TargetBroken            the response broke off or was not valid HTTP
        └── AnswerTooLarge      the response's body exceeds the configured limit
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Final

# How many of several things a message names.
_SHOWN: Final = 5
# How much a message shows of a name that is none.
_LONGEST_NAME: Final = 80


class JobstoreError(Exception):
    """Base of every error that jobstore raises on purpose.

    Attributes:
        status: the HTTP status of the answer; None if it never reaches a client.
    """

    status: ClassVar[int | None] = None


class ConfigError(JobstoreError):
    """The configuration cannot be used; the message says what was expected."""


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


class NotAccepting(JobstoreError):
    """No jobs are accepted at the moment; a later attempt may succeed."""

    status = 503


class QueueFull(NotAccepting):
    """As many jobs are queued as the configuration allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the queue is full: {limit} jobs are waiting")
        self.limit = limit


class ShuttingDown(NotAccepting):
    """The server is shutting down and takes no new jobs."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class NoRoom(NotAccepting):
    """Too many large messages are being read or answered at the same time."""

    def __init__(self) -> None:
        super().__init__("too many large requests at once; try again")


class OwnerLimit(JobstoreError):
    """An owner has reached a limit; a later attempt may succeed.

    Args:
        bound: the limit, as a sentence.
        seconds: when to try again.
    """

    status = 429

    def __init__(self, bound: str, seconds: int) -> None:
        super().__init__(bound)
        self.seconds = seconds


class TooFast(OwnerLimit):
    """An owner submits too many jobs per second.

    Args:
        rate: how many per second are allowed.
        seconds: when to try again.
    """

    def __init__(self, rate: float, seconds: int) -> None:
        super().__init__(f"expected at most {rate:g} jobs per second", seconds)


class TooDeep(JobstoreError):
    """The chain of jobs that submit jobs is too long.

    Args:
        limit: the longest chain allowed.
    """

    status = 508

    def __init__(self, limit: int) -> None:
        super().__init__(f"expected a chain of at most {limit} jobs that submit jobs")


class NoJobOfThat(JobstoreError):
    """A request for a tunnel or another protocol cannot become a job."""

    status = 501

    def __init__(self) -> None:
        super().__init__(
            "CONNECT and WebSockets cannot become jobs: they last as long as their connection"
        )


class BodyTooLarge(JobstoreError):
    """The request's body exceeds the configured limit.

    Args:
        limit: the limit, in bytes.
    """

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's body is larger than {limit} bytes")
        self.limit = limit


class BodyBroken(JobstoreError):
    """The request's body ended before its announced end."""

    status = 400

    def __init__(self, what: str = "the request's body ended before its announced end") -> None:
        super().__init__(what)


class BodyStalled(BodyBroken):
    """The request's body has stopped arriving.

    Args:
        seconds: for how long nothing has.
    """

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing of the request's body arrived for {seconds:g} s")


class BodyGone(JobstoreError):
    """A stored body was purged while it was read."""

    def __init__(self) -> None:
        super().__init__("the body was purged while it was being read")


class JobNotFound(JobstoreError):
    """No such job, or its result can no longer be fetched.

    Args:
        reference: its id, or its tag.
    """

    status = 404

    def __init__(self, reference: int | str) -> None:
        super().__init__(f"no job {reference}")
        self.reference = reference


class JobGone(JobstoreError):
    """What was asked for is no longer kept.

    Args:
        reason: what became of it and when, as the end of a sentence that begins with the job.
    """

    status = 410

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"job {job_id}: {reason}")
        self.job_id = job_id


class NotKept(JobstoreError):
    """A message of a job is not kept.

    Args:
        message: which one: its request or its response.
        reason: why not, as a clause.
    """

    status = 404

    def __init__(self, job_id: int, message: str, reason: str) -> None:
        super().__init__(f"the {message} of job {job_id} is not kept: {reason}")
        self.job_id = job_id


class WrongState(JobstoreError):
    """The state of a job does not allow what was asked for.

    Args:
        problem: its state, as the end of a sentence that begins with the job.
    """

    status = 409

    def __init__(self, job_id: int, problem: str) -> None:
        super().__init__(f"job {job_id} {problem}")
        self.job_id = job_id


class SecretsMissing(WrongState):
    """A job had secret headers that are no longer kept, so another run would lack them.

    Args:
        names: the headers.
    """

    def __init__(self, job_id: int, names: Sequence[str]) -> None:
        super().__init__(
            job_id,
            f"was sent with {', '.join(names)}, which is not kept after the job ends; use "
            "/retry?without_secrets=yes to run it without",
        )


class BeingDelivered(WrongState):
    """A job's result is on its way to another reader; if the delivery fails, it is held again."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id, "is being delivered to another reader; try again")


class TagTaken(JobstoreError):
    """A job of the same owner that has not ended has the same tag."""

    status = 409

    def __init__(self, tag: str) -> None:
        super().__init__(
            f"a job with the tag {tag} has not ended yet; wait for its end, or choose another tag"
        )
        self.tag = tag


class MetricsOff(JobstoreError):
    """Metrics are turned off in the configuration."""

    status = 404

    def __init__(self) -> None:
        super().__init__("metrics are turned off; set [metrics] enabled = true")


class TooManyListeners(JobstoreError):
    """As many clients follow all changes as are allowed at once.

    Args:
        listeners: how many that is.
    """

    status = 503

    def __init__(self, listeners: int) -> None:
        super().__init__(
            f"{listeners} clients are already following all changes, the most allowed; "
            "try again later"
        )


class SubmissionInvalid(JobstoreError):
    """The submission is invalid; each line of the message is one problem."""

    status = 400


class QueryInvalid(JobstoreError):
    """The query is invalid; the message says what was expected."""

    status = 400


class OperationNotFound(JobstoreError):
    """There is no such bulk operation, or the account may not see it."""

    status = 404

    def __init__(self, operation: object) -> None:
        super().__init__(f"there is no operation {operation}")


class OperationChanged(JobstoreError):
    """The number of matching jobs is not the expected one.

    Args:
        expected: how many were expected.
        count: how many there are.
    """

    status = 409

    def __init__(self, expected: int, count: int) -> None:
        super().__init__(f"expected {expected} jobs to match, but {count} do; nothing was done")
        self.count = count


class MemberRefused(JobstoreError):
    """One submission of a batch was refused, and so the whole batch was.

    Args:
        index: its place among them, from 0.
        error: why it was refused.
    """

    def __init__(self, index: int, error: JobstoreError) -> None:
        super().__init__("\n".join(f"jobs[{index}]: {line}" for line in str(error).splitlines()))
        self.index = index
        self.error = error


class KeyInvalid(JobstoreError):
    """The idempotency key is invalid."""

    status = 400

    def __init__(self, problem: str) -> None:
        super().__init__(f'Idempotency-Key: expected a key such as "8e03978e-40d5", not {problem}')


class KeyReused(JobstoreError):
    """The idempotency key was used before, for another request."""

    status = 422

    def __init__(self, key: str) -> None:
        super().__init__(
            f'the idempotency key "{key}" was already used for another request; '
            "use a new key for a new request"
        )
        self.key = key


class DefinitionNotFound(JobstoreError):
    """No such definition, or the account may not see it.

    Args:
        reference: its id, uuid or path, as given.
    """

    status = 404

    def __init__(self, reference: object) -> None:
        super().__init__(f"no definition {reference}")
        self.reference = reference


class DefinitionExists(JobstoreError):
    """Another definition has the same path."""

    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(f"a definition with the path {path} already exists")
        self.path = path


class DefinitionAmbiguous(JobstoreError):
    """Several owners have a definition at a path.

    Args:
        found: the id and the owner of each.
    """

    status = 409

    def __init__(self, path: str, found: Sequence[tuple[int, str]]) -> None:
        shown = ", ".join(f"{number} of {owner or 'nobody'}" for number, owner in found[:_SHOWN])
        more = ", ..." if len(found) > _SHOWN else ""
        super().__init__(
            f"several definitions have the path {path}; name one by its id: {shown}{more}"
        )
        self.path = path


class DefinitionInvalid(JobstoreError):
    """The definition is invalid; each line of the message is one problem."""

    status = 400


class AccountProblem(JobstoreError):
    """An account or a token cannot be created, changed or found; the message says why."""


class Unauthorized(JobstoreError):
    """The credentials are missing or wrong."""

    status = 401

    def __init__(self) -> None:
        super().__init__("not authorized to execute this request")


class AccountsUnavailable(JobstoreError):
    """The accounts cannot be read at the moment."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the accounts cannot be read at the moment; try again")


class TooManyLogins(JobstoreError):
    """Too many passwords are waiting to be verified."""

    status = 429

    def __init__(self) -> None:
        super().__init__("too many logins at once; try again")


class Forbidden(JobstoreError):
    """The account is not allowed to do that.

    Args:
        why: what is not allowed.
    """

    status = 403

    def __init__(self, why: str = "a reader may see jobs, but not change anything") -> None:
        super().__init__(why)


class ExportInvalid(JobstoreError):
    """The export cannot be imported, and nothing of it was.

    Args:
        problem: what is wrong with it, as a clause.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; nothing was imported")


class ResultNotRestorable(JobstoreError):
    """The result was not fetched or deleted, or its payload is no longer kept.

    Args:
        reason: why not, as a clause.
    """

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"the result of job {job_id} cannot be restored: {reason}")
        self.job_id = job_id
        self.reason = reason


class DeliveryRefused(JobstoreError):
    """A result was deleted or expired while it was on its way to a reader."""

    def __init__(self, job_id: int) -> None:
        super().__init__(
            f"the result of job {job_id} was deleted or expired while it was being delivered"
        )
        self.job_id = job_id


class AnswerUnsendable(JobstoreError):
    """A response stored by an earlier version cannot be sent over HTTP.

    Args:
        problem: why not, as the end of a sentence.
    """

    status = 502

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the target's response is kept, but cannot be sent over HTTP: its head {problem}; "
            "`jobstore show ID --body response` writes its body"
        )


class NoTarget(JobstoreError):
    """No target is configured for the path."""

    status = 404

    def __init__(self, problem: str = "no target is configured for this path") -> None:
        super().__init__(problem)


class PathLeaves(NoTarget):
    """The path leaves its target's prefix."""

    status = 400

    def __init__(self) -> None:
        super().__init__(
            "expected a path below its target's prefix, however its dots, slashes and escapes "
            "are read"
        )


class TargetUnknown(JobstoreError):
    """There is no target with the name.

    Args:
        known: the names of the existing targets.
    """

    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        there = ", ".join(sorted(known)) or "none yet"
        super().__init__(f"there is no target {name[:_LONGEST_NAME]}; the targets are: {there}")


class CannotListen(JobstoreError):
    """The server cannot listen on an address.

    Args:
        address: where it should have listened.
        problem: why not.
        advice: what to do about it, if known.
    """

    def __init__(self, address: str, problem: str, advice: str = "") -> None:
        super().__init__(
            f"cannot listen on {address}: {problem}" + (f"; {advice}" if advice else "")
        )


class NotOpen(JobstoreError):
    """Without accounts, the server may not listen on the address.

    Args:
        host: where it should have listened.
    """

    def __init__(self, host: str) -> None:
        super().__init__(
            f"refusing to listen on {host}: without accounts, everybody who can reach it could "
            "see and change everything; add an account with `jobstore user add NAME --role admin`, "
            "or use --open to allow this"
        )


class TargetFailed(JobstoreError):
    """The target did not answer."""

    status = 502


class TargetUnreachable(TargetFailed):
    """No connection to the target could be made.

    Args:
        sent: whether the target may have received the request anyway: it was written to an earlier
        connection, which broke.
    """

    def __init__(self, problem: str, *, sent: bool = False) -> None:
        super().__init__(problem)
        self.sent = sent


class TargetBroken(TargetFailed):
    """The target's response broke off or was not valid HTTP."""


class AnswerTooLarge(TargetBroken):
    """The body of the target's response exceeds the configured limit.

    Args:
        limit: the limit, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the target's response is larger than {limit} bytes, the limit in [capture] "
            "response_limit"
        )
        self.limit = limit
