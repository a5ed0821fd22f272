"""A client's connection that may be given away, once its service has switched to another protocol.

From then on nothing that comes is parsed, and nothing that goes out was written here.
"""

import asyncio
from typing import Any, Final

from aiohttp import EMPTY_PAYLOAD, web

from jobstore.http import private
from jobstore.http.tunnel import Side, TunnelProtocol
from jobstore.web.parsing import FrontConnection

_HEAD_END: Final = b"\r\n\r\n"


class SwitchableConnection(TunnelProtocol, FrontConnection):
    """A connection that may become one side of a tunnel.

    Args:
        arguments: what aiohttp's own takes.
        options: what `FrontConnection` takes.

    Attributes:
        secure: whether it is one by TLS.
    """

    __slots__ = ("_side", "secure")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._side: Side | None = None
        self.secure = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note how it is made."""
        super().connection_made(transport)
        self.secure = transport.get_extra_info("sslcontext") is not None

    @property
    def may_switch(self) -> bool:
        """Whether what has come behind the request that is being answered can be passed on."""
        return not self._messages and (self._upgraded or not self._head_size)

    def switch(self, side: Side) -> bytes:
        """Let a side of a tunnel have all that happens; give what has come already."""
        self._side = side
        return private.take_tail(self)

    def end_tunnel(self) -> None:
        """Close the tunnel that this is a side of, if it is one, once what has come is sent on."""
        if self._side is not None:
            self._side.leave()

    def data_received(self, data: bytes) -> None:
        """Pass on what has come, or parse it."""
        if self._side is None:
            super().data_received(data)
        else:
            self._side.received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # as its own base has it
        """Pass on that the client sends nothing more."""
        return super().eof_received() if self._side is None else self._side.end()


def with_rest(parsed: Any, data: bytes) -> Any:
    """Return what was parsed, with what stands behind a request for another protocol.

    aiohttp's parser drops that, unless the protocol is WebSockets.

    Args:
        parsed: what the parser has given.
        data: what it has read, from the beginning of a request on.
    """
    messages, upgraded, _ = parsed
    if upgraded or len(messages) != 1:
        return parsed
    ((message, payload),) = messages
    if not message.upgrade or payload is not EMPTY_PAYLOAD:
        return parsed
    return messages, True, data[data.index(_HEAD_END) + len(_HEAD_END) :]


def end_tunnels(server: web.Server) -> None:
    """Close the connections of a server that speak another protocol by now."""
    for connection in server.connections:
        if isinstance(connection, SwitchableConnection):
            connection.end_tunnel()
