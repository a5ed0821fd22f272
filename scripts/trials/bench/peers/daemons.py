"""The servers that peers keep their jobs in, each with a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trials.bench.plan import Yard

# How long a server may take for its start, and how long to rest between two looks, in seconds.
_PATIENCE: Final = 30.0
_LOOK: Final = 0.05
_POSTGRES: Final = "postgres"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer keeps its jobs.

    Args:
        where: how it is reached.
        pids: the process that serves it, if there is one.
    """

    where: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A server that peers need.

    Args:
        start: starts it in a place for servers.
        missing: tells what that lacks in a folder, or "".
    """

    start: Callable[[Yard], Place]
    missing: Callable[[Path], str]


# --- none ---------------------------------------------------------------------------------------


def _file(yard: Yard) -> Place:
    return Place(str(yard.folder / "peer.db"))


NONE: Final = Daemon(_file, lambda _: "")


# --- Redis --------------------------------------------------------------------------------------


def _redis(yard: Yard) -> Place:
    """Start Redis with a sync at each write."""
    folder = Path(tempfile.mkdtemp(prefix="redis-", dir=yard.folder))
    path = folder / "socket"
    options = {
        "port": "0",
        "unixsocket": str(path),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
    }
    command = ["redis-server", *(part for key in options for part in (f"--{key}", options[key]))]

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    return Place(f"unix://{path}", (_started(yard, command, answers),))


def _without_redis(_: Path) -> str:
    return "" if shutil.which("redis-server") else "redis-server"


REDIS: Final = Daemon(_redis, _without_redis)


# --- PostgreSQL ---------------------------------------------------------------------------------


def _postgres(yard: Yard) -> Place:
    """Start PostgreSQL as it comes, but on a socket; root lends it to PostgreSQL's own user."""
    folder, as_user = yard.folder / _POSTGRES, _as_user()
    folder.mkdir(mode=0o700)
    if as_user:
        shutil.chown(folder, _POSTGRES, _POSTGRES)
        for above in (yard.folder, yard.folder.parent):
            above.chmod(0o711)
    data, tools = str(folder / "data"), _tools()
    assert tools
    make = [*as_user, str(tools / "initdb"), "-D", data, "-U", "bench", "-A", "trust", "--no-sync"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    serve = [*as_user, str(tools / _POSTGRES), "-D", data, "-k", str(folder), "-h", ""]
    ready = [str(tools / "pg_isready"), "-q", "-h", str(folder)]

    def answers() -> bool:
        return subprocess.run(ready, check=False).returncode == 0

    where = f"host={folder} user=bench dbname=postgres"
    return Place(where, (_started(yard, serve, answers),))


def _as_user() -> list[str]:
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={_POSTGRES}", f"--regid={_POSTGRES}", "--init-groups"]


def _tools() -> Path | None:
    """Find PostgreSQL's programs, which Debian does not put on the path."""
    if found := shutil.which(_POSTGRES):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _without_postgres(folder: Path) -> str:
    if _tools() is None:
        return "PostgreSQL"
    if os.geteuid():
        return ""
    if not shutil.which("setpriv"):
        return "setpriv, without which root cannot start PostgreSQL"
    enter = [*_as_user(), "test", "-x", str(folder.parent)]
    reached = subprocess.run(enter, check=False).returncode == 0
    return "" if reached else f"the right of the user {_POSTGRES} to enter {folder.parent}"


POSTGRES: Final = Daemon(_postgres, _without_postgres)


# --- all ----------------------------------------------------------------------------------------


def _started(yard: Yard, command: Sequence[str], answers: Callable[[], bool]) -> int:
    """Start a server, and wait until it answers."""
    process = yard.stack.enter_context(running(command, signal.SIGINT))
    start = time.perf_counter()
    while not answers():
        if process.poll() is not None or time.perf_counter() > start + _PATIENCE:
            raise ChildProcessError(f"{command[0]} does not answer")
        time.sleep(_LOOK)
    return process.pid


@contextmanager
def running(command: Sequence[str], end: signal.Signals) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program while the context lasts, and end it with a signal.

    What it says goes nowhere.
    """
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(end)
