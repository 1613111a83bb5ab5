"""HTTP/2 without TLS, beside HTTP/1.1 at the same port.

What belongs here: distinguishing the two by a connection's first bytes. AWS's SDK for JavaScript speaks HTTP/2 with
the runtime service and nothing else, which uvicorn does not know; those connections are handed to hypercorn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Every HTTP/2 connection begins so (RFC 9113, section 3.4), and no HTTP/1.1 request does.
_PREFACE = b"PRI * HTTP/2.0"
#: Bytes of a request's line and headers, and connections of HTTP/1.1 at once, at most: uvicorn bounds neither.
LONGEST_HEAD: Final = 1 << 16
MOST_CONNECTIONS: Final = 1000


class EitherVersion(HttpToolsProtocol):
    """uvicorn's protocol, until a connection turns out to be HTTP/2; what takes too much memory is cut."""

    _told = False
    _head = 0
    _is_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it if there are not too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers have ended."""
        self._is_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes once."""
        if not self._told:
            self._told = True
            if data.startswith(_PREFACE):
                self._hand_over(data)
                return
        super().data_received(data)
        self._head = self._head + len(data) if self._is_head else 0
        if self._head > LONGEST_HEAD:
            self.transport.abort()

    def _hand_over(self, data: bytes) -> None:
        transport = self.transport
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, _served(self.app), loop=self.loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)


def _served(app: ASGIApp) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    config = Config()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def droppable(scope: Any, receive: Any, send: Any) -> None:
            scope["abort"] = writer.transport.abort
            await app(scope, receive, send)

        wrapped = wrap_app(droppable, config.wsgi_max_body_size, "asgi")
        await TCPServer(wrapped, asyncio.get_running_loop(), config, WorkerContext(None), {}, reader, writer)

    return serve
