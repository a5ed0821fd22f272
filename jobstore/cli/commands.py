"""All commands by name, and what becomes of their errors."""

import errno
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from jobstore import __version__
from jobstore.cli import INTERRUPTED, discard_output
from jobstore.cli.plain import Complaint, printable
from jobstore.model.errors import JobstoreError

# Each command is the attribute of this name in one of the modules here, loaded when it is called:
# the server, the store and its packages take longer to load than most commands run.
_COMMANDS: Final = {
    "serve": ("serving", "Run the server."),
    "ready": ("ready", "Check whether a server accepts jobs."),
    "migrate": ("serving", "Create a store, or upgrade its schema."),
    "list": ("reading", "List jobs whose results can still be fetched."),
    "show": ("reading", "Show one job: request, response and timeline."),
    "history": ("asking", "Search all jobs: lists, statistics, activity."),
    "submit": ("submitting", "Submit a job."),
    "tail": ("tailing", "Follow new jobs, or the events of some jobs."),
    "cancel": ("verbs", "Cancel jobs."),
    "retry": ("verbs", "Run ended jobs again, as new jobs."),
    "delete": ("verbs", "Delete results; restore undoes it for a while."),
    "restore": ("verbs", "Make fetched or deleted results available again."),
    "operations": ("operations", "List, show or stop operations on many jobs."),
    "expire": ("maintenance", "Expire results that were never fetched."),
    "purge": (
        "maintenance",
        "Delete payloads that can no longer be fetched, and free their space.",
    ),
    "check": ("maintenance", "Check the store for damage."),
    "export": ("transfer", "Write history to a file, for another store."),
    "import": ("transfer", "Import exported history."),
    "backup": ("maintenance", "Copy the store, even while the server runs."),
    "restore-backup": ("maintenance", "Replace the store with a backup."),
    "move": ("moving", "Move a store between a file and a database."),
    "targets": ("targets", "List the targets, and whether their jobs run."),
    "pause": ("targets", "Start no more jobs of a target."),
    "resume": ("targets", "Let the jobs of a paused target run again."),
    "audit": ("targets", "List what operators did to targets and accounts."),
    "nodes": ("nodes", "List the servers that share a database."),
    "define": ("defining", "Save a request to run it again and again."),
    "definitions": ("defining", "List definitions, or show one."),
    "run": ("defining", "Run a definition."),
    "undefine": ("defining", "Delete a definition."),
    "user": ("users", "Manage accounts and their tokens."),
}


class _Commands(click.Group):
    """Commands that are loaded when they are called, and whose errors are messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _COMMANDS:
            module = importlib.import_module(f"{__package__}.{_COMMANDS[name][0]}")
            command = getattr(module, f"{name.replace('-', '_')}_command")
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
    except JobstoreError as error:
        raise Complaint(str(error)) from error
    except OSError as error:
        discard_output()
        if error.errno == errno.EPIPE:  # whoever reads, such as head, has enough
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
    """Make any HTTP request a durable job, in one process and one SQLite file.

    All commands but serve work on the store itself, with the server down as well as beside a
    running one; those that have --url work on a server somewhere else. A store may be in a
    PostgreSQL database as well, which several servers share.
    """
