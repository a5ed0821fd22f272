"""A client's connection that can be handed over when its service switches to another protocol.

From then on, nothing that arrives is parsed, and nothing that is sent was written here.
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
        arguments: aiohttp's own arguments.
        options: those of `FrontConnection`.

    Attributes:
        secure: whether it uses TLS.
    """

    __slots__ = ("_side", "secure")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._side: Side | None = None
        self.secure = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note whether it uses TLS."""
        super().connection_made(transport)
        self.secure = transport.get_extra_info("sslcontext") is not None

    @property
    def may_switch(self) -> bool:
        """Whether the data behind the request that is being answered can be passed on."""
        return not self._messages and (self._upgraded or not self._head_size)

    def switch(self, side: Side) -> bytes:
        """Hand all further events over to a side of a tunnel; return the data received so far."""
        self._side = side
        return private.take_tail(self)

    def end_tunnel(self) -> None:
        """Close this connection's tunnel, if any, once the received data is passed on."""
        if self._side is not None:
            self._side.leave()

    def data_received(self, data: bytes) -> None:
        """Pass the data on, or parse it."""
        if self._side is None:
            super().data_received(data)
        else:
            self._side.received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # as its own base has it
        """Pass on that the client has stopped sending."""
        return super().eof_received() if self._side is None else self._side.end()


def with_rest(parsed: Any, data: bytes) -> Any:
    """Return what was parsed, with the data behind a request for another protocol.

    aiohttp's parser drops that data, unless the protocol is WebSocket.

    Args:
        parsed: the parser's result.
        data: its input, from the beginning of a request.
    """
    messages, upgraded, _ = parsed
    if upgraded or len(messages) != 1:
        return parsed
    ((message, payload),) = messages
    if not message.upgrade or payload is not EMPTY_PAYLOAD:
        return parsed
    return messages, True, data[data.index(_HEAD_END) + len(_HEAD_END) :]


def end_tunnels(server: web.Server) -> None:
    """Close a server's connections that have switched to another protocol."""
    for connection in server.connections:
        if isinstance(connection, SwitchableConnection):
            connection.end_tunnel()
