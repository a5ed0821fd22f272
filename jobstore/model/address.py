"""Where a server listens: a host and a port, or a socket file of this machine."""

import re
from pathlib import Path
from typing import Final, TypeAlias

from jobstore.model.frozen import frozen

_TCP: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})")
_FILE: Final = "unix:"
_HIGHEST_PORT: Final = 65_535


@frozen
class TcpAddress:
    """A host and a port; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as people do."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class SocketFile:
    """A socket of this machine that is a file."""

    path: Path

    def __str__(self) -> str:
        """Write it as people do."""
        return f"{_FILE}{self.path}"


Address: TypeAlias = TcpAddress | SocketFile


def read_address(value: object) -> Address:
    """Read an address: ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``.

    Raises:
        ValueError: it is invalid.
    """
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith(_FILE):
        path = Path(text.removeprefix(_FILE))
        if not path.name or "\0" in text:
            raise ValueError
        return SocketFile(path)
    match = _TCP.fullmatch(text)
    if match is None or int(match[3]) > _HIGHEST_PORT:
        raise ValueError
    return TcpAddress(match[1] or match[2], int(match[3]))
