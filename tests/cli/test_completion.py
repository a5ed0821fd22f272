"""What a shell completes: the commands and options, though each command is loaded when called."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import pytest

from jobstore.cli.commands import cli

SCRIPT: Final = Path(sys.executable).with_name("jobstore")
COMMANDS: Final = cli.list_commands(click.Context(cli))


def completed(words: str) -> list[str]:
    """Return what zsh offers for the last of some words: a kind, a value and its help in turn."""
    environment = {
        "_JOBSTORE_COMPLETE": "zsh_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    ran = subprocess.run(
        [SCRIPT], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


def shown(context: click.Context) -> dict[str, str]:
    """Return the help of each command, as the list of them has it."""
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command.get_short_help_str() for name, command in commands.items() if command}


def test_the_commands_are_completed_with_the_help_that_the_list_of_them_has() -> None:
    told = completed("jobstore ")
    assert dict(zip(told[1::3], told[2::3], strict=True)) == shown(click.Context(cli))


def test_the_options_of_a_command_are_completed() -> None:
    assert {"--state", "--status", "--stats", "--store"} <= set(completed("jobstore history --st"))


def test_the_commands_of_a_group_are_completed() -> None:
    assert {"add", "token", "tokens"} <= set(completed("jobstore user "))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_that_is_listed_is_there_by_this_name(name: str) -> None:
    _, command, _ = cli.resolve_command(click.Context(cli), [name])
    assert command is not None
    assert (command.name, bool(command.help)) == (name, True)
