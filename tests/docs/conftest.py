"""Commands of the pages are started faster than a new Python could be."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.docs.pasting import BIN


@pytest.fixture(scope="package", autouse=True)
def fast_commands(nursery: Path | None) -> Iterator[None]:
    """Let what is pasted find a command that starts fast, and all others where they are."""
    del nursery  # which only has to be there
    with warm.command() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join(map(str, (folder, BIN, os.environ["PATH"]))))
        yield
