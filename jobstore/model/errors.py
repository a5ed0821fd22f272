"""What can go wrong, as data.

Each kind of error that a client can meet carries the HTTP status that it is answered with, in every
dialect; what has none is a fault of ours, and its words are for the log.

JobstoreError
├── ConfigError                 the configuration cannot be used
├── StoreError                  the store file cannot be used
│   ├── StoreMissing            there is no such file
│   ├── StoreInUse              another server owns it
│   ├── StoreForeign            it is not a jobstore file
│   ├── StoreNewer              it comes from a newer jobstore
│   ├── StoreOutdated           it has to be migrated first
│   ├── StoreDamaged            SQLite finds it malformed
│   ├── StoreMixed              the log beside it belongs to another file
│   ├── StoreUnsupported        its server is none that nodes can share a store on
│   ├── StoreOccupied           it has something in it, where nothing may be
│   ├── StoreUnsure             a change failed so that it may come back after a crash
│   └── StoreUnavailable        nothing was changed; a later attempt may succeed
│       ├── StoreBusy           another process holds its write lock for too long
│       ├── StoreFull           no room is left for the change
│       │   └── StoreAtLimit    since it is as large as the configuration allows
│       ├── StoreFailing        the disk returns errors
│       ├── StoreDenied         the database does not let its user do that
│       ├── StoreReadOnly       the database takes no changes
│       ├── StoreAway           the database cannot be reached
│       ├── NodeFenced          the other nodes have taken this one for dead
│       └── StoreLost           its files were removed or replaced while it was open
├── NotAccepting                no job is taken in just now
│   ├── QueueFull               as many jobs are queued as the configuration allows
│   ├── NoRoom                  too many large requests are in memory at once
│   └── ShuttingDown            the server drains
├── OwnerLimit                  an owner has submitted as much as one may
│   └── TooFast                 and too many jobs of late
├── TooDeep                     jobs have made too many jobs one after the other
├── NoJobOfThat                 no job can be made of a request for a tunnel or another protocol
├── BodyTooLarge                the request's body exceeds the configured limit
├── BodyBroken                  the request's body ended before its announced end
├── BodyGone                    a stored body was purged while it was read
├── JobNotFound                 no such job, or none whose result can still be asked for
├── JobGone                     what is asked for of a job is no longer kept
├── NotKept                     a message of a job is no longer kept, or never was
├── WrongState                  the job is not where that could be done with it
│   ├── BeingDelivered          its result is on its way to another reader, and may come back
│   └── SecretsMissing          it had secrets that another run would lack
├── TagTaken                    an unended job of the same owner has the same tag
├── MetricsOff                  nothing is counted
├── TooManyListeners            as many follow all changes as may at once
├── SubmissionInvalid           what was given is no job to run
├── QueryInvalid                what was asked cannot be understood
├── OperationNotFound           no such operation on many jobs, or none that one may see
├── OperationChanged            another number of jobs match than was expected
├── MemberRefused               one of several submissions was refused, and all with it
├── KeyInvalid                  what was given is no idempotency key
├── KeyReused                   the same key came with another request
├── DefinitionNotFound          no such definition, or none that one may see
├── DefinitionExists            another definition of the same owner has the same path
├── DefinitionAmbiguous         several owners have a definition at a path
├── DefinitionInvalid           what was given is no definition
├── AccountProblem              an account cannot be made, changed or found
├── Unauthorized                whoever asks has not proven to have an account
├── AccountsUnavailable         it cannot be told just now who has one
├── TooManyLogins               too many passwords wait to be verified
├── Forbidden                   the account that asks may not do that
├── ExportInvalid               what should be imported cannot be
├── AnswerUnsendable            no HTTP message can have what was kept of an answer
├── ResultNotRestorable         the result is not one that was fetched and kept
├── DeliveryRefused             a result changed hands while it was on its way to a reader
├── NoTarget                    nobody is configured to answer a path
│   └── PathLeaves              a path leads out of what its target owns
├── TargetUnknown               there is no target of a name
├── CannotListen                the server's address cannot be used
├── NotOpen                     without accounts, the server's address may not be used
└── TargetFailed                no answer could be had from the target
    ├── TargetUnreachable       no connection to it could be made
    └── TargetBroken            the answer broke off or broke the protocol
        └── AnswerTooLarge      the answer's body exceeds the configured limit
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
        status: the HTTP status that it is answered with; None if no client should meet it.
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
    """Another server owns the file.

    Args:
        pid: the owner's process id, or None if it did not leave one.
    """

    def __init__(self, path: Path | str, pid: int | None) -> None:
        owner = f"the server with pid {pid}" if pid else "another server"
        super().__init__(path, f"{owner} owns this store; stop it first or name another file")
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
    """The file comes from an older jobstore and has to be migrated first.

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
            "`jobstore check` says how badly, a backup is the way back",
        )


