"""The reference pages of the documentation, made from what the server itself goes by.

They are committed, so that they can be read without building anything: `python -m pages` writes
them again, and the manual page as well, and a test compares them with what it would write.
"""

from collections.abc import Callable
from pathlib import Path
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

DOCS: Final = Path(__file__).parents[2] / "docs"
# What stands between the introduction of a page, which is written by hand, and the rest.
GENERATED: Final = (
    "<!-- From here on, this page is generated; to write it again:"
    " PYTHONPATH=.:scripts .venv/bin/python -m pages -->"
)


def file_of(name: str) -> Path:
    """Return the file of a page."""
    return DOCS / f"{name}.md"


def whole(name: str) -> str:
    """Return the text of a page: its introduction as it is, and the rest generated."""
    introduction, mark, _ = file_of(name).read_text("utf-8").partition(GENERATED)
    assert mark, f"{name}: no line says where the generated part begins"
    return f"{introduction}{GENERATED}\n\n{PAGES[name]().strip()}\n"
