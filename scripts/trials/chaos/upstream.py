"""A service that works for jobs: it echoes what it gets, or does what no service should."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, NoReturn

from trials.chaos.evidence import Execution
from trials.chaos.ledger import Fate, Sent
from trials.chaos.submissions import echo_work
from trials.sockets import Connection, hang_up, read_head

_HEAD: Final = re.compile(rb"(\w+) (\S+) HTTP/1\.1\r\n")
_LYING: Final = re.compile(r"/lie/(\w+)")
_SLOW: Final = re.compile(r"/echo/(\d+)")  # after so many milliseconds
# What is written so short arrives in one piece.
_BREATH: Final = 4096
_LIES_SHARE: Final = 0.4
_MORE: Final = b"x-more: " + b"and more" * 100 + b"\r\n"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, read to its end."""

    method: str
    path: str
    body: bytes


class HangingUpError(Exception):
    """The connection is of no more use.

    Args:
        reset: whether to reset it.
    """

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


Lie = Callable[[Connection, bytes], Awaitable[None]]


async def _hang(line: Connection, body: bytes) -> NoReturn:
    """Never answer."""
    del body
    await line.reader.read()
    raise HangingUpError


async def _reset(line: Connection, body: bytes) -> NoReturn:
    """Reset the connection instead of answering."""
    del line, body
    raise HangingUpError(reset=True)


async def _reset_in_head(line: Connection, body: bytes) -> NoReturn:
    """Reset it in the head of the answer."""
    line.writer.write(_head(body)[:20])
    await _reset(line, body)


async def _reset_in_body(line: Connection, body: bytes) -> NoReturn:
    """Reset it in the body."""
    await line.send(_head(body + b"more") + body)
    await _reset(line, body)


async def _promise_more(line: Connection, body: bytes) -> NoReturn:
    """Announce a longer body than there is, and close the connection."""
    await line.send(_head(body + b"more") + body)
    raise HangingUpError


async def _stammer(line: Connection, body: bytes) -> NoReturn:
    """Answer with what is not HTTP."""
    await line.send(b"HTTP/9.9 yes\r\n\r\n" + body)
    raise HangingUpError


async def _never_end_the_head(line: Connection, body: bytes) -> NoReturn:
    """Send headers for as long as anybody takes them."""
    line.writer.write(_head(body)[:-2])
    while True:
        await line.send(_MORE)


async def _end_chunks_early(line: Connection, body: bytes) -> NoReturn:
    """Close the connection in the middle of a chunk."""
    line.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await line.send(b"%x\r\n" % (len(body) + 4) + body)
    raise HangingUpError


async def _answer_twice(line: Connection, body: bytes) -> None:
    """Answer, and in the same breath once more what nobody has asked.

    Both have to arrive at once: if the second answer and the next request cross each other on the
    wire, nobody can tell that it is not the answer to that.
    """
    answer = _head(body) + body
    await line.send(answer if len(answer) > _BREATH else answer + _head(b"unasked") + b"unasked")


async def _answer_in_chunks(line: Connection, body: bytes) -> None:
    """Answer truthfully, but in chunks."""
    line.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    if body:
        line.writer.write(b"%x\r\n" % len(body) + body + b"\r\n")
    await line.send(b"0\r\n\r\n")


async def _answer_to_the_end(line: Connection, body: bytes) -> NoReturn:
    """Answer truthfully, and end the body with the connection."""
    await line.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    raise HangingUpError


_LIES: Final[Mapping[str, tuple[Lie, Fate]]] = {
    "hang": (_hang, Fate.FAILED),
    "reset": (_reset, Fate.FAILED),
    "reset_in_head": (_reset_in_head, Fate.FAILED),
    "reset_in_body": (_reset_in_body, Fate.FAILED),
    "promise_more": (_promise_more, Fate.FAILED),
    "stammer": (_stammer, Fate.FAILED),
    "never_end_the_head": (_never_end_the_head, Fate.FAILED),
    "end_chunks_early": (_end_chunks_early, Fate.FAILED),
    "answer_twice": (_answer_twice, Fate.EITHER),
    "answer_in_chunks": (_answer_in_chunks, Fate.EITHER),
    "answer_to_the_end": (_answer_to_the_end, Fate.EITHER),
}


def lying_work(chance: Random, number: int) -> Sent:
    """Ask for an echo by a service that lies now and then.

    Even where it does not, the answer may be lost: after a lie the connection is of no more use,
    and the next request may have been sent on it.
    """
    sent, lie = echo_work(chance, number), chance.choice(list(_LIES))
    if chance.random() > _LIES_SHARE:
        return sent
    path = f"/lie/{lie}?n={number}"
    return Sent(method=sent.method, path=path, size=sent.size, fate=_LIES[lie][1])


class Upstream:
    """The service.

    Args:
        witnessed: where it puts down what it was asked to work for, before it does.
    """

    def __init__(self, witnessed: Counter[Execution]) -> None:
        self._witnessed = witnessed

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on one connection."""
        reset = False
        try:
            while True:
                asked = await self._asked(reader)
                await _answer(Connection(reader, writer), asked)
        except HangingUpError as error:
            reset = error.reset
        except (OSError, EOFError):
            pass
        finally:
            hang_up(writer, reset=reset)

    async def _asked(self, reader: asyncio.StreamReader) -> _Asked:
        head = await read_head(reader)
        line = _HEAD.match(head)
        assert line, head
        fields = dict(each.lower().split(b": ", 1) for each in head.split(b"\r\n")[1:-2])
        method = line[1].decode()
        if b"jobstore-id" in fields:
            attempt = int(fields[b"jobstore-attempt"])
            self._witnessed[Execution(method, int(fields[b"jobstore-id"]), attempt)] += 1
        body = await reader.readexactly(int(fields.get(b"content-length", 0)))
        return _Asked(method, line[2].decode(), body)


async def _answer(line: Connection, asked: _Asked) -> None:
    body = b"" if asked.method == "HEAD" else asked.body
    lie, slow = _LYING.match(asked.path), _SLOW.match(asked.path)
    if slow:
        await asyncio.sleep(int(slow[1]) / 1000)
    if lie:
        await _LIES[lie[1]][0](line, body)
    else:
        await line.send(_head(body) + body)


def _head(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
