"""The reference pages of the documentation, made from what the server itself goes by."""

from collections.abc import Callable
from typing import Final

from pages.api import calls
from pages.commands import commands
from pages.configuration import configuration
from pages.messages import messages
from pages.python import python

PAGES: Final[dict[str, Callable[[], str]]] = {
    "reference/api": calls,
    "reference/commands": commands,
    "reference/configuration": configuration,
    "reference/messages": messages,
    "reference/python": python,
}
