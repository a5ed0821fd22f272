"""Paste the blocks of a page into a shell, and compare what they print with what is shown."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
README: Final = "README.md"
NOT_PASTED: Final = "not pasted"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block with the mark before it, and the output that stands beneath it."""

    mark: str
    code: str
    output: str | None
    language: str


BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<mark>[^>]+?) -->\n)?```(?P<language>sh|python|toml|js)\n(?P<code>.*?)^```\n"
    r"(?:```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


def page(name: str) -> str:
    """Read a page by its path in the repository."""
    return (ROOT / name).read_text("utf-8")


def pages() -> list[str]:
    """Name all pages: the README and what lies in docs/."""
    docs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return [README, *docs]


def blocks_of(text: str, mark: str) -> list[Block]:
    """Find the blocks of a page under a mark, in their order; there has to be one."""
    found = [block for block in all_blocks(text) if block.mark.startswith(mark)]
    assert found, mark
    return found


def all_blocks(text: str) -> Iterator[Block]:
    """Find the blocks of a page, those without a mark as well."""
    for match in BLOCK.finditer(text):
        yield Block(match["mark"] or "", match["code"], match["output"], match["language"])


def as_shown(shown: str, printed: str) -> bool:
    """Tell whether an output is the one shown, where ``...`` stands for anything."""
    # A line that is only dots may also stand for no line at all.
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else _line(line) + r"\s*\n"
        for line in shown.splitlines()
    )
    text = printed.replace("\r\n", "\n").rstrip("\n") + "\n"
    return re.fullmatch(pattern + r"\s*", text) is not None


def _line(line: str) -> str:
    parts = [re.sub(r"\\?\s+", r"\\s+", re.escape(part)) for part in line.split("...")]
    return ".*".join(parts)


@dataclass
class Shell:
    """One shell session beside one server, as a reader has it.

    Args:
        folder: where it stands.
        url: the server's, in the place of the one on the page.
        real: whether ``jobstore`` is the real command, though it could be started faster.
    """

    folder: Path
    url: str = ""
    real: bool = False

    async def paste(self, code: str) -> str:
        """Run a block and return what it prints."""
        code = code.replace("http://localhost:8529", self.url).replace(".venv/bin/", f"{BIN}/")
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", code.replace("curl ", "curl -sS "),
            cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"} if self.real else None,
        )  # fmt: skip
        printed, _ = await process.communicate()
        return printed.decode()

    async def fetch(self) -> str:
        """Wait for the first job, and fetch its result."""
        return await self.paste(_FETCH)


_FETCH: Final = """
job=http://localhost:8529/_api/job/1
while [ "$(curl -o /dev/null -w '%{http_code}' $job)" = 204 ]; do :; done
curl -X PUT $job
"""
