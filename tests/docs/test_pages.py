"""Every block of the README and of docs/ is pasted into a shell, and does what is shown."""

import asyncio
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path
from runpy import run_path
from shutil import which
from typing import Final

import pytest

from jobstore.config import load
from jobstore.model.clock import SECOND, now
from pages import man
from tests.conftest import Start
from tests.docs.pasting import (
    BIN,
    NOT_PASTED,
    README,
    ROOT,
    Shell,
    all_blocks,
    as_shown,
    blocks_of,
    page,
    pages,
)
from tests.stock import Stock, stocked
from trials.serving import serving

BEFORE_A_SERVICE: Final = "docs/how-to/before-a-service.md"
INSIDE_AN_APPLICATION: Final = "docs/how-to/inside-an-application.md"
HISTORY: Final = ("docs/how-to/history.md", "docs/reference/views.md")
BESIDE_THE_DEMO: Final = {
    "accounts": "docs/how-to/accounts.md",
    "definitions": "docs/how-to/definitions.md",
    "kinetica": "docs/reference/kinetica.md",
    "datameer": "docs/reference/datameer.md",
    "native": "docs/reference/native.md",
}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Give a shell in an empty folder."""
    return Shell(tmp_path)


@pytest.mark.parametrize("name", pages())
def test_each_block_has_a_mark_by_which_a_test_finds_it(name: str) -> None:
    here = (path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py"))
    tests = "".join(here)
    for block in all_blocks(page(name)):
        mark = block.mark
        if mark or block.language != "toml":
            assert mark, block.code
            assert mark.startswith(f"{NOT_PASTED}: ") or f'"{mark.partition(":")[0]}' in tests, mark


@pytest.mark.parametrize("name", pages())
def test_a_block_of_toml_without_a_mark_is_a_configuration(name: str) -> None:
    for block in all_blocks(page(name)):
        if block.language == "toml" and not block.mark:
            load(None, tomllib.loads(block.code), environ={})


@pytest.mark.parametrize("name", [README, "docs/tutorial.md"])
async def test_the_tour_goes_as_it_is_shown(
    shell: Shell, real_server: Start, store_path: Path, name: str
) -> None:
    assert store_path == shell.folder / "jobs.db"
    shell.real = True
    for block in blocks_of(page(name), "tour"):
        if block.mark in {"tour: server", "tour: restart"}:
            server = await real_server()
            shell.url = server.url
        if block.mark == "tour: server":
            assert block.code == "scripts/serve\n"
            continue
        printed = await shell.paste(block.code)
        if block.output is not None:
            assert as_shown(block.output, printed), f"{block.code}\n{printed}"


@pytest.mark.parametrize("mark", BESIDE_THE_DEMO)
async def test_a_page_goes_as_it_is_shown(
    shell: Shell, server_process: Start, store_path: Path, mark: str
) -> None:
    assert store_path == shell.folder / "jobs.db"
    shell.url = (await server_process()).url
    for block in blocks_of(page(BESIDE_THE_DEMO[mark]), mark):
        code = block.code
        if block.mark.endswith("client"):
            client = code.replace("http://localhost:8529", shell.url)
            (shell.folder / "client.py").write_text(client)
            code = "python client.py"
        printed = await shell.paste("set -e\n" + code)
        if block.output is not None:
            assert as_shown(block.output, printed), f"{code}\n{printed}"


async def test_retries_go_as_they_are_shown(
    shell: Shell, server_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.folder)
    config, block = blocks_of(page("docs/how-to/retries.md"), "retries")
    (shell.folder / "retrying.toml").write_text(config.code)
    shell.url = (await server_process("--config", "retrying.toml")).url
    printed = await shell.paste("set -e\n" + block.code)
    assert block.output is not None
    assert as_shown(block.output, printed), printed


@pytest.mark.parametrize("name", [README, INSIDE_AN_APPLICATION])
async def test_an_application_with_jobs_of_its_own_runs_as_it_is_shown(
    shell: Shell, name: str
) -> None:
    await written(shell, name, "in process: ")
    await written(shell, name, "embedded: ")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    with serving("app.py", folder=shell.folder, environment=environment) as application:
        shell.url = application.url
        await asked(shell, name)


@pytest.mark.parametrize("name", [README, INSIDE_AN_APPLICATION])
async def test_the_application_in_process_runs_as_it_is_shown(
    shell: Shell, real_server: Start, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await written(shell, name, "in process: ")
    (application,) = re.findall(r"jobstore serve --app (\w+:\w+)", page(name))
    monkeypatch.chdir(shell.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shell.url = (await real_server("--app", application)).url
    await asked(shell, name)
    if name == INSIDE_AN_APPLICATION:
        assert re.search(r"PAGES\s+3", await shell.paste("jobstore show 1"))


async def asked(shell: Shell, name: str) -> None:
    """Submit a job and fetch its result, as a page shows it."""
    (block,) = blocks_of(page(name), "ask")
    printed = await shell.paste(block.code)
    assert block.output is not None
    assert as_shown(block.output, printed), printed


async def written(shell: Shell, name: str, mark: str) -> None:
    """Write the modules of a page, which are marked with their file names."""
    for block in blocks_of(page(name), mark):
        file = block.mark.removeprefix(mark)
        if file.endswith(".py"):
            (shell.folder / file).write_text(block.code.replace("8529", "0"))


async def prepared(stock: Stock) -> None:
    """Make a history that has an answer to every question."""
    for year in range(2020, 2026):
        claim = await stock.running(f"/reports?year={year}", owner="alice")
        stock.clock.move(2)
        await stock.finish(claim, 500 if year % 3 == 0 else 200)
    await stock.failed("/down")
    await stock.store.cancel(await stock.queued("/unwanted"), by="alice")
    await stock.running("/long")


def test_the_history_answers_as_it_is_asked(tmp_path: Path) -> None:
    stocked(tmp_path / "jobs.db", prepared, now() - 3600 * SECOND)
    shell = Shell(tmp_path)
    for block in (block for name in HISTORY for block in blocks_of(page(name), "history")):
        for line in block.code.splitlines():
            printed = asyncio.run(shell.paste(f"set -e\n{line}\necho understood"))
            assert printed.endswith("understood\n"), f"{line}\n{printed}"
    assert (tmp_path / "archive.db").exists()


@pytest.mark.parametrize("name", [README, BEFORE_A_SERVICE])
async def test_the_sidecar_runs_as_it_is_shown(
    shell: Shell, server_process: Start, name: str
) -> None:
    (block,) = blocks_of(page(name), "sidecar")
    report, service, serve = block.code.splitlines()
    await shell.paste(report)
    service = service.removesuffix("&").replace("9000", "0")
    with serving("-u", *shlex.split(service)[1:], folder=shell.folder) as other:
        arguments = shlex.split(serve.replace("9000", str(other.port)))[2:]
        shell.url = (await server_process(*arguments)).url
        await asked(shell, name)


async def test_the_command_is_found_from_a_new_folder_as_shown(shell: Shell) -> None:
    (block,) = blocks_of(page(README), "three ways: folder")
    printed = await shell.paste(f"export TMPDIR=$PWD\n{block.code}command -v jobstore\npwd")
    command, folder = map(Path, printed.splitlines())
    assert command.samefile(BIN / "jobstore")
    assert folder.parent.samefile(shell.folder)
    assert [*folder.iterdir()] == []


async def test_a_service_reports_as_it_is_shown(shell: Shell, server_process: Start) -> None:
    (block,) = blocks_of(page(BEFORE_A_SERVICE), "report")
    shell.url = (await server_process()).url
    await shell.paste(
        "curl -H 'x-arango-async: store' 'http://localhost:8529/_admin/sleep?duration=600'"
    )
    printed = await shell.paste(block.code)
    assert block.output is not None
    assert as_shown(block.output, printed), printed
    assert '"progress": 40' in await shell.paste("curl http://localhost:8529/_jobs/1")


def test_the_targets_are_a_configuration() -> None:
    (block,) = blocks_of(page(BEFORE_A_SERVICE), "targets")
    targets = load(None, tomllib.loads(block.code), environ={}).target
    assert [target.prefix for target in targets] == ["/", "/reports"]


async def test_the_client_in_python_runs_as_it_is_shown(
    shell: Shell, server_process: Start
) -> None:
    (block,) = blocks_of(page("docs/reference/arangodb.md"), "python-arango")
    shell.url = (await server_process()).url
    (shell.folder / "client.py").write_text(block.code.replace("http://localhost:8529", shell.url))
    assert await shell.paste("python client.py") == "2.1.0\n"


async def test_a_program_in_python_calls_as_it_is_shown(
    shell: Shell, server_process: Start
) -> None:
    pytest.importorskip("httpx", reason="needs httpx, which comes with what the tests need")
    (block,) = blocks_of(page("docs/how-to/call-it-from-python.md"), "from Python")
    shell.url = (await server_process()).url
    (shell.folder / "client.py").write_text(block.code.replace("http://localhost:8529", shell.url))
    assert await shell.paste("python client.py") == block.output


async def test_a_web_page_calls_as_it_is_shown(
    shell: Shell, server_process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page("docs/how-to/call-it-from-a-browser.md")
    config, script, preflight = blocks_of(text, "from a browser")
    monkeypatch.chdir(shell.folder)
    (shell.folder / "origins.toml").write_text(config.code)
    shell.url = (await server_process("--config", "origins.toml")).url
    printed = await shell.paste(preflight.code)
    assert preflight.output is not None
    assert as_shown(preflight.output, printed), printed
    if which("node") is None:
        pytest.skip("needs node to run the script of the page")
    (shell.folder / "page.mjs").write_text(script.code.replace("http://localhost:8529", shell.url))
    assert await shell.paste("node page.mjs") == script.output


async def test_a_crontab_submits_as_it_is_shown(shell: Shell, server_process: Start) -> None:
    crontab, morning = blocks_of(page("docs/how-to/cron-jobs.md"), "from cron")
    shell.url = (await server_process()).url
    command = crontab.code.removeprefix("0 3 * * * ").replace("\\%", "%")  # as cron reads it
    assert await shell.paste(command * 2) == ""
    printed = await shell.paste(morning.code)
    assert printed.count("GET /_admin/time") == 1, printed


async def test_who_is_woken_up_types_as_it_is_shown(shell: Shell, server_process: Start) -> None:
    (block,) = blocks_of(page("docs/how-to/incident.md"), "incident")
    shell.url = (await server_process()).url
    printed = await shell.paste("set -e\n" + block.code)
    assert block.output is not None
    assert as_shown(block.output, printed), printed


async def test_what_an_operator_types_runs_as_it_is_shown(
    shell: Shell, server_process: Start
) -> None:
    shell.url = (await server_process()).url
    await shell.paste("curl -H 'x-arango-async: store' http://localhost:8529/_api/version")
    await shell.fetch()
    (operate,) = blocks_of(page("docs/how-to/operate.md"), "operate")
    (look,) = blocks_of(page("docs/reference/views.md"), "look inside")
    printed = await shell.paste("set -e\n" + operate.code)
    assert "GET /_api/version" in printed
    assert "jobs.backup: ok" in printed
    assert "0 payloads from before" in printed
    assert "('fetched', None)" in await shell.paste(look.code)


def test_a_backup_is_made_and_restored_as_it_is_shown(tmp_path: Path) -> None:
    stocked(tmp_path / "jobs.db", prepared, now() - 3600 * SECOND)
    shell = Shell(tmp_path)
    for name, mark in (("back-up", "back up"), ("upgrade", "upgrade")):
        for block in blocks_of(page(f"docs/how-to/{name}.md"), mark):
            printed = asyncio.run(shell.paste("set -e\n" + block.code))
            assert block.output is None or as_shown(block.output, printed), printed
    assert [*tmp_path.glob("jobs.db.replaced-*")] != []
    assert "GET /long" in asyncio.run(shell.paste("jobstore history --store trial.db"))


def test_the_shell_completes_once_it_is_told_as_shown(shell: Shell) -> None:
    (block,) = blocks_of(page("docs/how-to/command-line.md"), "completion")
    assert "jobstore" in asyncio.run(shell.paste(f"{block.code}complete -p jobstore"))


def test_the_manual_page_is_the_one_that_the_commands_make() -> None:
    (block,) = blocks_of(page("docs/how-to/command-line.md"), "manual")
    assert block.code == "man jobstore\n"
    assert man.FILE.name == "jobstore.1"
    told = "it is made by: PYTHONPATH=.:scripts .venv/bin/python -m pages"
    assert man.FILE.read_text("utf-8") == man.man(), told


def scripts() -> dict[str, str]:
    """Give the lines of all pages that call one of the scripts, without their comments."""
    found = [
        (line, name)
        for name in pages()
        for block in all_blocks(page(name))
        for line in block.code.splitlines()
        if block.mark == "scripts"
    ]
    return {line.partition("#")[0].strip(): name for line, name in found}


@pytest.mark.parametrize("line", scripts())
def test_a_script_that_is_named_is_there_and_has_the_options(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script, *arguments = shlex.split(line)
    assert os.access(ROOT / script, os.X_OK), script
    options = {argument for argument in arguments if argument.startswith("--")}
    if options:
        module = ROOT / "scripts" / "trials" / Path(script).name / "__main__.py"
        monkeypatch.setattr(sys, "argv", [script, *arguments, "--help"])
        with pytest.raises(SystemExit, match=r"^0$"):
            run_path(str(module), run_name="__main__")
        assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
