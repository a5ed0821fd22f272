"""Messages to systemd or another service manager: sd_notify(3).

Each message is one datagram to the socket in `NOTIFY_SOCKET`; without that variable, nothing is
sent. It is written by hand: packages for it are either old or need systemd's library, and the
protocol is guaranteed to be stable.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_MICROSECONDS: Final = 1_000_000
# How often to say that all is well, within the time after which systemd takes it for hung.
_PULSES: Final = 3


class Supervisor:
    """The service manager that started the server.

    Args:
        environment: names its socket, and how long it waits for a sign of life.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watched = _seconds(environment)

    @property
    def listens(self) -> bool:
        """Whether there is a service manager."""
        return self._address[:1] in {"/", "@"}

    @property
    def pulse(self) -> float | None:
        """How often to send a sign of life, in seconds; None for never."""
        return self._watched / _PULSES if self.listens and self._watched else None

    def ready(self) -> None:
        """Report that requests are answered."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Report that the configuration is being reloaded; `ready` ends that."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, words: str) -> None:
        """Send a line of status."""
        self._tell(f"STATUS={' '.join(words.split())}")

    def stopping(self, words: str, seconds: float) -> None:
        """Report that the server is stopping, and how long that may take."""
        self._tell("STOPPING=1", f"STATUS={words}", _extended(seconds))

    def patience(self, seconds: float) -> None:
        """Ask for more time."""
        self._tell(_extended(seconds))

    def alive(self) -> None:
        """Send a sign of life."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        """Send lines; failures are ignored."""
        if not self.listens:
            return
        address = self._address
        if address.startswith("@"):  # a name that is no file: unix(7)
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(0)
            try:
                datagrams.connect(address)
                datagrams.send("\n".join(lines).encode())
            except OSError:
                return


def _extended(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={int(seconds * _MICROSECONDS)}"


def _seconds(environment: Mapping[str, str]) -> float:
    """Return after how many silent seconds the server counts as hung; 0 means never."""
    number, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    ours = pid in {"", str(os.getpid())}
    return int(number) / _MICROSECONDS if ours and number.isdigit() else 0.0


NOBODY: Final = Supervisor({})
