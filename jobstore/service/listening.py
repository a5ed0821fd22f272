"""The sockets on which a server listens: opened here, or passed by whatever started it.

A socket file remains when its server is killed. An existing file is examined under a lock on its
folder, so that of two servers that start at the same time one is refused.
"""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from jobstore.model.address import Address, SocketFile, TcpAddress
from jobstore.model.errors import CannotListen
from jobstore.model.frozen import frozen

# Who may connect to a socket file: its owner and its group.
MODE: Final = 0o660
# How many clients may wait at a socket until they are accepted.
BACKLOG: Final = 1024
_LONGEST_PATH: Final = 107  # bytes: sockaddr_un of unix(7), which needs one more


@frozen
class ListeningSocket:
    """A socket on which a server listens.

    Args:
        socket: the socket.
        secure: whether it uses TLS.
    """

    socket: socket.socket
    secure: bool = False

    @property
    def address(self) -> Address:
        """Where it listens, with its actual port."""
        name = self.socket.getsockname()
        if self.is_file:
            return SocketFile(Path(os.fsdecode(name)))
        return TcpAddress(name[0], name[1])

    @property
    def host(self) -> str:
        """The address alone, without a port."""
        address = self.address
        return address.host if isinstance(address, TcpAddress) else str(address)

    @property
    def is_file(self) -> bool:
        """Whether it is a socket file."""
        return self.socket.family == socket.AF_UNIX

    @property
    def url(self) -> str:
        """Its URL, or ``unix:`` and the path."""
        scheme = "" if self.is_file else ("https://" if self.secure else "http://")
        return f"{scheme}{self.address}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.is_file or ip_address(self.socket.getsockname()[0]).is_loopback


@contextmanager
def listening(addresses: Sequence[Address], *, secure: bool) -> Iterator[list[ListeningSocket]]:
    """Listen while the context lasts.

    Args:
        addresses: where.
        secure: whether ports use TLS; socket files never do.

    Raises:
        CannotListen: one of the addresses cannot be used.
    """
    with ExitStack() as stack:
        yield [_listener(stack, address, secure=secure) for address in addresses]


def _listener(stack: ExitStack, address: Address, *, secure: bool) -> ListeningSocket:
    match address:
        case TcpAddress():
            return ListeningSocket(stack.enter_context(_port(address)), secure)
        case SocketFile():
            return ListeningSocket(stack.enter_context(_socket_file(address)))


def _port(address: TcpAddress) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, _, _, _, name = found[0]
        return socket.create_server(name[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        passing = error.errno == socket.EAI_AGAIN
        problem = "its name cannot be looked up" if passing else "there is no host of that name"
        advice = "give an address of this machine, such as 127.0.0.1"
        raise CannotListen(str(address), problem, advice) from error
    except UnicodeError as error:
        raise CannotListen(str(address), "this is not a valid host name") from error
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        advice = "choose another port with --port" if taken else ""
        raise CannotListen(str(address), os.strerror(error.errno or 0), advice) from error


# --- socket files -------------------------------------------------------------------------------


@contextmanager
def _socket_file(address: SocketFile) -> Iterator[socket.socket]:
    """Listen on a socket file, which is removed at the end if it is still the same file."""
    path = address.path
    try:
        _check(path)
        with socket.socket(socket.AF_UNIX) as listening, ExitStack() as stack:
            with _folder_locked(path):
                _clear(path)
                listening.bind(os.fspath(path))
                stack.callback(_remove, path, _identity(path))
                path.chmod(MODE)  # before anybody is let in
                listening.listen(BACKLOG)
            yield listening
    except _InTheWayError as error:
        raise CannotListen(str(address), str(error), "remove it, or choose another path") from error
    except OSError as error:
        raise CannotListen(str(address), error.strerror or str(error)) from error


class _InTheWayError(Exception):
    """The path exists, and must not be removed."""


def _check(path: Path) -> None:
    if not path.parent.is_dir():
        raise OSError(errno.ENOENT, "its folder does not exist")
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, f"expected a path of at most {_LONGEST_PATH} bytes")


@contextmanager
def _folder_locked(path: Path) -> Iterator[None]:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _clear(path: Path) -> None:
    """Remove a socket file on which nobody listens any more.

    Raises:
        _InTheWayError: something else is there.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _InTheWayError("the path exists and is not a socket")
    if _is_live(path):
        raise _InTheWayError("another server is listening there")
    path.unlink()


def _is_live(path: Path) -> bool:
    """Return whether somebody listens on a socket file.

    Raises:
        OSError: that cannot be found out, for example without permission.
    """
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(0)
        try:
            visitor.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # whoever listens has many waiting
            return True
        return True


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove(path: Path, identity: tuple[int, int]) -> None:
    with suppress(OSError):
        if _identity(path) == identity:
            path.unlink()
