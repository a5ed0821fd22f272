"""A server on another machine, used through its API.

    remote = Remote.at("http://jobs.example.com:8529", token)
    remote.ask("POST", "/_jobs/5/cancel")

Whatever goes wrong is a `Complaint` that says what to do about it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlencode

from jobstore.cli.plain import Complaint
from jobstore.cli.whereabouts import (
    NO_JOBSTORE,
    RemoteAnswer,
    RemoteRequest,
    Unanswered,
    Whereabouts,
)
from jobstore.config.loading import TOKEN
from jobstore.model.frozen import frozen

# For how long a server may say nothing, in seconds; it may be asked to wait for less.
_PATIENCE: Final = 60
LONGEST_WAIT: Final = 30
_LEAST_ERROR: Final = 400
_UNAUTHORIZED: Final = 401
_JSON: Final = ("application/json", "application/problem+json")


@frozen
class Remote:
    """A jobstore server, asked by one request after the other.

    Args:
        place: where it answers.
        token: proves who asks, or None.
    """

    place: Whereabouts
    token: str | None = None

    @classmethod
    def at(cls, url: str, token_file: Path | None = None) -> "Remote":
        """Name a server; the token comes from the file, or else from ``JOBSTORE_TOKEN``.

        Raises:
            Complaint: that is no URL of a server, or the file cannot be read.
        """
        try:
            return cls(Whereabouts.named(url.rstrip("/")), _token(token_file))
        except ValueError as error:
            raise Complaint(str(error)) from None

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return self.place.url

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
        said = answer.document if kind in _JSON else None
        if answer.status >= _LEAST_ERROR or not isinstance(said, dict):
            raise Complaint(self._why(answer, said))
        return _Told(self.url, said)

    def body(self, path: str) -> bytes:
        """Get a body as it is.

        Raises:
            Complaint: it is not available; the message says why.
        """
        answer = self.send("GET", path)
        if answer.status >= _LEAST_ERROR:
            raise Complaint(self._why(answer, answer.document))
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
        if query:
            path += f"?{urlencode(query)}"
        fields = {"Accept": "application/json", **(headers or {})}
        if self.token is not None:
            fields["Authorization"] = f"Bearer {self.token}"
        body = None if document is None else json.dumps(document).encode()
        if body is not None:
            fields["Content-Type"] = "application/json"
        try:
            request = RemoteRequest(method, path, fields, body)
            return self.place.exchange(request, patience=_PATIENCE)
        except Unanswered as error:
            raise Complaint(f"{self.url}: cannot be reached: {error}") from None

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
        return f"{self.url}: {NO_JOBSTORE}: it answers with {answer.status}"


class _Told(dict[str, Any]):
    """An object that a server answered; what it lacks, every jobstore of this version has."""

    def __init__(self, url: str, said: Mapping[str, Any]) -> None:
        super().__init__(said)
        self._url = url

    def __missing__(self, name: str) -> NoReturn:
        raise Complaint(f"{self._url}: {NO_JOBSTORE}: its answer has no {name!r}")


def _token(file: Path | None) -> str | None:
    if file is None:
        return _sendable(os.environ.get(TOKEN) or None, TOKEN)
    try:
        return _sendable(file.read_text("utf-8").strip(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise Complaint(f"{file}: {getattr(error, 'strerror', None) or error}") from None


def _sendable(token: str | None, place: str) -> str | None:
    if token is not None and not (token.isascii() and token.isprintable() and token):
        raise Complaint(f"{place}: expected a token on one line")
    return token
