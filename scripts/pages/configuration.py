"""Every key of the configuration, from the file that shows all of them with their defaults."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pages.markdown import code, table

EXAMPLE: Final = Path(__file__).parents[2] / "config.example.toml"

SECTION: Final = re.compile(r"(?:# )?(\[+[\w.]+\]+)")
KEY: Final = re.compile(r"(?:# )?(?P<key>\w+) = (?P<default>.+?)  # (?P<meaning>.+)")


def configuration() -> str:
    """Write a table for each section, and what stands between them as text."""
    return "\n".join(_page(EXAMPLE.read_text("utf-8").splitlines()))


def _page(lines: list[str]) -> Iterator[str]:
    rows: list[tuple[str, str, str]] = []
    shown: set[str] = set()
    for line in [*lines, ""]:
        if key := KEY.fullmatch(line):
            rows.append((code(key["key"]), code(key["default"]), key["meaning"]))
            continue
        yield from table(["Key", "Default", "Meaning"], rows)
        rows = []
        if section := SECTION.fullmatch(line):
            yield f"## `{section[1]}`{', another one' if section[1] in shown else ''}\n"
            shown.add(section[1])
        else:
            yield line.removeprefix("#").strip()