class StoreMixed(StoreError):
    """The log beside the file belongs to another file, or to another state of this one.

    Args:
        log: the log's name.
    """

    def __init__(self, path: Path | str, log: str) -> None:
        super().__init__(
            path,
            f"{log} beside it belongs to another state of the store, such as one that crashed "
            "before a backup was copied here; `jobstore restore-backup FILE` puts a backup in "
            "place and keeps the rest; nothing was changed",
        )


class StoreUnsupported(StoreError):
    """The server of a database is none that nodes can share a store on."""


class StoreOccupied(StoreError):
    """A store has something in it, where nothing may be.

    Args:
        holds: what it has.
    """

    def __init__(self, path: Path | str, holds: str) -> None:
        super().__init__(path, f"this store is not empty ({holds}); nothing was changed")


class StoreUnavailable(StoreError):
    """The store cannot be used just now, and nothing was changed; a later attempt may succeed."""

    status = 503


class StoreBusy(StoreUnavailable):
    """Another process holds the file's write lock for longer than can be waited for."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, "another process is writing to this store; try again")


class StoreFull(StoreUnavailable):
    """No room is left for the change, on the disk or under the configured size."""

    def __init__(self, path: Path | str, why: str = "") -> None:
        super().__init__(path, f"no room is left to write{why}")


class StoreAtLimit(StoreFull):
    """The store is as large as the configuration allows, while the disk has room."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, ": it is as large as [store] max_size allows")


class StoreFailing(StoreUnavailable):
    """The disk returned an error.

    Args:
        detail: SQLite's words for it.
    """

    def __init__(self, path: Path | str, detail: str) -> None:
        super().__init__(path, f"the disk returned an error ({detail}); nothing was changed")


class StoreAway(StoreUnavailable):
    """The database cannot be reached.

    Args:
        detail: its words for it, or those of the connection.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, f"the database cannot be reached ({detail})")


class NodeBusy(StoreUnavailable):
    """More waits to be written than can be kept in memory."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "the database is too slow for what is to be written; try again")


class StoreDenied(StoreUnavailable):
    """The database does not let its user do what was asked for.

    Args:
        detail: its words for it.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(name, f"the database does not allow that ({detail}); nothing was changed")


class StoreReadOnly(StoreUnavailable):
    """The database takes no changes.

    Args:
        detail: its words for it.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(
            name,
            f"the database is read-only, as a standby is ({detail}); nothing was changed",
        )


class NodeFenced(StoreUnavailable):
    """The other nodes have taken this one for dead: what it still wanted to write is refused."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "the other nodes have taken this one for dead; it begins anew")


class StoreLost(StoreUnavailable):
    """The store's files were removed or replaced while it was open.

    Args:
        problem: what happened to which of them.
    """

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, f"{problem} while the store was open; nothing is written any more")


class StoreClosed(StoreLost):
    """Something was to be written after the server had closed its store, since it ends."""

    def __init__(self) -> None:
        StoreUnavailable.__init__(self, "the store", "closed, since the server ends")


class StoreUnsure(StoreError):
    """A change could not be committed, nor could its traces be removed from the disk.

    The running server goes on without it, but after a crash the change may be found in the file.

    Args:
        what: what failed.
        again: what has to be so until anybody knows more.
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
            f"{what} in the middle of this change; whether it took effect is known "
            f"only when {again}",
        )


class NotAccepting(JobstoreError):
    """No job is taken in just now; a later attempt may succeed."""

    status = 503


class QueueFull(NotAccepting):
    """As many jobs are queued as the configuration allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the queue is full: {limit} jobs are waiting")
        self.limit = limit


class ShuttingDown(NotAccepting):
    """The server drains and takes no new jobs."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class NoRoom(NotAccepting):
    """Too much of what has to be whole in memory is being read or answered at the same time."""

    def __init__(self) -> None:
        super().__init__("too many large requests at once; try again")


class OwnerLimit(JobstoreError):
    """An owner has submitted as much as one may; a later attempt may succeed.

    Args:
        bound: what holds, as a sentence.
        seconds: when to try again.
    """

    status = 429

    def __init__(self, bound: str, seconds: int) -> None:
        super().__init__(bound)
        self.seconds = seconds


class TooFast(OwnerLimit):
    """An owner has submitted too many jobs of late.

    Args:
        rate: how many a second one may.
        seconds: when to try again.
    """

    def __init__(self, rate: float, seconds: int) -> None:
        super().__init__(f"expected at most {rate:g} jobs a second", seconds)


