"""All sockets of a server: those that were passed to it, or else those that are configured."""

import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from jobstore.config import Config
from jobstore.config.sections import ServerSection
from jobstore.model.address import TcpAddress
from jobstore.model.frozen import frozen
from jobstore.service.certificates import Certificates
from jobstore.service.inherited import inherited
from jobstore.service.listening import ListeningSocket, listening


@frozen
class Sockets:
    """Where a server listens.

    Args:
        main: for everything.
        admin: for metrics and health checks, if separate.
    """

    main: list[ListeningSocket]
    admin: list[ListeningSocket]

    @property
    def all(self) -> list[ListeningSocket]:
        """All of them."""
        return [*self.main, *self.admin]

    @property
    def name(self) -> str:
        """This server's name: its host, and its port or process id."""
        ports = [each.address.port for each in self.main if isinstance(each.address, TcpAddress)]
        return f"{socket.gethostname()}:{ports[0] if ports else os.getpid()}"


def certificates_of(section: ServerSection) -> Certificates | None:
    """Read the configured certificate.

    Raises:
        ConfigError: it cannot be used.
    """
    if section.tls_certificate is None:
        return None
    return Certificates(section.tls_certificate, section.tls_key)


@contextmanager
def sockets_of(config: Config, environment: MutableMapping[str, str]) -> Iterator[Sockets]:
    """Listen while the context lasts: sockets that were passed replace the configured ones.

    Raises:
        CannotListen: an address cannot be used.
    """
    secure = config.server.tls_certificate is not None
    with (
        inherited(environment, secure=secure) as given,
        listening([] if given.main else config.server.addresses, secure=secure) as main,
        listening([] if given.admin else config.admin.listen, secure=secure) as admin,
    ):
        yield Sockets([*given.main, *main], [*given.admin, *admin])
