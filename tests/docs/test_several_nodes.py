"""The commands of the page about several nodes are pasted into a shell, on a real PostgreSQL."""

import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from jobstore.config import load
from tests import engines
from tests.docs.pasting import Block, Shell, as_shown, blocks_of, page
from tests.engines import Place
from trials.serving import ServerProcess

PAGE = page("docs/several-nodes.md")
WRITTEN, MOVED = "postgresql://jobs@localhost/jobs", "postgresql://jobs@localhost/moved"


def blocks(mark: str) -> list[Block]:
    return blocks_of(PAGE, mark)


def here(database: Place) -> Callable[[str], str]:
    """Give what puts the URL of a database of these tests in the place of the one on the page."""
    url = f"'{database.url}'"
    return lambda code: code.replace(WRITTEN, url).replace(MOVED, url)


@pytest.fixture
async def nodes(database: Place) -> AsyncIterator[list[str]]:
    """Start the two nodes of the page; give their URLs."""
    (block,) = blocks("nodes: server")
    assert block.code.count(f"jobstore serve --store {WRITTEN} --port ") == 2
    async with AsyncExitStack() as stack:
        urls = []
        for _ in range(2):
            node = engines.process(ServerProcess, database)()
            stack.push_async_callback(node.kill)
            await node.start()
            urls.append(node.url)
        yield urls


async def test_two_nodes_go_as_they_are_shown(
    nodes: list[str], database: Place, tmp_path: Path
) -> None:
    shell = Shell(tmp_path, nodes[0])
    for block in blocks("nodes"):
        if block.mark != "nodes":
            continue
        code = here(database)(block.code).replace("http://localhost:8530", nodes[1])
        printed = await shell.paste(code)
        assert block.output is not None
        assert as_shown(block.output, printed), f"{code}\n{printed}"


async def test_a_store_is_moved_as_it_is_shown(database: Place, tmp_path: Path) -> None:
    for block in blocks("move"):
        printed = await Shell(tmp_path).paste(here(database)(block.code))
        assert block.output is not None
        assert as_shown(block.output, printed), printed


def test_the_configuration_is_one() -> None:
    (block,) = blocks("nodes: configuration")
    section = load(None, tomllib.loads(block.code), environ={}).store
    assert (section.url, section.lease) == (WRITTEN, 10)
