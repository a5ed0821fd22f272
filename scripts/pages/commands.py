"""Every command, from what `--help` prints."""

from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Final

import click

from jobstore.cli.commands import cli
from pages.markdown import code, table

# Before a paragraph whose lines click leaves as they are.
UNWRAPPED: Final = "\b\n"


def commands() -> str:
    """Write a chapter for each group of commands, as `jobstore --help` lists them."""
    return "\n".join(line for chapter in cli.groups().items() for line in _group(*chapter))


def _group(title: str, names: Sequence[str]) -> Iterator[str]:
    root = click.Context(cli, info_name="jobstore")
    yield f"## {title}\n"
    for name in names:
        yield from _command(root, name)


def _command(parent: click.Context, name: str) -> Iterator[str]:
    """Write a section for a command: how it is called, what it does, its options."""
    context = opened(parent, name)
    command = context.command
    yield f"{'#' * (_depth(context) + 2)} `{context.command_path}`\n"
    yield f"```text\n{usage(context)}\n```\n"
    yield cleandoc(command.help or "").replace(UNWRAPPED, "") + "\n"
    if command.epilog:
        yield f"```text\n{command.epilog.removeprefix(UNWRAPPED)}\n```\n"
    rows = ((code(names), meaning) for names, meaning in options(context))
    yield from table(["Option", "Meaning"], rows)
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            yield from _command(context, part)


def _depth(context: click.Context) -> int:
    return 0 if context.parent is None else 1 + _depth(context.parent)


def opened(parent: click.Context, name: str) -> click.Context:
    """Return the context of a command in a group, loaded if necessary."""
    assert isinstance(parent.command, click.Group)
    _, command, _ = parent.command.resolve_command(parent, [name])
    assert command is not None
    return click.Context(command, info_name=name, parent=parent)


def usage(context: click.Context) -> str:
    """Return how a command is called."""
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def options(context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield a command's options, each as it is typed and with its meaning."""
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            yield record
