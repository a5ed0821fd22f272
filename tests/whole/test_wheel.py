import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final
from urllib.parse import urljoin
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

from jobstore import __version__
from jobstore.store.sqlite.engine import SCHEMA_VERSION
from pages import man
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


PIP: Final = ("-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and from that the wheel, as an index would have them."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def jobstore(built: Path) -> Path:
    """Install the wheel into an empty environment elsewhere, and give its command."""
    return installed(sys.executable, built)


def installed(python: str | Path, built: Path) -> Path:
    """Install the wheel for a Python, and give the command."""
    (wheel,) = built.glob("*.whl")
    place = built / f"env-{Path(python).name}"
    run(python, "-m", "venv", "--without-pip", place, cwd=built)
    target = ("--python", place / "bin/python")
    run(sys.executable, *PIP, *target, "install", "--no-compile", wheel, cwd=built)
    return place / "bin/jobstore"


def works(python: str) -> bool:
    """Tell whether there is such a Python, other than this one."""
    found = shutil.which(python)
    if found is None or python.endswith(f".{sys.version_info.minor}"):
        return False
    return subprocess.run([found, "-V"], capture_output=True, check=False).returncode == 0


def names_in(built: Path) -> tuple[set[str], set[str]]:
    """List what is in the wheel, and in the source distribution below its folder."""
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with ZipFile(wheel) as packed, tarfile.open(source) as tar:
        return {*packed.namelist()}, {name.partition("/")[2] for name in tar.getnames()}


@pytest.mark.timeout(400)
def test_the_wheel_has_what_a_server_and_a_type_checker_need(built: Path) -> None:
    wheel, source = names_in(built)
    data = f"jobstore-{__version__}.data/data"
    assert {
        "jobstore/py.typed",
        "jobstore/migrations/env.py",
        f"{data}/share/man/man1/jobstore.1",
        f"jobstore-{__version__}.dist-info/licenses/LICENSE",
    } <= wheel
    assert not any(name.startswith(("tests/", "scripts/", "docs/")) for name in wheel)
    texts = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"}
    assert texts | {"config.example.toml", "docs/conf.py", "tests/conftest.py"} <= source
    assert not any(name.startswith((".venv", "build/", "dist/")) for name in source)


@pytest.mark.timeout(400)
def test_the_metadata_are_those_of_this_version(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with ZipFile(wheel) as packed:
        text = packed.read(f"jobstore-{__version__}.dist-info/METADATA").decode()
    told = email.message_from_string(text)
    assert (told["Name"], told["Version"]) == ("jobstore", __version__)
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "Apache-2.0"
    assert "# jobstore" in text  # the README is the page on an index


def test_the_changelog_has_a_section_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## [{__version__}] - " in changelog


@pytest.mark.timeout(400)
@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13", "python3.14"])
def test_it_installs_and_runs_on_other_versions_of_python(
    built: Path, tmp_path: Path, python: str
) -> None:
    if not works(python):
        pytest.skip(f"there is no {python} besides the one that runs the tests")
    command = installed(python, built)
    assert f"schema version {SCHEMA_VERSION}" in run(command, "migrate", cwd=tmp_path)
    with serving("serve", "--port", "0", program=command, folder=tmp_path) as server:
        assert server.stop() == 0


@pytest.mark.timeout(400)
def test_the_installed_manual_page_is_where_man_finds_it(jobstore: Path) -> None:
    page = jobstore.parents[1] / "share/man/man1/jobstore.1"
    assert page.read_text("utf-8") == man.man()


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
        with urlopen(f"{server.url}/_jobs/ui/") as page:
            (sheet,) = re.findall(r'href="([^"]+\.css)"', page.read().decode())
        with urlopen(urljoin(f"{server.url}/_jobs/ui/", sheet)) as style:
            assert style.headers["Content-Type"] == "text/css; charset=utf-8"
        assert server.stop() == 0
    assert (tmp_path / "jobs.db").exists()
