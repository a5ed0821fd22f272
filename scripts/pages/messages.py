"""Every kind of error that people can meet, with its words and what to do about it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jobstore.model import errors
from jobstore.model.errors import JobstoreError
from pages.markdown import table

_FILE: Final = Path("jobs.db")
_DATABASE: Final = "postgresql://jobs@db.example.com/jobs"

Advised = tuple[JobstoreError, str]

# What each kind says, with examples for the values in it, and what to do.
MESSAGES: Final[dict[str, tuple[Advised, ...]]] = {
    "Submitting": (
        (
            errors.QueueFull(100_000),
            (
                "Submit again later. Raise `[executor] queue_limit`, or find out with "
                "`jobstore targets` what the jobs wait for. Commands on a store read the limit "
                "from their own `--config`; with `--url`, the server's counts."
            ),
        ),
        (
            errors.ShuttingDown(),
            "Submit again when the server is back; clients do so after `Retry-After`.",
        ),
        (errors.NoRoom(), "Submit again after a moment, or send smaller requests."),
        (
            errors.OwnerLimit("1000 of your jobs are waiting; the limit is 1000", 5),
            "Submit again after `Retry-After`. An admin can raise the limit in `[limits]`.",
        ),
        (
            errors.TooFast(20.0, 1),
            "Submit more slowly, or raise `[limits] submissions_per_second`.",
        ),
        (
            errors.TooDeep(8),
            "Look for a job that submits itself. If the chain is intended, raise `[limits] depth`.",
        ),
        (
            errors.NoJobOfThat(),
            "Send it without the async header: it then passes through to the service.",
        ),
        (errors.BodyTooLarge(1_073_741_824), "Send less, or raise `[capture] body_limit`."),
        (errors.BodyBroken(), "The client or a proxy cut the connection: send the request again."),
        (errors.BodyStalled(60), "The client or a proxy stopped sending: send the request again."),
        (
            errors.KeyInvalid("an empty one"),
            "Send one key of 1 to 255 printable ASCII characters, in quotes.",
        ),
        (errors.KeyReused("order-17"), "Use a new key for each new request."),
        (errors.TagTaken("nightly"), "Wait for the end of that job, or choose another tag."),
        (errors.NoTarget(), "Check the path, or add a `[[target]]` whose prefix covers it."),
        (errors.PathLeaves(), "Write the path without `..`, however it is encoded."),
        (
            errors.MemberRefused(1, errors.SubmissionInvalid("target: expected a path")),
            "Correct the job with this number, counted from 0; no job of the batch was submitted.",
        ),
        (
            errors.SubmissionInvalid("priority: expected a whole number"),
            "Correct the member that is named.",
        ),
    ),
    "Asking for jobs and results": (
        (
            errors.JobNotFound(42),
            (
                "Check the id. The result may be gone, or the job somebody else's: `jobstore show "
                "42` knows."
            ),
        ),
        (
            errors.JobGone(42, "its result was fetched at 2026-11-30T12:00:00Z"),
            (
                "If it was fetched or deleted by mistake, `jobstore restore 42` makes it available "
                "again."
            ),
        ),
        (
            errors.NotKept(42, "response", "it was purged"),
            "Keep messages longer with `[retention] fetched`.",
        ),
        (
            errors.BeingDelivered(42),
            "Ask again: the result is available again if that reader breaks off.",
        ),
        (
            errors.WrongState(42, "has already ended: it is done"),
            "Look at the job with `jobstore show 42`.",
        ),
        (
            errors.SecretsMissing(42, ["Cookie"]),
            (
                "Submit the request again with its headers, or run it without them as the message "
                "says."
            ),
        ),
        (
            errors.ResultNotRestorable(42, "it was purged"),
            "Keep fetched results longer with `[retention] fetched`.",
        ),
        (errors.DeliveryRefused(42), "Nothing to do: somebody else deleted it, or it was too old."),
        (
            errors.AnswerUnsendable("has a field with a line break"),
            "Read the body as the message says.",
        ),
        (errors.BodyGone(), "Keep messages longer with `[retention] fetched`."),
        (
            errors.QueryInvalid("limit: expected a whole number from 1 to 1000"),
            "Correct the parameter that is named.",
        ),
        (errors.OperationNotFound(7), "List the operations with `GET /_jobs/operations`."),
        (
            errors.OperationChanged(7, 1),
            "Look at the jobs again, and send the new number as `expect`.",
        ),
        (
            errors.TooManyListeners(100),
            "Close dashboards that nobody looks at, and follow single jobs instead.",
        ),
        (errors.MetricsOff(), "Set the key as the message says, and restart."),
    ),
    "Definitions": (
        (errors.DefinitionNotFound("/Reports/weekly"), "List them with `jobstore definitions`."),
        (
            errors.DefinitionExists("/Reports/weekly"),
            "Choose another path, or change the existing one: `jobstore define --replace`.",
        ),
        (
            errors.DefinitionAmbiguous("/Reports/weekly", [(3, "alice"), (8, "bob")]),
            "Use one of the ids.",
        ),
        (
            errors.DefinitionInvalid("cron: expected five fields"),
            "Correct the member that is named.",
        ),
    ),
    "Accounts": (
        (
            errors.Unauthorized(),
            "Send a name and a password, or a token from `jobstore user token`.",
        ),
        (errors.Forbidden(), "Use an account with another role: `jobstore user role`."),
        (
            errors.TooManyLogins(),
            "Log in again after a moment. Give programs tokens, which cost nothing to check.",
        ),
        (errors.AccountsUnavailable(), "Try again; the log says why the store cannot be read."),
        (
            errors.AccountProblem("there is no account alice"),
            "List them with `jobstore user list`.",
        ),
    ),
    "Targets": (
        (
            errors.TargetUnreachable("no connection to 127.0.0.1:9000: Connection refused"),
            (
                "Start the service, or correct `upstream`. Jobs wait for it, see [when a target is "
                "down](../target-down.md)."
            ),
        ),
        (
            errors.TargetBroken("the target's response broke off before its end"),
            "Look at the log of the service.",
        ),
        (errors.AnswerTooLarge(1_073_741_824), "Raise `[capture] response_limit`."),
        (errors.TargetUnknown("/report", ["/", "/reports"]), "Use one of the names."),
    ),
    "The store": (
        (errors.StoreMissing(_FILE), "Check the folder and `--store`."),
        (
            errors.StoreInUse(_FILE, 4711),
            "One file has one server. Several servers need [a database](../several-nodes.md).",
        ),
        (errors.StoreForeign(_FILE), "Check the name of the file."),
        (errors.StoreNewer(_FILE, 9, 8), "Install the version that wrote it, or a newer one."),
        (errors.StoreOutdated(_FILE, 7, 8), "Run the command as the message says."),
        (
            errors.StoreDamaged(_FILE, "malformed"),
            "Stop the server, then [restore a backup](../how-to/back-up.md#restore).",
        ),
        (
            errors.StoreMixed(_FILE, "jobs.db-wal"),
            "Use the command in the message; do not delete the log by hand.",
        ),
        (
            errors.StoreUnsupported(_DATABASE, "expected PostgreSQL 14 or newer"),
            "Use a server as in [several nodes](../several-nodes.md).",
        ),
        (errors.StoreOccupied(_FILE, "12 jobs"), "Choose an empty destination."),
        (
            errors.StoreBusy(_FILE),
            (
                "Find the program that has the file open, such as an SQLite shell with an open "
                "transaction."
            ),
        ),
        (
            errors.StoreFull(_FILE),
            (
                "Free some space: see [when the disk is "
                "full](../how-to/operate.md#when-the-disk-is-full)."
            ),
        ),
        (
            errors.StoreAtLimit(_FILE),
            "Raise `[store] max_size`, or run `jobstore purge --older-than 1h`.",
        ),
        (errors.StoreFailing(_FILE, "disk I/O error"), "Check the disk and the system's log."),
        (
            errors.StoreReplaced(_FILE, "jobs.db-wal was removed"),
            "Put the files back, and restart the server.",
        ),
        (errors.StoreClosed(), "Wait until the server is back, then ask again."),
        (
            errors.StoreUnsure(_FILE),
            (
                "Look for the job before you submit it again: `jobstore history`. An "
                "`Idempotency-Key` makes repeating it safe."
            ),
        ),
        (
            errors.StoreAway(_DATABASE, "Connection refused"),
            "Start the database, or correct `[store] url`; the server goes on by itself.",
        ),
        (
            errors.StoreDenied(_DATABASE, "permission denied for schema jobstore"),
            "Grant the permission to the database user.",
        ),
        (
            errors.StoreReadOnly(_DATABASE, "cannot execute UPDATE"),
            "Connect to the primary: `target_session_attrs=read-write` in the URL.",
        ),
        (errors.NodeBusy(_DATABASE), "Look for what slows the database down, or use fewer nodes."),
        (
            errors.NodeFenced(_DATABASE),
            (
                "Nothing: the node starts again by itself. If this repeats, the machine or the "
                "network hangs."
            ),
        ),
        (errors.ExportInvalid("line 12 is damaged"), "Export again, and copy the complete file."),
    ),
    "Starting the server": (
        (
            errors.ConfigError("[server] prot: no such key; did you mean port?"),
            "Correct the key that is named; [the configuration](configuration.md) has all of them.",
        ),
        (
            errors.CannotListen("127.0.0.1:80", "Permission denied"),
            "Choose another port, or let systemd or a proxy listen there.",
        ),
        (
            errors.NotOpen("192.0.2.7"),
            "Add an account: see [before you expose it](../before-you-expose-it.md).",
        ),
    ),
}


def messages() -> str:
    """Write a table for each subject, and then all sentences that name a wrong value."""
    return "\n".join(line for subject in MESSAGES for line in _section(subject))


def _section(subject: str) -> Iterator[str]:
    yield f"## {subject}\n"
    rows = (
        (str(error), "" if error.status is None else str(error.status), advice)
        for error, advice in MESSAGES[subject]
    )
    yield from table(["Message", "Status", "What to do"], rows)
