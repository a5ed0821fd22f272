"""All commands by name, and how their errors are shown."""

import errno
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from jobstore import __version__
from jobstore.cli import INTERRUPTED, discard_output
from jobstore.cli.plain import Complaint, printable
from jobstore.model.errors import JobstoreError, QueueFull
from jobstore.service import memory

# The commands, grouped by what one wants to do. Each is the attribute of its name in one of the
# modules here, loaded when it is called: the server, the store and its packages take longer to load
# than most commands run.
_GROUPS: Final = {
    "Serve and set up": {
        "serve": ("serving", "Run the server."),
        "ready": ("ready", "Check whether a server accepts jobs."),
        "migrate": ("serving", "Create a store, or upgrade its schema."),
    },
    "Look at jobs": {
        "list": ("reading", "List jobs that wait, run or have a result."),
        "show": ("reading", "Show one job: request, response and timeline."),
        "history": ("asking", "Search all jobs: lists, statistics, activity."),
        "tail": ("tailing", "Follow new jobs, or the events of some jobs."),
    },
    "Act on jobs": {
        "submit": ("submitting", "Submit a job."),
        "cancel": ("verbs", "Cancel jobs."),
        "retry": ("verbs", "Run ended jobs again, as new jobs."),
        "delete": ("verbs", "Delete results; restore undoes it for a while."),
        "restore": ("verbs", "Make fetched or deleted results available again."),
        "operations": ("operations", "List, show or stop operations on many jobs."),
    },
    "Targets and schedules": {
        "targets": ("targets", "List the targets, and whether their jobs run."),
        "pause": ("targets", "Start no more jobs of a target."),
        "resume": ("targets", "Let the jobs of a paused target run again."),
        "define": ("defining", "Save a request, to run it on demand or on a schedule."),
        "definitions": ("defining", "List definitions, or show one."),
        "run": ("defining", "Run a definition."),
        "undefine": ("defining", "Delete a definition."),
    },
    "Accounts": {
        "user": ("users", "Manage accounts and their tokens."),
        "audit": ("targets", "List what operators did to targets and accounts."),
    },
    "Store files and nodes": {
        "check": ("maintenance", "Check the store for damage."),
        "expire": ("maintenance", "Expire results that were never fetched."),
        "purge": ("maintenance", "Delete payloads that are no longer needed."),
        "backup": ("maintenance", "Copy the store, even while the server runs."),
        "restore-backup": ("maintenance", "Replace the store with a backup."),
        "export": ("transfer", "Write history to a file, for another store."),
        "import": ("transfer", "Import exported history."),
        "move": ("moving", "Move a store between a file and a database."),
        "nodes": ("nodes", "List the servers that share a database."),
    },
}
_WHEN_FULL: Final = (
    "submit again later, or raise [executor] queue_limit;"
    " `jobstore targets` shows what jobs wait for"
)
_COMMANDS: Final = {name: each for group in _GROUPS.values() for name, each in group.items()}


class _Commands(click.Group):
    """Commands that are loaded when they are called, and whose errors are messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the commands, by the title of their group."""
        return {title: tuple(group) for title, group in _GROUPS.items()}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by group, the descriptions of all of them in one column."""
        del ctx
        width = max(map(len, self.commands))
        for title, group in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), help_) for name, (_, help_) in group.items()]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _COMMANDS:
            module = importlib.import_module(f"{__package__}.{_COMMANDS[name][0]}")
            command = getattr(module, f"{name.replace('-', '_')}_command")
        memory.once_loaded()
        return name, command, rest

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments."""
        with _understandable():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> object:
        with _understandable():
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        return result


@contextmanager
def _understandable() -> Iterator[None]:
    """Turn expected errors into a message and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    except click.ClickException as error:
        # It may repeat what was given; click has no other way to change what it will show.
        vars(error)["message"] = printable(error.message, keep="\n")
        raise
    except QueueFull as error:
        raise Complaint(f"{error}; {_WHEN_FULL}") from error
    except JobstoreError as error:
        raise Complaint(str(error)) from error
    except OSError as error:
        discard_output()
        if error.errno == errno.EPIPE:  # the reader, such as head, has enough
            raise click.exceptions.Exit(0) from None
        raise Complaint(f"{error.filename or 'output'}: {error.strerror or error}") from error


@click.group(
    cls=_Commands,
    commands=[click.Command(name, short_help=help_) for name, (_, help_) in _COMMANDS.items()],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Times are in UTC. `jobstore COMMAND --help` tells more about a command.",
)
@click.version_option(__version__, prog_name="jobstore", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn any HTTP request into a durable job, in one process and one SQLite file.

    Every command except serve works on the store itself, beside a running server or without one;
    with --url, many of them work on a server elsewhere. A store is a SQLite file, or a PostgreSQL
    database that several servers share.
    """
