r"""Heads of outgoing HTTP messages as bytes.

aiohttp reads a byte that is not UTF-8 as a lone surrogate, and drops lone surrogates when it
writes: ``filename="\xe4.txt"`` would become ``filename=".txt"``. Heads with such bytes that are
passed on are written here instead. Nothing else changes.

The tests that compare bytes fail if a release of aiohttp changes how it writes.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http import StreamWriter

from jobstore.http import private
from jobstore.model.errors import AnswerUnsendable
from jobstore.model.message import Headers, dubious, unsendable

if TYPE_CHECKING:
    from multidict import CIMultiDict

# All that aiohttp would leave out or refuse, so that one look at an ordinary head is enough.
_ODD: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


class HeadWriter(StreamWriter):
    """A writer that keeps the bytes of a head."""

    async def write_headers(self, status_line: str, headers: "CIMultiDict[str]") -> None:
        """Hold the head back until the body begins, as aiohttp does.

        Raises:
            ValueError: it cannot be written as one head.
        """
        if unsendable(tuple(headers.items()), status_line):
            raise ValueError("the head has a character in it that HTTP does not allow")
        self._headers_buf = encoded(status_line, headers.items())
        self._headers_written = False


def encoded(first: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return a head: its first line, its fields, and the empty line."""
    lines = [first, *[f"{name}: {value}" for name, value in fields]]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def check(headers: Headers, reason: str | None) -> None:
    """Ensure that a head can be sent.

    Raises:
        AnswerUnsendable: it is not a valid HTTP head.
    """
    if _is_odd(headers, reason) and (problem := unsendable(headers, reason)):
        raise AnswerUnsendable(problem)


def _is_odd(headers: Headers, reason: str | None) -> bool:
    return _ODD.search(dubious(headers, reason)) is not None


def fit(request: web.BaseRequest, headers: Headers, reason: str) -> None:
    """Ensure that a request's answer keeps the bytes of its head, or is refused.

    Raises:
        AnswerUnsendable: it is not a valid HTTP head.
    """
    if _is_odd(headers, reason):
        if problem := unsendable(headers, reason):
            raise AnswerUnsendable(problem)
        if type(request.writer) is StreamWriter:  # in process, nothing is written
            loop = asyncio.get_running_loop()
            private.set_writer(request, HeadWriter(request.protocol, loop))
