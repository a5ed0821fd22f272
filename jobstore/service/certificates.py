"""The server's certificate: reloaded when its files change, without losing a connection.

Each handshake first checks whether the files have changed, which costs two system calls beside
milliseconds of cryptography. A valid new pair is used from then on. An invalid one, such as a
certificate whose key has not been written yet, is logged once, and the earlier pair stays in use.
"""

import logging
import ssl
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from jobstore.model.errors import ConfigError

_MINIMUM: Final = ssl.TLSVersion.TLSv1_2

log = logging.getLogger(__name__)

# What tells a file from its next version: inode, size and when it was written, of both.
_Seen: TypeAlias = tuple[tuple[Path, tuple[int, int, int] | None], ...]


class Certificates:
    """A certificate and its key, in files.

    Args:
        certificate: the file with the certificate and its chain.
        key: the file with its key; None if that is the same file.

    Attributes:
        context: the TLS context for connections; it stays the same object.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._seen = self._look()
        self._current = self.context = self._read()
        self.context.sni_callback = self._greeted  # called whether a name is asked for or not

    def use(self, certificate: Path, key: Path | None) -> bool:
        """Use these files from now on, as `refresh` does."""
        self._certificate, self._key = certificate, key
        return self.refresh()

    def refresh(self) -> bool:
        """Reload the files if they have changed; return whether they are valid."""
        seen = self._look()
        if seen == self._seen:
            return True
        try:
            self._current = self._read()
        except ConfigError as error:
            log.warning("%s; the earlier certificate stays in use", error, extra=_ACTION)
            return False
        else:
            log.info("a new certificate from %s is in use", self._certificate, extra=_ACTION)
            return True
        finally:
            self._seen = seen

    def _greeted(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        self.refresh()
        connection.context = self._current

    def _look(self) -> _Seen:
        return tuple((path, _version(path)) for path in self._files)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _MINIMUM
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_refuse_to_ask)
        except ssl.SSLError as error:
            raise ConfigError(self._problem(error)) from error
        except OSError as error:
            missing = next((path for path in self._files if not _version(path)), self._certificate)
            raise ConfigError(f"TLS: cannot read {missing}: {error.strerror}") from error
        return context

    @property
    def _files(self) -> list[Path]:
        return [path for path in (self._certificate, self._key) if path]

    def _problem(self, error: ssl.SSLError) -> str:
        both = " and ".join(map(str, self._files))
        if error.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
            return f"TLS: {both}: the certificate and the key do not match"
        return f"TLS: {both}: expected a certificate and its key in PEM ({error.reason or error})"


_ACTION: Final = {"action": "tls"}


def _refuse_to_ask() -> NoReturn:
    """Keep OpenSSL from asking for a passphrase on the terminal.

    Raises:
        ConfigError: always.
    """
    raise ConfigError("TLS: expected a key without a passphrase: this one is encrypted")


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
