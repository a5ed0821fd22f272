"""The commands of the page about many jobs are pasted into a shell, beside a real server."""

from pathlib import Path

from tests.conftest import Start
from tests.docs.pasting import ROOT, Shell, as_shown, blocks_of

PAGE = (ROOT / "docs" / "many-jobs.md").read_text()


async def test_many_jobs_are_acted_on_as_it_is_shown(
    server_process: Start, store_path: Path, tmp_path: Path
) -> None:
    assert store_path == tmp_path / "jobs.db"
    shell = Shell(tmp_path, (await server_process()).url)
    for block in blocks_of(PAGE, "many"):
        if block.mark == "many: server":
            assert block.code == "jobstore serve\n"
            continue
        printed = await shell.paste(block.code)
        assert block.output is not None
        assert as_shown(block.output, printed), f"{block.code}\n{printed}"
