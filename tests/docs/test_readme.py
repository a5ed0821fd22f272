"""Every command in the README is pasted into a shell, and does what stands beneath it."""

import asyncio
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from jobstore.model.clock import SECOND, now
from tests.conftest import Start
from tests.stock import Stock, stocked
from trials.serving import serving

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
BIN: Final = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block with the mark before it, and the output that stands beneath it."""

    mark: str
    code: str
    output: str | None


BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<mark>[^>]+?) -->\n)?```(?:sh|python|toml)\n(?P<code>.*?)^```\n"
    r"(?:```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


def blocks(mark: str) -> list[Block]:
    """Find the blocks of the README under a mark, in their order."""
    return blocks_of(README, mark)


def blocks_of(page: str, mark: str) -> list[Block]:
    """Find the blocks of a page under a mark, in their order."""
    found = [
        Block(match["mark"] or "", match["code"], match["output"])
        for match in BLOCK.finditer(page)
        if (match["mark"] or "").startswith(mark)
    ]
    assert found, mark
    return found


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
        url: the server's, in the place of the one in the README.
    """

    folder: Path
    url: str = ""

    async def paste(self, code: str) -> str:
        """Run a block and return what it prints."""
        code = code.replace("http://localhost:8529", self.url).replace(".venv/bin/", f"{BIN}/")
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", code.replace("curl ", "curl -sS "),
            cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        )  # fmt: skip
        printed, _ = await process.communicate()
        return printed.decode()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Give a shell in an empty folder."""
    return Shell(tmp_path)


async def test_the_tour_goes_as_it_is_shown(
    shell: Shell, real_server: Start, store_path: Path
) -> None:
    assert store_path == shell.folder / "jobs.db"
    for block in blocks("tour"):
        if block.mark in {"tour: server", "tour: restart"}:
            server = await real_server()
            shell.url = server.url
        if block.mark == "tour: server":
            assert block.code == "scripts/serve\n"
            continue
        printed = await shell.paste(block.code)
        if block.output is not None:
            assert as_shown(block.output, printed), f"{block.code}\n{printed}"


@pytest.mark.parametrize("page", ["kinetica", "datameer", "definitions", "accounts", "native"])
async def test_a_page_goes_as_it_is_shown(
    shell: Shell, real_server: Start, store_path: Path, page: str
) -> None:
    assert store_path == shell.folder / "jobs.db"
    shell.url = (await real_server()).url
    for block in blocks(page):
        code = block.code
        if block.mark.endswith("client"):
            client = code.replace("http://localhost:8529", shell.url)
            (shell.folder / "client.py").write_text(client)
            code = "python client.py"
        printed = await shell.paste("set -e\n" + code)
        if block.output is not None:
            assert as_shown(block.output, printed), f"{code}\n{printed}"


async def test_retries_go_as_they_are_shown(
    shell: Shell, real_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.folder)
    config, block = blocks("retries")
    (shell.folder / "retrying.toml").write_text(config.code)
    shell.url = (await real_server("--config", "retrying.toml")).url
    printed = await shell.paste("set -e\n" + block.code)
    assert block.output is not None
    assert as_shown(block.output, printed), printed


async def test_an_application_with_jobs_of_its_own_runs_as_it_is_shown(shell: Shell) -> None:
    (module,), (block,) = blocks("embedded: app.py"), blocks("embedded: run")
    _, call = block.code.splitlines()
    (shell.folder / "app.py").write_text(module.code.replace("8529", "0"))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}
    with serving("app.py", folder=shell.folder, environment=environment) as application:
        shell.url = application.url
        await shell.paste(call)
        assert await shell.paste(_FETCH) == '{"pages": 3}'


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
    for block in blocks("history"):
        for line in block.code.splitlines():
            printed = asyncio.run(shell.paste(f"set -e\n{line}\necho understood"))
            assert printed.endswith("understood\n"), f"{line}\n{printed}"
    assert (tmp_path / "archive.db").exists()


async def test_the_sidecar_runs_as_it_is_shown(shell: Shell, real_server: Start) -> None:
    (block,) = blocks("sidecar")
    service, serve, call = block.code.splitlines()
    service = service.removesuffix("&").replace("9000", "0")
    with serving("-u", *shlex.split(service)[1:], folder=shell.folder) as other:
        arguments = shlex.split(serve.removesuffix("&").replace("9000", str(other.port)))[2:]
        shell.url = (await real_server(*arguments)).url
        assert "202 Accepted" in await shell.paste(call.replace("curl ", "curl -i "))
        assert "Directory listing" in await shell.paste(_FETCH)


_FETCH: Final = """
job=http://localhost:8529/_api/job/1
while [ "$(curl -o /dev/null -w '%{http_code}' $job)" = 204 ]; do :; done
curl -X PUT $job
"""


async def test_the_application_in_process_runs_as_it_is_shown(
    shell: Shell, real_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module,) = blocks("in process: web.py")
    (block,) = blocks("in process: run")
    serve, call = block.code.splitlines()
    (shell.folder / "web.py").write_text(module.code)
    monkeypatch.chdir(shell.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shell.url = (await real_server(*shlex.split(serve.removesuffix("&"))[2:])).url
    await shell.paste(call)
    assert await shell.paste(_FETCH) == '{"parts": 4}'
    assert re.search(r"PARTS\s+4", await shell.paste("jobstore show 1"))


async def test_the_client_in_python_runs_as_it_is_shown(shell: Shell, real_server: Start) -> None:
    (block,) = blocks("python-arango")
    shell.url = (await real_server()).url
    (shell.folder / "client.py").write_text(block.code.replace("http://localhost:8529", shell.url))
    assert await shell.paste("python client.py") == "2.1.0\n"


async def test_what_an_operator_types_runs_as_it_is_shown(shell: Shell, real_server: Start) -> None:
    shell.url = (await real_server()).url
    await shell.paste("curl -H 'x-arango-async: store' http://localhost:8529/_api/version")
    await shell.paste(_FETCH)
    (operate,), (look,) = blocks("operate"), blocks("look inside")
    printed = await shell.paste("set -e\n" + operate.code)
    assert "GET /_api/version" in printed
    assert "jobs.backup: ok" in printed
    assert "0 payloads from before" in printed
    assert "('fetched', None)" in await shell.paste(look.code)


def test_the_configuration_shown_is_the_example() -> None:
    example = (ROOT / "config.example.toml").read_text()
    assert example in [block.code for block in blocks("")]


def test_every_option_and_command_that_is_named_exists() -> None:
    named = set(re.findall(r"`jobstore ([a-z]+)", README))
    assert named == {
        "serve", "list", "show", "history", "restore", "expire", "check", "backup", "migrate",
        "define", "user", "export", "purge",
    }  # fmt: skip