class TooDeep(JobstoreError):
    """Jobs have made jobs one after the other, as often as may be.

    Args:
        limit: how often.
    """

    status = 508

    def __init__(self, limit: int) -> None:
        super().__init__(f"jobs may make jobs {limit} times one after the other")


class NoJobOfThat(JobstoreError):
    """No job can be made of a request for a tunnel or another protocol."""

    status = 501

    def __init__(self) -> None:
        super().__init__(
            "CONNECT and WebSockets last as long as their connection: no job can be made of them"
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
    """Nothing more of the request's body arrives.

    Args:
        seconds: for how long nothing has.
    """

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing of the request's body arrived for {seconds:g} s")


class BodyGone(JobstoreError):
    """A stored body was purged while it was read."""

    def __init__(self) -> None:
        super().__init__("the body was purged while it was read")


class JobNotFound(JobstoreError):
    """No such job, or none whose result can still be asked for.

    Args:
        reference: its id, or its tag.
    """

    status = 404

    def __init__(self, reference: int | str) -> None:
        super().__init__(f"no job {reference}")
        self.reference = reference


class JobGone(JobstoreError):
    """What is asked for of a job is no longer kept.

    Args:
        reason: what became of it and when, as the end of a sentence that begins with the job.
    """

    status = 410

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"job {job_id}: {reason}")
        self.job_id = job_id


class NotKept(JobstoreError):
    """A message of a job is no longer kept, or never was.

    Args:
        message: which one: its request or its response.
        reason: why not, as a clause.
    """

    status = 404

    def __init__(self, job_id: int, message: str, reason: str) -> None:
        super().__init__(f"no {message} of job {job_id} is kept: {reason}")
        self.job_id = job_id


class WrongState(JobstoreError):
    """A job is not where that could be done with it which was asked for.

    Args:
        problem: where it is, as the end of a sentence that begins with the job.
    """

    status = 409

    def __init__(self, job_id: int, problem: str) -> None:
        super().__init__(f"job {job_id} {problem}")
        self.job_id = job_id


class SecretsMissing(WrongState):
    """A job had secrets that are kept no more, so that another run would lack them.

    Args:
        names: the headers that had them.
    """

    def __init__(self, job_id: int, names: Sequence[str]) -> None:
        super().__init__(
            job_id,
            f"was sent with {', '.join(names)}, which is not kept after a job's end: another run "
            "would lack it; ask for /retry?without_secrets=yes to run it all the same",
        )


class BeingDelivered(WrongState):
    """A job's result is on its way to another reader; if that breaks off, it is held again."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id, "is just being delivered to another reader")


class TagTaken(JobstoreError):
    """An unended job of the same owner has the same tag."""

    status = 409

    def __init__(self, tag: str) -> None:
        super().__init__(
            f"a job with the tag {tag} has not ended yet; wait for its end, or choose another tag"
        )
        self.tag = tag


class MetricsOff(JobstoreError):
    """Nothing is counted, by the configuration."""

    status = 404

    def __init__(self) -> None:
        super().__init__("metrics are turned off: [metrics] enabled is false")


class TooManyListeners(JobstoreError):
    """As many follow all changes as may at once.

    Args:
        listeners: how many that is.
    """

    status = 503

    def __init__(self, listeners: int) -> None:
        super().__init__(f"{listeners} follow all changes already; no more may at once")


class SubmissionInvalid(JobstoreError):
    """What was given is no job to run; each line of the message is one problem."""

    status = 400


class QueryInvalid(JobstoreError):
    """What was asked cannot be understood; the message says what was expected."""

    status = 400


class OperationNotFound(JobstoreError):
    """There is no such operation on many jobs, or none that whoever asks may see."""

    status = 404

    def __init__(self, operation: object) -> None:
        super().__init__(f"there is no operation {operation}")


class OperationChanged(JobstoreError):
    """Another number of jobs match than whoever asks has expected.

    Args:
        expected: how many they expected.
        count: how many there are.
    """

    status = 409

    def __init__(self, expected: int, count: int) -> None:
        super().__init__(
            f"expect: {expected} jobs were expected to match, and {count} do; nothing was done"
        )
        self.count = count


class MemberRefused(JobstoreError):
    """One of several submissions was refused, and so all of them were.

    Args:
        index: its place among them, from 0.
        error: why it was refused.
    """

    def __init__(self, index: int, error: JobstoreError) -> None:
        super().__init__("\n".join(f"jobs[{index}]: {line}" for line in str(error).splitlines()))
        self.index = index
        self.error = error


class KeyInvalid(JobstoreError):
    """What was given is no idempotency key."""

    status = 400

    def __init__(self, problem: str) -> None:
        super().__init__(f'Idempotency-Key: expected a key such as "8e03978e-40d5", not {problem}')


class KeyReused(JobstoreError):
    """An idempotency key came before, with another request."""

    status = 422

    def __init__(self, key: str) -> None:
        super().__init__(
            f'the idempotency key "{key}" was used for another request already; '
            "take a new key for a new request"
        )
        self.key = key


class DefinitionNotFound(JobstoreError):
    """No such definition, or none that whoever asks may see.

    Args:
        reference: what it was asked for by.
    """

    status = 404

    def __init__(self, reference: object) -> None:
        super().__init__(f"no definition {reference}")
        self.reference = reference


class DefinitionExists(JobstoreError):
    """Another definition has the same path."""

    status = 409

    def __init__(self, path: str) -> None:
        super().__init__(f"there is a definition with the path {path} already")
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
        super().__init__(f"several definitions are at {path}; name one by its id: {shown}{more}")
        self.path = path


class DefinitionInvalid(JobstoreError):
    """What was given is no definition; each line of the message is one problem."""

    status = 400


class AccountProblem(JobstoreError):
    """An account or a token cannot be made, changed or found; the message says why."""


class Unauthorized(JobstoreError):
    """Whoever asks has not proven to have an account."""

    status = 401

    def __init__(self) -> None:
        super().__init__("not authorized to execute this request")


class AccountsUnavailable(JobstoreError):
    """It cannot be told just now who has an account."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the accounts cannot be read just now; try again")


