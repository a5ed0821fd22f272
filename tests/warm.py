"""The command ``jobstore`` as any program may start it, at a fifth of its CPU time.

A folder for ``PATH`` has a small program of that name. It hands its arguments, its environment and
its files to a process that has imported jobstore and forks; then it passes signals on, and ends as
the command does. What listens is started as it is: it may be told its own process id.
"""

import ast
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from trials import doomed

_CLIENT: Final = """#!{python} -IS
import os, signal, socket, sys

if sys.argv[1:2] == ["serve"]:
    os.execv("{python}", ["{python}", "-m", "jobstore", *sys.argv[1:]])
link = socket.socket(socket.AF_UNIX)
link.connect("{address}")
mask = os.umask(0o077)
asked = repr((os.getcwd(), mask, dict(os.environ), sys.argv[1:])).encode()
socket.send_fds(link, [len(asked).to_bytes(4, "big")], [0, 1, 2])
link.sendall(asked)
answers = link.makefile("rb")
process = int(answers.readline())
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(process, number))
code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
# What most commands import once they know what they are asked for.
_IMPORTED: Final = ("places", "logs", "figures", "content", "filters", "options")


@contextmanager
def command() -> Iterator[Path]:
    """Give a folder with the command while the context lasts; there has to be a nursery."""
    # A path of a socket is short: not in a folder of a test.
    with tempfile.TemporaryDirectory(prefix="jobstore-warm-", dir="/tmp") as name:
        folder, address = Path(name), f"{name}/socket"
        reading, writing = get_context("forkserver").Pipe(duplex=False)
        attendant = get_context("forkserver").Process(target=_attend, args=(address, writing))
        attendant.start()
        writing.close()
        assert reading.recv() == "ready"
        client = folder / "jobstore"
        client.write_text(_CLIENT.format(python=sys.executable, address=address))
        client.chmod(0o755)
        try:
            yield folder
        finally:
            attendant.kill()
            attendant.join()


def _attend(address: str, ready: Connection) -> None:
    """Fork for whoever asks, until killed."""
    for each in _IMPORTED:
        import_module(f"jobstore.cli.{each}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks what became of those that look
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    ready.send("ready")
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _look_after(link)
        link.close()


def _look_after(link: socket.socket) -> None:
    """Run a command in a process of its own; kill it when whoever wants it has been killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, _, _ = socket.recv_fds(link, 4, 3)
    asked = link.makefile("rb").read(int.from_bytes(head, "big"))
    process = os.fork()
    if process == 0:
        link.close()
        return _become(files, *ast.literal_eval(asked.decode()))
    for file in files:
        os.close(file)
    with suppress(BrokenPipeError):
        link.sendall(b"%d\n" % process)
    ended = os.pidfd_open(process)
    either: list[socket.socket | int] = [link, ended]
    if ended not in select.select(either, [], [])[0]:
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with suppress(BrokenPipeError):
        link.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(
    files: list[int], folder: str, mask: int, environment: dict[str, str], arguments: list[str]
) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 if os.isatty(1) else -1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    doomed.run(arguments)
