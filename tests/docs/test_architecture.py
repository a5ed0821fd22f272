"""The map of the code is compared with the code."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PLACES: Final = sorted(
    set(re.findall(r"`((?:jobstore|web|live|store|targets|tests|scripts)/[^`]*)`", PAGE))
)


def test_the_floors_are_those_that_the_linter_holds() -> None:
    (drawn,) = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    floors = [
        sorted(name for name in re.findall(r"(?:^| {6,})(\w+) {3,}", line))
        for line in drawn.splitlines()
    ]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = [sorted(layer.split(" | ")) for layer in contracts["contracts"][0]["layers"]]
    assert floors == layers[1:]  # without `python -m jobstore`


def test_what_the_engines_share_knows_none_of_them_and_no_driver() -> None:
    ours = r"jobstore\.store\.(?:sqlite|postgresql)"
    foreign = re.compile(
        rf"^\s*(?:import|from) (?:sqlite3|aiosqlite|psycopg|greenlet|{ours})\b", re.MULTILINE
    )
    shared = (ROOT / "jobstore" / "store").glob("*.py")
    assert [path.name for path in shared if foreign.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("place", PLACES)
def test_each_place_that_is_named_is_there(place: str) -> None:
    assert (ROOT / place).exists() or (ROOT / "jobstore" / place).exists()


@pytest.mark.parametrize(
    "module", re.findall(r"\| `(jobstore/\S+\.py)`", PAGE.partition("## Where to change")[0])
)
def test_each_machine_opens_with_its_theory(module: str) -> None:
    theory = (ROOT / module).read_text("utf-8").split('"""')[1]
    assert len(theory.splitlines()) >= 15
    assert re.search(r"\bcrash\b|\bdies\b", theory)
