"""HTTP/2 without TLS, beside HTTP/1.1 at the same port.

What belongs here: distinguishing the two by a connection's first bytes. AWS's SDK for JavaScript speaks HTTP/2 with
the runtime service and nothing else, which uvicorn does not know; those connections are handed to hypercorn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Every HTTP/2 connection begins so (RFC 9113, section 3.4), and no HTTP/1.1 request does.
_PREFACE = b"PRI * HTTP/2.0"


class EitherVersion(HttpToolsProtocol):
    """uvicorn's protocol, until a connection turns out to be HTTP/2."""

    _told = False

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes once."""
        if not self._told:
            self._told = True
            if data.startswith(_PREFACE):
                self._hand_over(data)
                return
        super().data_received(data)

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
