import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

from jobstore.store.sqlite.engine import SCHEMA_VERSION
from trials.serving import serving

ROOT: Final = Path(__file__).parents[2]
# What is imported is compiled then, and only once: that is a small part of what is installed.
COMPILING: Final = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=COMPILING,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def jobstore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it into an empty environment elsewhere, and give its command."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env")
    python = folder / "env/bin/python"
    run(sys.executable, *pip, "--python", python, "install", "--no-compile", wheel, cwd=folder)
    return folder / "env/bin/jobstore"


@pytest.mark.timeout(400)  # packages are downloaded
def test_an_installed_jobstore_runs_from_any_folder(jobstore: Path, tmp_path: Path) -> None:
    assert run(jobstore, "--version", cwd=tmp_path).startswith("jobstore ")
    assert f"schema version {SCHEMA_VERSION}" in run(jobstore, "migrate", cwd=tmp_path)
    assert "ok" in run(jobstore, "check", cwd=tmp_path)


@pytest.mark.timeout(400)
def test_an_installed_jobstore_serves(jobstore: Path, tmp_path: Path) -> None:
    with serving(
        "serve", "--port", "0", program=jobstore, folder=tmp_path, environment=COMPILING
    ) as server:
        with urlopen(f"{server.url}/_jobs/ui/") as page:  # noqa: S310 - our own
            (sheet,) = re.findall(r'href="([^"]+\.css)"', page.read().decode())
        with urlopen(urljoin(f"{server.url}/_jobs/ui/", sheet)) as style:  # noqa: S310
            assert style.headers["Content-Type"] == "text/css; charset=utf-8"
        assert server.stop() == 0
    assert (tmp_path / "jobs.db").exists()
