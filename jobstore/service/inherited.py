"""Sockets passed by whatever started the server, such as systemd: sd_listen_fds(3).

Their descriptors are numbered from 3. `LISTEN_FDS` says how many there are, `LISTEN_PID` which
process they are for, and `LISTEN_FDNAMES` their names: ``admin`` is for metrics and health checks.
"""

import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import field
from typing import Final

from jobstore.model.errors import CannotListen
from jobstore.model.frozen import frozen
from jobstore.service.listening import ListeningSocket

_FIRST: Final = 3
_MOST: Final = 64
_ADMIN: Final = "admin"
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@frozen
class Inherited:
    """The sockets that were passed.

    Args:
        main: the sockets for everything.
        admin: the sockets for metrics and health checks.
    """

    main: list[ListeningSocket] = field(default_factory=list)
    admin: list[ListeningSocket] = field(default_factory=list)


@contextmanager
def inherited(environment: MutableMapping[str, str], *, secure: bool) -> Iterator[Inherited]:
    """Use the sockets that were passed to this process, and close them at the end.

    Args:
        environment: names them; the variables are removed, so that child processes ignore them.
        secure: whether ports use TLS.

    Raises:
        CannotListen: a descriptor is not a listening socket.
    """
    pid, count, names = (environment.pop(name, "") for name in _VARIABLES)
    found = Inherited()
    with ExitStack() as stack:
        if pid == str(os.getpid()) and count.isdigit():
            for index, name in enumerate(_named(int(count), names)):
                listener = ListeningSocket(stack.enter_context(_taken(_FIRST + index)), secure)
                (found.admin if name == _ADMIN else found.main).append(listener)
        yield found


def _named(count: int, names: str) -> list[str]:
    count, given = min(count, _MOST), names.split(":")
    return [*given, *[""] * count][:count]


def _taken(descriptor: int) -> socket.socket:
    """Use one descriptor as a listening socket.

    Raises:
        CannotListen: it is not one.
    """
    place = f"descriptor {descriptor}, passed by systemd"
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        raise CannotListen(place, "this is not a socket") from error
    taken.set_inheritable(False)
    accepts = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.type != socket.SOCK_STREAM or not accepts:
        raise CannotListen(
            place, "clients cannot connect to it: expected ListenStream= and Accept=no"
        )
    return taken
