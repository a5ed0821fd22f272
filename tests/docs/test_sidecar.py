"""The page about standing before a service goes as it is shown."""

import os
import shlex
import tomllib
from pathlib import Path

from jobstore.config import load
from tests.conftest import Start
from tests.docs.pasting import ROOT, Block, Shell, as_shown, blocks_of
from trials.serving import serving

PAGE = (ROOT / "docs" / "sidecar.md").read_text()


def blocks(mark: str) -> list[Block]:
    return blocks_of(PAGE, mark)


async def test_the_service_is_asked_as_it_is_shown(
    server_process: Start, store_path: Path, tmp_path: Path
) -> None:
    assert store_path == tmp_path / "jobs.db"
    shell = Shell(tmp_path)
    (service,), (serve,) = blocks("sidecar: service.py"), blocks("sidecar: serve")
    (tmp_path / "service.py").write_text(service.code.replace("port=9000", "port=0"))
    _, line = serve.code.splitlines()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with serving("service.py", folder=tmp_path, environment=environment) as other:
        arguments = shlex.split(line.removesuffix("&").replace("9000", str(other.port)))[2:]
        url = (await server_process(*arguments)).url
        shell.url = url.replace("127.0.0.1", "localhost")
        for block in blocks("sidecar"):
            if block.mark in {"sidecar", "sidecar: client"}:
                await shown(shell, block)


async def shown(shell: Shell, block: Block) -> None:
    code = block.code
    if block.mark == "sidecar: client":
        (shell.folder / "client.py").write_text(code.replace("http://localhost:8529", shell.url))
        code = "python client.py"
    printed = await shell.paste("set -e\n" + code)
    assert block.output is not None
    assert as_shown(block.output, printed), f"{code}\n{printed}"


def test_the_configuration_is_one() -> None:
    (block,) = blocks("sidecar: configuration")
    config = load(None, tomllib.loads(block.code), environ={})
    first, shop = config.targets
    assert (first.keeps_host, first.cut) == (True, "")
    assert (shop.keeps_host, shop.cut) == (False, "/shop")
    assert (config.server.protect, config.capture.response_limit) == ("jobs", 100 * 2**20)
    assert config.dialects == ()


async def test_credentials_are_forwarded_by_the_flag_that_is_shown(server_process: Start) -> None:
    (block,) = blocks("sidecar: credentials")
    arguments = shlex.split(block.code.strip().removesuffix("&"))[2:]
    assert (await server_process(*arguments)).url
