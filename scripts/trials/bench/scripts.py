"""What one connection of a load does for one operation: requests to yield, answers to look at."""

import json
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

# All bytes of an answer, and where in them its body begins.
Answer: TypeAlias = tuple[bytes, int]
Script: TypeAlias = Generator[bytes, Answer, None]

JSON_TYPE: Final = "Content-Type: application/json\r\n"
_ID: Final = re.compile(rb"\r\nx-arango-async-id: (\S+)", re.IGNORECASE)


class WrongAnswerError(Exception):
    """A server has not done what it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a server, over and over.

    Args:
        script: the name of what one operation is.
        request: what an operation begins with.
        headers: what its further requests have among their headers.
        size: how long the body has to be that comes in the end.
        port: where the server listens.
        others: where further nodes do, among which the connections are shared out.
        connections: how many ask at the same time.
        seconds: for how long operations are begun; each connection makes one at least.
    """

    script: str
    request: bytes
    headers: str = ""
    size: int = 0
    port: int = 0
    others: tuple[int, ...] = ()
    connections: int = 1
    seconds: float = 0.0

    def on(self, port: int, *others: int) -> "Load":
        """Ask a server, or nodes."""
        return replace(self, port=port, others=others)

    def by(self, connections: int) -> "Load":
        """Let so many ask at the same time."""
        return replace(self, connections=connections)

    def lasting(self, seconds: float) -> "Load":
        """Ask for so long."""
        return replace(self, seconds=seconds)


def message(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """Write a request as it goes over the wire."""
    line = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    head = f"{line}Content-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def status(answer: Answer) -> bytes:
    """Read the status of an answer."""
    return answer[0][9:12]


def job_id(answer: Answer) -> bytes:
    """Read the id that a submission was answered with.

    Raises:
        WrongAnswerError: there is none.
    """
    if found := _ID.search(answer[0], 0, answer[1]):
        return found[1]
    raise wrong(answer)


def wrong(answer: Answer) -> WrongAnswerError:
    """Show an answer that is not the right one."""
    return WrongAnswerError(answer[0][:400].decode(errors="replace"))


def _check(load: Load, answer: Answer) -> None:
    data, start = answer
    if status(answer) != b"200" or len(data) - start != load.size:
        raise wrong(answer)


def once(load: Load) -> Script:
    """Ask once: a bare 202, or a durable submit."""
    answer = yield load.request
    if status(answer) != b"202":
        raise wrong(answer)


def direct(load: Load) -> Script:
    """Ask once, and get the result at once."""
    _check(load, (yield load.request))


def cycle(load: Load) -> Script:
    """Submit a job and ask for its result until it is there."""
    fetch = _fetch(load, job_id((yield load.request)))
    answer = yield fetch
    while status(answer) == b"204":
        answer = yield fetch
    _check(load, answer)


def wait(load: Load) -> Script:
    """Submit a job and ask for its result once, which the server answers when it is there."""
    fetch = _fetch(load, job_id((yield load.request)))
    _check(load, (yield fetch))


def hold(load: Load) -> Script:
    """Submit a job and wait for its end, but leave its result where it is."""
    peek = message("GET", "/_api/job/" + job_id((yield load.request)).decode())
    while status((yield peek)) == b"204":
        pass


def _fetch(load: Load, job: bytes) -> bytes:
    return b"PUT /_api/job/%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n%b\r\n" % (
        job,
        load.headers.encode(),
    )


def kinetica(load: Load) -> Script:
    """Create a job in Kinetica's dialect and ask for it until it is done."""
    data, start = yield load.request
    created = json.loads(json.loads(data[start:])["data_str"])["job_id"]
    asked = json.dumps({"job_id": created, "options": {}}).encode()
    get = message("POST", "/get/job", asked, JSON_TYPE + load.headers)
    answer = yield get
    while rb"\"RUNNING\"" in answer[0]:
        answer = yield get
    if rb"\"DONE\"" not in answer[0] or len(answer[0]) < load.size:
        raise wrong(answer)


SCRIPTS: Final[dict[str, Callable[[Load], Script]]] = {
    script.__name__: script for script in (once, direct, cycle, wait, hold, kinetica)
}
