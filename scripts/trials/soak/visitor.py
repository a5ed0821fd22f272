"""What all clients do: ask, take the time, and see whether the answer is as it has to be."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientResponse, ClientSession
from yarl import URL

from trials.clients import Answer
from trials.soak.tally import Broken, Tally

# How long a client waits for what has to come, in seconds.
PATIENCE: Final = 120.0
# How long it rests before it asks again, in seconds.
_REST: Final = 0.02
_BLOCK: Final = bytes(range(256)) * 256


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Args:
        dialect: whose words are used.
        name: what is done.
        story: does it once.
        rate: how often in a second.
    """

    dialect: str
    name: str
    story: Callable[[], Awaitable[None]]
    rate: float

    @property
    def kind(self) -> str:
        """What it is called where it is counted."""
        return f"{self.dialect}: {self.name}"


class Visitor:
    """A client that uses the words of one dialect.

    Args:
        dialect: under which its times are put down.
        http: what it sends requests with.
        url: the server's.
        tally: where times are put down.
    """

    def __init__(self, dialect: str, http: ClientSession, url: str, tally: Tally) -> None:
        self.dialect = dialect
        self.url = url
        self._http = http
        self._tally = tally

    def work(self, name: str, story: Callable[[], Awaitable[None]], rate: float) -> Work:
        """Describe a kind of work in this dialect."""
        return Work(self.dialect, name, story, rate)

    async def ask(
        self, call: str, method: str, path: str, *expected: int, **options: Any
    ) -> Answer:
        """Ask, and put down under the name of the call how long that took.

        Raises:
            Broken: the status is none of those that are expected.
        """
        began = time.perf_counter()
        answer = await self.wait(method, path, *expected, **options)
        self._tally.took(self.dialect, call, time.perf_counter() - began)
        return answer

    async def wait(self, method: str, path: str, *expected: int, **options: Any) -> Answer:
        """Ask for something that takes its time; see `ask`."""
        async with self.open(method, path, *expected, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def open(
        self, method: str, path: str, *expected: int, **options: Any
    ) -> AsyncIterator[ClientResponse]:
        """Ask, and give the answer while it still comes in; see `ask`."""
        url = URL(self.url + path, encoded=True)
        async with self._http.request(method, url, allow_redirects=False, **options) as response:
            if response.status not in expected:
                said = (await response.read())[:300]
                raise Broken(f"{method} {path} was answered {response.status} {said!r}")
            yield response

    async def send_blocks(self, method: str, path: str, blocks: int, **options: Any) -> Answer:
        """Ask for a job with a body of so many blocks, which is never whole in memory."""
        return await self.ask("submit", method, path, 202, data=_blocks(blocks), **options)

    async def read_blocks(self, method: str, path: str, blocks: int) -> None:
        """Read a body, and see that it is of so many blocks."""
        began = time.perf_counter()
        found = blake2b()
        async with self.open(method, path, 200) as response:
            async for chunk in response.content.iter_any():
                found.update(chunk)
        self._tally.took(self.dialect, "fetch", time.perf_counter() - began)
        if found.digest() != _digest(blocks):
            raise Broken(f"{method} {path} gave another body than was sent")


def has_ended(answer: Answer) -> bool:
    """Tell whether ArangoDB's status of a job is that of one that has ended."""
    return answer.status == HTTPStatus.OK


def see(what: object, message: object) -> None:
    """See that something is as it has to be.

    Raises:
        Broken: it is not; the message says what is.
    """
    if not what:
        raise Broken(str(message)[:300])


async def until(ask: Callable[[], Awaitable[Answer]], ended: Callable[[Answer], bool]) -> Answer:
    """Ask again and again until something has ended.

    Raises:
        Broken: it never did.
    """
    give_up = time.monotonic() + PATIENCE
    while not ended(answer := await ask()):
        see(time.monotonic() < give_up, f"not ended after {PATIENCE:g} s: {answer}")
        await asyncio.sleep(_REST)
    return answer


def size(blocks: int) -> int:
    """Tell how many bytes so many blocks are."""
    return blocks * len(_BLOCK)


async def _blocks(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield _BLOCK


@cache
def _digest(blocks: int) -> bytes:
    expected = blake2b()
    for _ in range(blocks):
        expected.update(_BLOCK)
    return expected.digest()
