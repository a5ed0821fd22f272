"""What tests of commands need that work on a database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines
from tests.engines import Place


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Place]:
    """Give an empty store in a database."""
    with engines.named(tmp_path / "shared.db", "postgresql") as place:
        assert isinstance(place, Place)
        yield place
