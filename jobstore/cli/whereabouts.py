"""Where a server answers, and one request to it: the part that all who ask a server share.

A server is named by its URL, or found by its configuration. A server that does not answer raises
`Unanswered`, in words that each command puts into a sentence of its own.
"""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from jobstore.cli.plain import Complaint
from jobstore.config import Config
from jobstore.model.address import SocketFile, TcpAddress, read_address
from jobstore.model.frozen import frozen

NO_JOBSTORE: Final = "this is not a jobstore server"
_UNIX: Final = "unix:"
# Where to reach a server that listens on all addresses.
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here
_PRINTABLE: Final = re.compile("[!-~]+")
_CERTIFICATE: Final = re.compile(
    "-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)


class Unanswered(Exception):
    """A server has not answered; the message says why."""


@frozen
class RemoteRequest:
    """What a server is asked; the path is that of the call, such as ``/_jobs/5``."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


@frozen
class RemoteAnswer:
    """What a server has answered."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """What its body says, or None if that is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@frozen(kw_only=True)
class Whereabouts:
    """Where a server answers.

    Args:
        url: how people write it: a URL, or ``unix:`` and the path of a socket file.
        host: the host, and none for a socket file.
        port: the port, or None for that of the scheme.
        path: under which path all of its calls are.
        file: the socket file, if it is one.
        trust: makes safe connections; None speaks without TLS.
    """

    url: str
    host: str = "localhost"
    port: int | None = None
    path: str = ""
    file: Path | None = None
    trust: ssl.SSLContext | None = None

    @classmethod
    def named(cls, url: str) -> "Whereabouts":
        """Read the URL of a server, or ``unix:`` and a path.

        Raises:
            ValueError: it is none; the message says what was expected.
        """
        if url.startswith(_UNIX):
            return cls._on_file(url)
        parts = _parts(url)
        assert parts.hostname is not None
        return cls(
            url=url,
            host=parts.hostname,
            port=parts.port,
            path=parts.path.rstrip("/"),
            trust=ssl.create_default_context() if parts.scheme == "https" else None,
        )

    @classmethod
    def probed(cls, config: Config) -> "Whereabouts":
        """Find where the server of a configuration answers probes.

        It is the first address of ``[admin] listen``, and else of ``[server]``. Of a server that
        speaks TLS, the one certificate that is configured is trusted, whomever it names: it may
        well be for a name by which others reach it.

        Raises:
            Complaint: the configuration does not tell.
        """
        address = (config.admin.listen or config.server.addresses)[0]
        if isinstance(address, SocketFile):
            return cls._on_file(str(address))
        if not address.port:
            raise Complaint(f"{address}: the server takes any free port; name it with --url")
        host = _ANY.get(address.host, address.host)
        certificate = config.server.tls_certificate
        return cls(
            url=f"{'https' if certificate else 'http'}://{TcpAddress(host, address.port)}",
            host=host,
            port=address.port,
            trust=_trusting(certificate) if certificate else None,
        )

    @classmethod
    def _on_file(cls, url: str) -> "Whereabouts":
        try:
            address = read_address(url)
        except ValueError:
            raise ValueError(_problem(url)) from None
        assert isinstance(address, SocketFile)
        return cls(url=url, file=address.path)

    def exchange(
        self,
        request: RemoteRequest,
        *,
        patience: float,
        longest: int | None = None,
    ) -> RemoteAnswer:
        """Send a request, and give the answer to it, whatever it is.

        Args:
            patience: for how long the server may say nothing, in seconds.
            longest: how many bytes of the body are read; None for all.

        Raises:
            Unanswered: there was none.
        """
        try:
            with closing(self._connection(patience)) as connection:
                path = f"{self.path}{request.path}"
                connection.request(request.method, path, request.body, dict(request.headers))
                got = connection.getresponse()
                fields = {name.lower(): value for name, value in got.getheaders()}
                return RemoteAnswer(got.status, got.reason, fields, got.read(longest))
        except ssl.SSLError as error:
            raise Unanswered(f"TLS failed: {_why(error)}") from None
        except TimeoutError:
            raise Unanswered(f"no answer within {patience:g} s") from None
        except ConnectionResetError:
            tls = "" if self.trust or self.file else "; if it speaks TLS, use https://"
            raise Unanswered(f"it closed the connection without an answer{tls}") from None
        except OSError as error:
            raise Unanswered(error.strerror or str(error)) from None
        except http.client.IncompleteRead:
            raise Unanswered("its answer broke off") from None
        except http.client.HTTPException:
            raise Unanswered("what answers there speaks no HTTP") from None

    def _connection(self, patience: float) -> http.client.HTTPConnection:
        if self.file is not None:
            return _FileConnection(self.file, patience)
        if self.trust is not None:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=patience, context=self.trust
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=patience)


class _FileConnection(http.client.HTTPConnection):
    """A connection to a socket file."""

    def __init__(self, file: Path, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._file = file
        self._patience = patience

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._patience)
        self.sock.connect(str(self._file))


def _why(error: ssl.SSLError) -> str:
    """Say why TLS failed."""
    # OpenSSL takes any other protocol for a version of TLS that it does not know.
    if error.reason == "WRONG_VERSION_NUMBER":
        return "what answers there speaks no TLS; try http://"
    return getattr(error, "verify_message", "") or error.reason or str(error)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - which is read here
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ValueError(_problem(url)) from None
    if parts.username is not None:
        raise ValueError("expected a URL without a user; use a token instead")
    whole = parts.scheme in {"http", "https"} and parts.hostname and _PRINTABLE.fullmatch(url)
    if not whole or parts.query or parts.fragment:
        raise ValueError(_problem(url))
    return parts


def _problem(url: str) -> str:
    expected = "the URL of a server such as http://127.0.0.1:8529 or unix:/run/jobstore.sock"
    return f"expected {expected}, not {url!r}"


def _trusting(file: Path) -> ssl.SSLContext:
    """Trust the first certificate of a file, and nothing else.

    Raises:
        Complaint: the file cannot be read, or has none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        found = _CERTIFICATE.search(file.read_text("ascii"))
        context.load_verify_locations(cadata=found[0] if found else "none")
    except (ssl.SSLError, UnicodeDecodeError):
        raise Complaint(f"TLS: {file}: expected a certificate in PEM") from None
    except OSError as error:
        raise Complaint(f"TLS: cannot read {file}: {error.strerror}") from None
    return context
