"""The pages about running jobstore: their commands are pasted, and their configurations loaded."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from jobstore.config import load
from tests.client import WAIT, Client
from tests.conftest import Start
from tests.docs.pasting import ROOT, Shell, as_shown, blocks_of
from tests.packages import needs
from tests.peers import nobodys_port
from trials.services import answering

DOCS: Final = ROOT / "docs"
PAGES: Final = {
    name: (DOCS / f"{name}.md").read_text()
    for name in (
        "before-you-expose-it", "systemd", "docker", "behind-a-proxy", "litestream", "embedded"
    )
}  # fmt: skip
TOML: Final = [
    (name, code)
    for name, page in PAGES.items()
    for code in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
]


@pytest.mark.parametrize(("page", "code"), TOML)
def test_each_configuration_that_is_shown_is_one(
    page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "database-url").write_text("postgresql://jobs:secret@db/jobs")
    assert load(None, tomllib.loads(code), environ={}) != load(None, environ={}), page


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_leads_to_is_there(page: str) -> None:
    leads = re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", PAGES[page])
    assert [lead for lead in leads if not (DOCS / lead).resolve().exists()] == []
    named = re.findall(r"\bdeploy/[\w./-]+\w", PAGES[page])
    assert [each for each in named if not (ROOT / each).exists()] == []


async def test_what_to_do_first_goes_as_it_is_shown(
    real_server: Start, store_path: Path, tmp_path: Path
) -> None:
    assert store_path.parent == tmp_path
    shell = Shell(tmp_path, (await real_server()).url)
    for block in blocks_of(PAGES["before-you-expose-it"], "expose"):
        printed = await shell.paste(block.code)
        if block.output is not None:
            assert as_shown(block.output, printed), f"{block.code}\n{printed}"


async def test_what_systemd_reads_is_put_where_it_looks(tmp_path: Path) -> None:
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    etc = tmp_path / "etc"
    for block in blocks_of(PAGES["systemd"], "systemd: install"):
        assert await Shell(tmp_path).paste(block.code.replace(" /etc/", f" {etc}/")) == ""
    units = sorted(path.name for path in (etc / "systemd" / "system").iterdir())
    assert units == ["jobstore.service", "jobstore.socket"]
    config = etc / "jobstore" / "jobstore.toml"
    assert load(config, environ={}).targets[0].upstream == "http://127.0.0.1:9000"
    assert config.stat().st_mode & 0o444 == 0o444  # the user of the unit is none that we know


@needs("systemd-socket-activate", package="systemd")
async def test_a_socket_is_there_before_the_server_as_it_is_shown(tmp_path: Path) -> None:
    (block,) = blocks_of(PAGES["systemd"], "systemd: activate")
    code = block.code.replace("8600", str(nobodys_port())).replace(
        "curl -s", "curl --retry 50 --retry-connrefused --retry-delay 1 -s"
    )
    printed = await Shell(tmp_path).paste(f"{code}\nkill %1\nwait")
    assert block.output is not None
    assert '{"ready": true}' in printed


async def test_an_application_has_jobs_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, http: ClientSession
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = (each for each in blocks_of(PAGES["embedded"], "embedded") if "import" in each.code)
    module: dict[str, Any] = {"__name__": "shown"}
    exec(block.code, module)  # noqa: S102 - as a reader would
    async with answering(module["create_app"]()) as url:
        client, alice = Client(http, url), {"X-User": "alice"}
        ordered = await client("POST", "/order", headers=alice)
        job_id = ordered.json()["job"]
        shown = await client("GET", f"/_jobs/{job_id}", headers={**alice, **WAIT})
        answer = await client("PUT", f"/_api/job/{job_id}", headers=alice)
        assert (answer.status, answer.body) == (200, b"10 records"), shown
        assert (await client("GET", "/_jobs")).status == 401
