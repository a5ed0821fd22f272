"""The recipe for Litestream, by Litestream: what it has copied is a store again."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml
from aiohttp import ClientSession

from tests.client import Client
from tests.commands import said
from tests.conftest import Start
from tests.stores import states

pytestmark = pytest.mark.file

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = Path(sys.executable).parent / "litestream"


@pytest.fixture
def recipe(store_path: Path, tmp_path: Path) -> Path:
    """Give the recipe for this store, with a folder in the place of the bucket."""
    config = yaml.safe_load((ROOT / "deploy" / "litestream" / "litestream.yml").read_text())
    (store,) = config["dbs"]
    assert store["truncate-page-n"] < 0  # never: 0 is Litestream's own limit
    store["path"] = str(store_path)
    store["replica"] = {"type": "file", "path": str(tmp_path / "copy")}
    (written := tmp_path / "litestream.yml").write_text(yaml.safe_dump(config))
    return written


async def litestream(command: str, recipe: Path, *arguments: str | Path) -> str:
    """Run a command of Litestream that has to succeed; return all that it printed."""
    words = (PROGRAM, command, "-config", recipe, *arguments)
    done = await asyncio.to_thread(
        subprocess.run, words, check=False, capture_output=True, text=True
    )
    printed = str(done.stdout + done.stderr)
    assert done.returncode == 0, printed
    assert "level=ERROR" not in printed
    return printed


async def test_a_copy_made_while_the_server_works_is_a_store_again(
    server_process: Start,
    store_path: Path,
    recipe: Path,
    http: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOBSTORE_STORE__CHECKPOINTS", "external")
    server = await server_process()
    client = Client(http, server.url)
    before = [await client.done("/_api/version") for _ in range(10)]
    await litestream("replicate", recipe, "-once")
    after = [await client.done("/_api/version") for _ in range(10)]
    await litestream("replicate", recipe, "-once")
    await server.kill()
    restored = recipe.with_name("restored.db")
    await litestream("restore", recipe, "-o", restored, store_path)
    assert "20 jobs (20 done)" in await asyncio.to_thread(said, "check", "--store", restored)
    replace = ("restore-backup", "--store", store_path, "--discard", restored)
    await asyncio.to_thread(said, *replace)
    assert list(states(store_path)) == [*before, *after]
    again = Client(http, (await server_process()).url)
    assert (await again.fetched(after[-1])).status == 200
