"""What can go wrong, as data; nothing here knows HTTP.

JobstoreError
├── ConfigError                 the configuration cannot be used
├── StoreError                  the store file cannot be used
│   ├── StoreMissing            there is no such file
│   ├── StoreInUse              another server owns it
│   ├── StoreForeign            it is not a jobstore file
│   ├── StoreNewer              it comes from a newer jobstore
│   ├── StoreOutdated           it has to be migrated first
│   ├── StoreDamaged            SQLite finds it malformed
│   ├── StoreBusy               another process holds its write lock for too long
│   └── StoreFull               no room is left for the change
├── NotAccepting                no job is taken in just now
│   ├── QueueFull               as many jobs are queued as the configuration allows
│   └── ShuttingDown            the server drains
├── BodyTooLarge                the request's body exceeds the configured limit
├── BodyBroken                  the request's body ended before its announced end
├── BodyGone                    a stored body was purged while it was read
├── JobNotFound                 no such job, or none whose result can still be asked for
├── JobGone                     what is asked for of a job is no longer kept
├── NotKept                     a message of a job is no longer kept, or never was
├── WrongState                  the job is not where that could be done with it
├── TagTaken                    another job has the same tag
├── SubmissionInvalid           what was given is no job to run
├── QueryInvalid                what was asked cannot be understood
├── KeyInvalid                  what was given is no idempotency key
├── KeyReused                   the same key came with another request
├── DefinitionNotFound          no such definition, or none that one may see
├── DefinitionExists            another definition has the same path
├── DefinitionInvalid           what was given is no definition
├── AccountProblem              an account cannot be made, changed or found
├── TooManyLogins               too many passwords wait to be verified
├── Forbidden                   the account that asks may not do that
├── ExportInvalid               what should be imported cannot be
├── ResultNotRestorable         the result is not one that was fetched and kept
├── DeliveryRefused             a result changed hands while it was on its way to a reader
├── NoTarget                    nobody is configured to answer a path
├── CannotListen                the server's address cannot be used
├── NotOpen                     without accounts, the server's address may not be used
└── TargetFailed                no answer could be had from the target
    ├── TargetUnreachable
    └── TargetBroken            the answer broke off or broke the protocol
"""

from pathlib import Path


class JobstoreError(Exception):
    """Base of every error that jobstore raises on purpose."""


class ConfigError(JobstoreError):
    """The configuration cannot be used; the message says what was expected."""


class StoreError(JobstoreError):
    """The store file cannot be used.

    Args:
        path: the file.
        problem: what is wrong with it, as the end of a sentence that begins with its name.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class StoreMissing(StoreError):
    """There is no such file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "no such store; `jobstore serve` or `jobstore migrate` creates one")


class StoreInUse(StoreError):
    """Another server owns the file.

    Args:
        path: the file.
        pid: the owner's process id, or None if it did not leave one.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        owner = f"the server with pid {pid}" if pid else "another server"
        super().__init__(path, f"{owner} owns this store; stop it first or name another file")
        self.pid = pid


class StoreForeign(StoreError):
    """The file is not one of jobstore's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "this is not a jobstore file; nothing was changed")


class StoreNewer(StoreError):
    """The file comes from a newer jobstore.

    Args:
        path: the file.
        found: the file's schema version.
        known: the newest schema version that this jobstore knows.
    """

    def __init__(self, path: Path, found: int, known: int) -> None:
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
        path: the file.
        found: the file's schema version.
        known: the schema version that this jobstore needs.
    """

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            path,
            f"its schema version is {found}, this jobstore needs {known}; "
            "run `jobstore migrate` (or start the server, which migrates by itself)",
        )


class StoreDamaged(StoreError):
    """SQLite finds the file malformed."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(
            path,
            f"the file is damaged ({detail}); "
            "`jobstore check` says how badly, a backup is the way back",
        )


class StoreBusy(StoreError):
    """Another process holds the file's write lock for longer than can be waited for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "another process is writing to this store; try again")


class StoreFull(StoreError):
    """No room is left for the change, on the disk or under the configured size."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "no room is left to write")