class TooManyLogins(JobstoreError):
    """Too many passwords wait to be verified."""

    status = 429

    def __init__(self) -> None:
        super().__init__("too many logins at once; try again")


class Forbidden(JobstoreError):
    """The account that asks may not do that.

    Args:
        why: what it may do instead.
    """

    status = 403

    def __init__(self, why: str = "a reader may look at jobs, but not change anything") -> None:
        super().__init__(why)


class ExportInvalid(JobstoreError):
    """What should be imported cannot be, and nothing of it was.

    Args:
        problem: what is wrong with it, as a clause.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; nothing was imported")


class ResultNotRestorable(JobstoreError):
    """The result is not one that was fetched or deleted and whose payload is still kept.

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
        super().__init__(f"the result of job {job_id} went away while it was being delivered")
        self.job_id = job_id


class AnswerUnsendable(JobstoreError):
    """No HTTP message can have what was kept of an answer: an earlier version took it in.

    Args:
        problem: why not, as the end of a sentence.
    """

    status = 502

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the target's answer is kept, but cannot be sent over HTTP: its head {problem}; "
            "`jobstore show ID --body response` writes its body"
        )


class NoTarget(JobstoreError):
    """Nobody is configured to answer a path."""

    status = 404

    def __init__(self, problem: str = "no target is configured for this path") -> None:
        super().__init__(problem)


class PathLeaves(NoTarget):
    """A path leads out of what its target owns."""

    status = 400

    def __init__(self) -> None:
        super().__init__(
            "expected a path that stays below its target's prefix, "
            "however its dots, slashes and escapes are read"
        )


class TargetUnknown(JobstoreError):
    """There is no target of a name.

    Args:
        known: the names of those there are.
    """

    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        there = ", ".join(sorted(known)) or "none so far"
        super().__init__(f"there is no target {name[:_LONGEST_NAME]}; there are: {there}")


class CannotListen(JobstoreError):
    """An address of the server cannot be used.

    Args:
        address: where it should have listened.
        problem: why it cannot.
        advice: what to do about it, if that can be told.
    """

    def __init__(self, address: str, problem: str, advice: str = "") -> None:
        super().__init__(
            f"cannot listen on {address}: {problem}" + (f"; {advice}" if advice else "")
        )


class NotOpen(JobstoreError):
    """Without accounts, the server's address may not be used.

    Args:
        host: where it should have listened.
    """

    def __init__(self, host: str) -> None:
        super().__init__(
            f"refusing to listen on {host}: there is no account yet, so that everybody who reaches "
            "it could see and change everything; add one with `jobstore user add NAME`, or say "
            "--open if that is what you want"
        )


class TargetFailed(JobstoreError):
    """No answer could be had from the target."""

    status = 502


class TargetUnreachable(TargetFailed):
    """No connection to the target could be made.

    Args:
        sent: whether the target may have had the request all the same: it was written to an earlier
            connection, which broke.
    """

    def __init__(self, problem: str, *, sent: bool = False) -> None:
        super().__init__(problem)
        self.sent = sent


class TargetBroken(TargetFailed):
    """The target's answer broke off or broke the protocol."""


class AnswerTooLarge(TargetBroken):
    """The target's answer has a larger body than is kept of one.

    Args:
        limit: the limit, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the target's answer is larger than {limit} bytes: see [capture] response_limit"
        )
        self.limit = limit
