"""The desk: small requests that can be answered at once are answered without a task.

aiohttp's path from a socket to a handler and back costs several times as much as most of our
answers: two tasks, a request, a response and a writer each. Here aiohttp's own parser parses, and
a message that is complete, small and plain is offered to the door, `Door.at_once`. If the door
accepts it, the answer is a single write; everything else is passed to aiohttp's handler as parsed.

- At any moment a connection is in one of three states: idle (waiting for a request), at the desk
  (`_asked`, or `_held` while the rest of a small body is awaited), or with aiohttp's handler. The
  desk accepts a request only on an idle connection, so answers keep the order of the requests.
- While the desk has a request, further input is kept unparsed in `_later`, and reading pauses. It
  is parsed once the answer has been written.
- Whoever has accepted a request ends it by exactly one of `Ask.answer`, `Ask.hand_over` and
  `Ask.pass_on`, at once or later, even if its client is gone: calling them then costs nothing.
- If a body arrives in two pieces, the desk waits for the rest only briefly; then aiohttp's handler
  takes over, which knows how long a body may take.
- A request that the door does not accept is unchanged. Refusals are written by aiohttp's handler,
  so that each rule and its words exist in one place.

A crash loses nothing here: every promise made to a client is in the store.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11, RawRequestMessage

from jobstore.live.meters import RequestMeters, Traffic
from jobstore.web import descriptors, wire
from jobstore.web.ask import Ask, Finishing
from jobstore.web.switchable import SwitchableConnection, with_rest

# The largest message that the desk takes, in bytes.
LARGEST: Final = 64 * 1024
# For how long the rest of a body is waited for, in seconds.
_HELD_SECONDS: Final = 0.05


class FastPath(Protocol):
    """Accepts requests at the desk."""

    @property
    def requests(self) -> Mapping[Traffic, RequestMeters]:
        """The counters of requests; None if metrics are off."""

    def at_once(self, ask: Ask) -> bool:
        """Accept a request; False leaves it, unchanged, to the long way."""


class Desk(SwitchableConnection):
    """A client's connection whose small requests are answered without a task.

    Args:
        arguments: aiohttp's own arguments.
        door: accepts requests.
        options: those of `SwitchableConnection`.

    Attributes:
        passed_on: the request that was passed on last, until it is taken over.
    """

    __slots__ = (
        "_asked",
        "_door",
        "_flushing",
        "_held",
        "_later",
        "_most",
        "_requests",
        "_then",
        "_timer",
        "passed_on",
        "remote",
    )

    def __init__(self, *arguments: Any, door: FastPath, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door
        self._requests = door.requests
        self._most = min(LARGEST, self._limits.size)
        self._asked: Ask | None = None
        self._held: tuple[RawRequestMessage, StreamReader] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._later: list[bytes] = []
        self._flushing: asyncio.Task[None] | None = None
        self._then: tuple[Ask, Finishing] | None = None
        self.passed_on: Ask | None = None
        self.remote: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the client's address."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if isinstance(peer, list | tuple) else peer

    def connection_lost(self, exc: BaseException | None) -> None:
        """Drop waiting input; accepted requests are ended by whoever accepted them."""
        self._drop_held()
        self._later.clear()
        super().connection_lost(exc)
        for ask in (self._asked, self._then and self._then[0]):
            if ask is not None:
                ask.left()

    # --- what comes in --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse the data, or keep it until its turn comes."""
        if self._asked is not None:
            self._keep(data)
        elif self._held is not None:
            self._look_at_rest(data)
        elif self._reads_plainly and 0 < len(data) <= self._most:
            self._look(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # as its own base has it
        """Leave a body that will never be complete to the long way."""
        self._release()
        stays = super().eof_received()
        if self._asked is not None:
            self._asked.left()
        return stays

    @property
    def idle(self) -> bool:
        """Whether no request is being answered, and none waits."""
        return not self._has_request and super().idle

    @property
    def _waiting(self) -> bool:
        return self._has_request or bool(self._later) or super()._waiting

    @property
    def _has_request(self) -> bool:
        """Whether the desk has a request or the beginning of one."""
        return self._asked is not None or self._held is not None

    @property
    def _reads_plainly(self) -> bool:
        """Whether the next byte begins a request that the desk may parse itself."""
        return (
            super().idle
            and not self._head_size
            and not (self._refused or self._upgraded or self._force_close or self._close)
        )

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        if not self._later:
            self._pause_reading_for_buffer()
        self._later.append(data)

    def _look(self, data: bytes) -> None:
        """Check whether the data is one plain request."""
        self._heard_at = self._loop.time()
        assert self._parser is not None
        try:
            parsed = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - raised again where all of them are answered
            self._hand_on(error, data)
            return
        messages, upgraded, _ = parsed
        if len(messages) == 1 and not upgraded:
            message, payload = messages[0]
            if _is_plain(message):
                if payload.is_eof():
                    if self._take_on(message, payload):
                        return
                elif _announced(message) <= self._most:
                    self._held = message, payload
                    self._timer = self._loop.call_later(_HELD_SECONDS, self._release)
                    return
        self._hand_on(with_rest(parsed, data), data)

    def _look_at_rest(self, data: bytes) -> None:
        """Check whether the held request is complete now."""
        assert self._held is not None
        assert self._parser is not None
        self._heard_at = self._loop.time()
        message, payload = self._held
        try:
            messages, upgraded, tail = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - of what follows; raised again
            self._release()
            self._hand_on(error, b"")
            return
        if not payload.is_eof():
            return
        self._drop_held()
        if messages or upgraded or not self._take_on(message, payload):
            self._hand_on(([(message, payload), *messages], upgraded, tail), b"")

    def _release(self) -> None:
        """Let the long way wait for the rest of a body."""
        held = self._held
        if held is not None:
            self._drop_held()
            self._hand_on(([held], False, b""), b"")

    def _drop_held(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._held = self._timer = None

    def _take_on(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        ask = Ask(self, message, payload, self._heard_at)
        self._asked, self._request_in_progress = ask, True
        try:
            taken = self._door.at_once(ask)
        except Exception as error:  # noqa: BLE001 - logged there
            ask.fail(error)
            return True
        if not taken:
            self._asked, self._request_in_progress = None, False
        return taken

    def _hand_on(self, parsed: Any, data: bytes) -> None:
        """Let aiohttp's handler continue with what was parsed, or raise the parser's error."""
        parser = self._parser
        self._parser = _Parsed(parser, parsed)  # type: ignore[assignment] # for as long as it asks
        try:
            super().data_received(data)
        finally:
            if self._parser is not None:
                self._parser = parser

    # --- what goes out --------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether the client is gone."""
        return self.transport is None or self.transport.is_closing()

    @property
    def flushed(self) -> bool:
        """Whether the client's system has received everything, as far as known."""
        transport = self.transport
        if transport is None or transport.get_write_buffer_size() or self.half_closed:
            return False
        return self.below is None or not self.below.get_write_buffer_size()

    def send(self, data: bytes) -> bool:
        """Send bytes; return whether the client was still there."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return not transport.is_closing()

    def when_flushed(
        self, ask: Ask, done: Callable[[Exception | None], None], seconds: float | None
    ) -> None:
        """Call a function once a response has arrived, or with the reason why it did not."""
        self._flushing = self._loop.create_task(self._flush(ask, done, seconds))

    async def _flush(
        self, ask: Ask, done: Callable[[Exception | None], None], seconds: float | None
    ) -> None:
        failed: Exception | None = ConnectionResetError("the client has closed the connection")
        try:
            await wire.handed_over(self, seconds)
            failed = None
        except ConnectionError as error:
            failed = error
        finally:
            self._flushing = None
            self.finish(ask)
            done(failed)

    def finish(self, ask: Ask) -> None:
        """Note that a request was answered, and continue with the next one."""
        self._request_count += 1
        if self._manager is not None:
            self._manager.requests_count += 1
        self._give_away(ask)
        if self._parser is not None:
            self._parser.message_consumed()
        now = self._loop.time()
        self._next_keepalive_close_time = now + self._keepalive_timeout
        if ask.digit and self._requests:
            meters = self._requests[ask.traffic]
            meters.answers.add(ask.digit)
            meters.seconds.observe(now - ask.since)
        self._go_on()

    def pass_on(
        self,
        ask: Ask,
        message: RawRequestMessage,
        payload: StreamReader,
        then: Finishing | None = None,
    ) -> None:
        """Pass a request on to the long way, with what has to be done there."""
        self._give_away(ask)
        self._then, self.passed_on = then and (ask, then), ask
        if self._parser is not None:
            self._hand_on(([(message, payload)], False, b""), b"")
            self._go_on()

    def taken_over(self) -> Finishing | None:
        """Return, once, what has to be done with the request that was passed on last."""
        handed_on, self._then, self.passed_on = self._then, None, None
        return handed_on and handed_on[1]

    def _give_away(self, ask: Ask) -> None:
        if self._asked is not ask:
            raise RuntimeError("expected each request to be answered once")
        self._asked, self._request_in_progress = None, False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # the server is shutting down, and waits for it

    def _go_on(self) -> None:
        if self._later:
            data, self._later = b"".join(self._later), []
            self._resume_reading_for_buffer()
            self.data_received(data)
        elif self.half_closed and self.transport is not None and self.idle:
            self.transport.close()  # which sends first what is left to be sent

    def _process_keepalive(self) -> None:
        """Close an idle connection; one with a request is not idle."""
        if self._has_request:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()


class _Parsed:
    """A parser that returns what was parsed already."""

    def __init__(self, parser: Any, parsed: Any) -> None:
        self._parser = parser
        self._parsed = parsed

    def feed_data(self, _: bytes) -> Any:
        parsed, self._parsed = self._parsed, ((), False, b"")
        if isinstance(parsed, Exception):
            raise parsed
        return parsed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


class DeskServer(descriptors.FrugalServer):
    """A server whose connections are `Desk`."""

    def __call__(self) -> web.RequestHandler:
        """Create the protocol of a new connection."""
        return Desk(self, loop=self._loop, **self._kwargs)


def _is_plain(message: RawRequestMessage) -> bool:
    """Return whether a request needs nothing that only the long way does."""
    path = message.path
    return (
        message.version == HttpVersion11
        and not (message.should_close or message.chunked or message.upgrade)
        and path.startswith("/")
        and "#" not in path
        and "Expect" not in message.headers
        and "Transfer-Encoding" not in message.headers
    )


def _announced(message: RawRequestMessage) -> int:
    return int(message.headers.get("Content-Length", LARGEST + 1))