class NotAccepting(JobstoreError):
    """No job is taken in just now; a later attempt may succeed."""


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


class BodyTooLarge(JobstoreError):
    """The request's body exceeds the configured limit.

    Args:
        limit: the limit, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's body is larger than {limit} bytes")
        self.limit = limit


class BodyBroken(JobstoreError):
    """The request's body ended before its announced end."""

    def __init__(self, what: str = "the request's body ended before its announced end") -> None:
        super().__init__(what)


class BodyStalled(BodyBroken):
    """Nothing more of the request's body arrives.

    Args:
        seconds: for how long nothing has.
    """

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

    def __init__(self, reference: int | str) -> None:
        super().__init__(f"no job {reference}")
        self.reference = reference


class JobGone(JobstoreError):
    """What is asked for of a job is no longer kept.

    Args:
        job_id: the job.
        reason: what became of it and when, as the end of a sentence that begins with the job.
    """

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"job {job_id}: {reason}")
        self.job_id = job_id


class NotKept(JobstoreError):
    """A message of a job is no longer kept, or never was.

    Args:
        job_id: the job.
        message: which one: its request or its response.
        reason: why not, as a clause.
    """

    def __init__(self, job_id: int, message: str, reason: str) -> None:
        super().__init__(f"no {message} of job {job_id} is kept: {reason}")
        self.job_id = job_id


class WrongState(JobstoreError):
    """A job is not where that could be done with it which was asked for.

    Args:
        job_id: the job.
        problem: where it is, as the end of a sentence that begins with the job.
    """

    def __init__(self, job_id: int, problem: str) -> None:
        super().__init__(f"job {job_id} {problem}")
        self.job_id = job_id


class TagTaken(JobstoreError):
    """Another job has the same tag."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"the job tag {tag} is taken; choose another one")
        self.tag = tag


class SubmissionInvalid(JobstoreError):
    """What was given is no job to run; each line of the message is one problem."""


class QueryInvalid(JobstoreError):
    """What was asked cannot be understood; the message says what was expected."""


class KeyInvalid(JobstoreError):
    """What was given is no idempotency key."""

    def __init__(self, problem: str) -> None:
        super().__init__(f'Idempotency-Key: expected a key such as "8e03978e-40d5", not {problem}')


class KeyReused(JobstoreError):
    """An idempotency key came before, with another request.

    Args:
        key: the key.
    """

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

    def __init__(self, reference: object) -> None:
        super().__init__(f"no definition {reference}")
        self.reference = reference


class DefinitionExists(JobstoreError):
    """Another definition has the same path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"there is a definition with the path {path} already")
        self.path = path


class DefinitionInvalid(JobstoreError):
    """What was given is no definition; each line of the message is one problem."""


class AccountProblem(JobstoreError):
    """An account or a token cannot be made, changed or found; the message says why."""


class TooManyLogins(JobstoreError):
    """Too many passwords wait to be verified."""

    def __init__(self) -> None:
        super().__init__("too many logins at once; try again")


class Forbidden(JobstoreError):
    """The account that asks may not do that.

    Args:
        why: what it may do instead.
    """

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
    """The result is not one that was fetched and whose payload is still kept.

    Args:
        job_id: the job.
        reason: why not, as a clause.
    """

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"the result of job {job_id} cannot be restored: {reason}")
        self.job_id = job_id


class DeliveryRefused(JobstoreError):
    """A result was deleted or expired while it was on its way to a reader."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"the result of job {job_id} went away while it was being delivered")
        self.job_id = job_id


class NoTarget(JobstoreError):
    """Nobody is configured to answer a path."""

    def __init__(self) -> None:
        super().__init__("no target is configured for this path")


class CannotListen(JobstoreError):
    """The server's address cannot be used.

    Args:
        host: where it should have listened.
        port: on which port.
        problem: why it cannot.
    """

    def __init__(self, host: str, port: int, problem: str) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {problem}; choose another port with --port"
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


class TargetUnreachable(TargetFailed):
    """No connection to the target could be made."""


class TargetBroken(TargetFailed):
    """The target's answer broke off or broke the protocol."""
