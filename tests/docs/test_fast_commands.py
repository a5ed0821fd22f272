"""A command that starts fast is to its caller what the real one is."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import REAL
from tests.stores import prepare

pytestmark = pytest.mark.file


@pytest.mark.parametrize("arguments", [["--version"], ["frobnicate"], ["show", "7"]], ids=" ".join)
def test_it_prints_and_ends_as_the_real_one(store_path: Path, arguments: list[str]) -> None:
    prepare(store_path)
    fast, real = (
        subprocess.run(
            [*command, *arguments], cwd=store_path.parent, capture_output=True, check=False
        )
        for command in (["jobstore"], REAL)
    )
    assert (fast.returncode, fast.stdout, fast.stderr) == (
        real.returncode,
        real.stdout,
        real.stderr,
    )


def test_it_reads_what_it_is_given(store_path: Path) -> None:
    prepare(store_path)
    command = ["jobstore", "submit", "POST", "/a", "-d", "@-", "--store", str(store_path)]
    subprocess.run(command, input=b"some bytes", capture_output=True, check=True)
    shown = ["jobstore", "show", "1", "--body", "request", "--store", str(store_path)]
    assert b"some bytes" in subprocess.run(shown, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_signal_ends_it_and_all_of_it(store_path: Path, number: int, code: int) -> None:
    prepare(store_path)
    subprocess.run(["jobstore", "submit", "GET", "/a", "--store", str(store_path)], check=True)
    command = ["jobstore", "tail", "--store", str(store_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ID ")
        process.send_signal(number)
        assert process.wait() == code
        process.stdout.read()  # ends when nobody is left who could write
