"""A server on another machine, used through its API.

    remote = Remote.at("http://jobs.example.com:8529", token)
    remote.ask("POST", "/_jobs/5/cancel")

Whatever goes wrong is a `Complaint` that says what to do about it.
"""

import http.client
import json
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from jobstore.cli.plain import Complaint

TOKEN: Final = "JOBSTORE_TOKEN"  # noqa: S105 - the name of a variable
# For how long a server may say nothing, in seconds; it may be asked to wait for less.
_PATIENCE: Final = 60
LONGEST_WAIT: Final = 30
_LEAST_ERROR: Final = 400
_UNAUTHORIZED: Final = 401
_JSON: Final = ("application/json", "application/problem+json")


@dataclass(frozen=True, slots=True)
class RemoteAnswer:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Remote:
    """A jobstore server, asked by one request after the other.

    Args:
        url: where it is, for people.
        parts: the same, taken apart.
        token: proves who asks, or None.
    """

    url: str
    parts: SplitResult
    token: str | None = None

    @classmethod
    def at(cls, url: str, token_file: Path | None = None) -> "Remote":
        """Name a server; the token comes from the file, or else from ``JOBSTORE_TOKEN``.

        Raises:
            Complaint: that is no URL of a server, or the file cannot be read.
        """
        parts = _parts(url)
        return cls(url.rstrip("/"), parts, _token(token_file))

    def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask a call that answers with JSON, and give what it says.

        Args:
            path: that of the call, such as ``/_jobs/5``.
            document: what is sent as JSON, or None for nothing.

        Raises:
            Complaint: it could not be asked, or has refused; the message says why.
        """
        answer = self.send(method, path, document, query=query, headers=headers)
        kind = answer.headers.get("content-type", "").partition(";")[0]
        said = _read(answer.body) if kind in _JSON else None
        if answer.status >= _LEAST_ERROR or said is None:
            raise Complaint(self._why(answer, said))
        return said

    def body(self, path: str) -> bytes:
        """Get a body as it is.

        Raises:
            Complaint: it is not available; the message says why.
        """
        answer = self.send("GET", path)
        if answer.status >= _LEAST_ERROR:
            raise Complaint(self._why(answer, _read(answer.body)))
        return answer.body

    def send(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RemoteAnswer:
        """Send a request, and give the answer to it, whatever it is.

        Raises:
            Complaint: there was none.
        """
        asked = f"{self.parts.path.rstrip('/')}{path}"
        if query:
            asked += f"?{urlencode(query)}"
        fields = {"Accept": "application/json", **(headers or {})}
        if self.token is not None:
            fields["Authorization"] = f"Bearer {self.token}"
        body = None if document is None else json.dumps(document).encode()
        if body is not None:
            fields["Content-Type"] = "application/json"
        try:
            with closing(self._connection()) as connection:
                connection.request(method, asked, body, fields)
                got = connection.getresponse()
                return RemoteAnswer(
                    got.status,
                    {name.lower(): value for name, value in got.getheaders()},
                    got.read(),
                )
        except ssl.SSLError as error:
            raise Complaint(f"{self.url}: TLS failed: {error.reason or error}") from None
        except (TimeoutError, socket.gaierror, OSError) as error:
            raise Complaint(f"{self.url}: cannot be reached: {_words(error)}") from None
        except http.client.HTTPException:
            raise Complaint(
                f"{self.url}: this is not a jobstore server: it does not speak HTTP"
            ) from None

    def _connection(self) -> http.client.HTTPConnection:
        assert self.parts.hostname is not None
        kind = (
            http.client.HTTPSConnection
            if self.parts.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(self.parts.hostname, self.parts.port, timeout=_PATIENCE)

    def _why(self, answer: RemoteAnswer, said: object) -> str:
        """Say in a sentence why a server has not done what it was asked."""
        if answer.status == _UNAUTHORIZED:
            given = (
                f"the token in {TOKEN} or --token-file is not valid there"
                if self.token
                else (f"expected a token, in {TOKEN} or by --token-file")
            )
            return f"{self.url}: not authorized: {given}; `jobstore user token` creates one"
        detail = said.get("detail") if isinstance(said, dict) else None
        if isinstance(detail, str) and "status" in (said if isinstance(said, dict) else {}):
            return detail
        if location := answer.headers.get("location"):
            return f"{self.url}: redirects with {answer.status} to {location}; use that URL"
        return f"{self.url}: this is not a jobstore server: it answers with {answer.status}"


def _parts(url: str) -> SplitResult:
    problem = f"{url!r}: expected the URL of a server such as http://127.0.0.1:8529"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - which is read here
    except ValueError:
        raise Complaint(problem) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise Complaint(problem)
    if parts.username is not None:
        raise Complaint(f"--url: expected no user in it; give a token in {TOKEN} or --token-file")
    return parts


def _token(file: Path | None) -> str | None:
    if file is None:
        return _sendable(os.environ.get(TOKEN) or None, TOKEN)
    try:
        return _sendable(file.read_text("utf-8").strip(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise Complaint(f"{file}: {_words(error)}") from None


def _sendable(token: str | None, place: str) -> str | None:
    if token is not None and not (token.isascii() and token.isprintable() and token):
        raise Complaint(f"{place}: expected a token on one line")
    return token


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_PATIENCE} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
