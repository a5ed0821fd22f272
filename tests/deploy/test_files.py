"""The files for deployment are checked by the programs that they are for."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from jobstore.config import load
from tests.packages import needs

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
BIN: Final = Path(sys.executable).parent
INSTALLED: Final = "/opt/jobstore/bin/jobstore"


def ran(*command: str | Path) -> str:
    """Run a program that has to succeed; return all that it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Give the units, with the command that is installed here."""
    copies = []
    for unit in sorted((DEPLOY / "systemd").iterdir()):
        text = unit.read_text()
        assert text.count(INSTALLED) == (unit.suffix == ".service")
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(text.replace(INSTALLED, str(BIN / "jobstore")))
    return copies


@needs("systemd-analyze", package="systemd")
def test_systemd_finds_nothing_wrong_with_the_units(units: list[Path]) -> None:
    assert [unit.name for unit in units] == ["jobstore.service", "jobstore.socket"]
    assert ran("systemd-analyze", "verify", *units) == ""


@needs("systemd-analyze", package="systemd")
def test_the_service_may_do_little() -> None:
    service = DEPLOY / "systemd" / "jobstore.service"
    last = ran("systemd-analyze", "security", "--offline=yes", service).splitlines()[-1]
    exposure = float(last.partition("jobstore.service: ")[2].split()[0])
    assert exposure <= 1.5


def test_hadolint_finds_nothing_wrong_with_the_dockerfile() -> None:
    assert ran(BIN / "hadolint", DEPLOY / "Dockerfile") == ""


def test_the_compose_file_is_one() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    assert "ok" in ran(BIN / "check-jsonschema", *schema, DEPLOY / "compose.yaml")


def test_the_image_is_told_nothing_that_the_configuration_does_not_know() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    (environment,) = (line for line in lines if line.startswith("ENV "))
    given = dict(each.split("=", 1) for each in environment.split()[1:])
    config = load(None, environ=given)
    assert [str(each) for each in config.server.addresses] == ["0.0.0.0:8529"]
    assert str(config.store.path) == "jobs.db"
    assert {"WORKDIR /var/lib/jobstore", "VOLUME /var/lib/jobstore"} <= set(lines)
    database = {"JOBSTORE_STORE__URL": "postgresql://jobs:secret@db/jobs"}
    assert load(None, environ={**given, **database}).store.url == database["JOBSTORE_STORE__URL"]
    (probe,) = (line for line in lines if line.startswith("HEALTHCHECK"))
    assert probe.endswith('CMD ["jobstore", "ready"]')


def test_compose_tells_jobstore_who_moves_the_log() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    variable = services["jobstore"]["environment"]["JOBSTORE_STORE__CHECKPOINTS"]
    assert variable == "${JOBSTORE_CHECKPOINTS:-self}"
    given = {"JOBSTORE_STORE__CHECKPOINTS": "external"}
    assert load(None, environ=given).store.external
    assert services["litestream"]["environment"] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]


def test_what_the_package_is_made_of_gets_into_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / each).exists() for each in taken)
    assert {"jobstore", "migrations", "pyproject.toml", "README.md", "LICENSE"} <= taken
