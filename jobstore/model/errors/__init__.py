"""What can go wrong, as data.

Each kind of error that a client can get carries the HTTP status of the answer, the same in every
dialect. A kind without a status never reaches a client: its words are for the log or the command
line. Each kind stands in the module of its topic, and all of them can be imported from here.

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

from jobstore.model.errors.accounts import *
from jobstore.model.errors.base import *
from jobstore.model.errors.definitions import *
from jobstore.model.errors.jobs import *
from jobstore.model.errors.servers import *
from jobstore.model.errors.stores import *
from jobstore.model.errors.submissions import *
from jobstore.model.errors.targets import *
