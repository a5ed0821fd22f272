"""The commands of the page about targets that are down are pasted into a shell."""

import tomllib
from pathlib import Path

import pytest

from jobstore.config import load
from tests.conftest import Start
from tests.docs.pasting import ROOT, Shell, as_shown, blocks_of

PAGE = (ROOT / "docs" / "target-down.md").read_text("utf-8")

# What a second is enough for, unless the machine is busy.
HELD = "until jobstore list | grep -q held; do sleep 0.1; done\n"

pytestmark = pytest.mark.file


async def test_a_target_that_is_down_looks_as_it_is_shown(
    tmp_path: Path, server_process: Start, store_path: Path
) -> None:
    assert store_path == tmp_path / "jobs.db"
    shell = Shell(tmp_path)
    for block in blocks_of(PAGE, "down"):
        if block.mark == "down: server":
            arguments = block.code.removeprefix("jobstore serve ").removesuffix(" &\n").split()
            shell.url = (await server_process(*arguments)).url
        elif block.mark == "down":
            printed = await shell.paste(block.code.replace("sleep 1\n", HELD))
            assert block.output is not None
            assert as_shown(block.output, printed), f"{block.code}\n{printed}"


async def test_what_has_failed_is_run_again_as_it_is_shown(
    tmp_path: Path, server_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nobody = '[executor]\nhold = "0"\n[[target]]\nupstream = "http://127.0.0.1:9"\n'
    (tmp_path / "down.toml").write_text(nobody)
    shell = Shell(tmp_path, (await server_process("--config", "down.toml")).url)
    (again,) = blocks_of(PAGE, "down: again")
    failed = await shell.paste("jobstore submit GET /exports --wait")
    assert "job 1 is failed" in failed
    assert await shell.paste(f"{again.code.rstrip()} --yes") == "1 job was run again.\n"


def test_the_configurations_are_some() -> None:
    first, last = (
        load(None, tomllib.loads(block.code), environ={})
        for block in blocks_of(PAGE, "down: configuration")
    )
    assert (first.executor.hold, first.target[0].hold) == (900, 7200)
    assert [(target.prefix, target.concurrency) for target in last.target] == [
        ("/", 32),
        ("/reports", 2),
    ]
