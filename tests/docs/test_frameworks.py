"""The services of other frameworks are written, run and asked as their pages show."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Start
from tests.docs.pasting import BIN, Shell, as_shown, blocks_of, page
from trials.serving import serving

FILES: Final = {"fastapi": "app.py", "flask": "app.py", "express": "app.mjs"}

pytestmark = pytest.mark.file


def prepare(name: str, folder: Path) -> None:
    """Install what does not come with the tests."""
    if name != "express":
        return
    if shutil.which("npm") is None:
        pytest.skip("needs npm, of the packages nodejs and npm")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "express@5"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"needs express from npm, which gave: {installed.stderr[-200:]}")


@pytest.mark.parametrize("name", FILES)
async def test_a_service_gets_jobs_as_its_page_shows(
    tmp_path: Path, server_process: Start, name: str
) -> None:
    app, run, call = blocks_of(page(f"docs/how-to/{name}.md"), "framework")
    assert app.mark == f"framework: {FILES[name]}"
    prepare(name, tmp_path)
    (tmp_path / FILES[name]).write_text(app.code.replace("9000", "0"))
    service, serve = (
        line.removesuffix(" &").replace("9000", "0") for line in run.code.splitlines()
    )
    line = f"PATH={BIN}:$PATH exec {service} 2>&1"
    with serving("-c", line, folder=tmp_path, program="/bin/sh") as other:
        arguments = shlex.split(serve)[2:-1]
        shell = Shell(tmp_path, (await server_process(*arguments, other.url)).url)
        printed = await shell.paste(call.code)
    assert call.output is not None
    assert as_shown(call.output, printed), printed
