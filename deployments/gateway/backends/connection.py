"""One open HTTP/1.1 connection to a replica, parsed by `httptools`.

Promises: bytes that nobody asked for end the connection, and are never another's answer; whoever
waits hears how it ended. Whose turn it is, and how long one waits, is
`deployments.gateway.backends.exchange`'s.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools


class ReplicaGone(ConnectionError):
    """The replica cannot be reached, broke off, was silent too long, or speaks no HTTP."""


class AnswerSink(Protocol):
    """Receives an answer as it comes."""

    def head(self, status: int) -> None:
        """The head has come."""

    def data(self, block: bytes) -> None:
        """A part of the body has come."""

    def end(self) -> None:
        """The answer is complete."""

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""


class Connection(asyncio.Protocol):
    """An open connection; `release` hears when it is free, and when it is closed."""

    def __init__(self, release: Callable[["Connection"], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.idle_since_s = 0.0
        self._release = release
        self._exchange: AnswerSink | None = None
        self._hearing: AnswerSink | None = None  # whose answer has not ended
        self._keep_alive = False
        self._parser = httptools.HttpResponseParser(self)

    # What the gateway does.

    def send(self, exchange: AnswerSink, request: bytes) -> None:
        """Begin an exchange; the connection must be free."""
        self._exchange = self._hearing = exchange
        self._transport.write(request)

    def leave(self, *, reusable: bool) -> None:
        """End the exchange."""
        self._exchange = self._hearing = None
        if not reusable or not self._keep_alive:
            self.abort()
        elif not self.closed:
            self.idle_since_s = self.loop.time()
            self._release(self)

    def abort(self) -> None:
        """Close at once, without sending what may still be buffered."""
        if not self.closed:
            self.closed = True
            self._transport.abort()
            self._release(self)

    def pause(self) -> None:
        """Stop reading: the kernel's buffers fill, and the engine waits."""
        if not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.closed:
            self._transport.resume_reading()

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse; unexpected bytes end the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._keep_alive = False
            self._broken(ReplicaGone(f"not HTTP ({error})"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the exchange, if there is one."""
        self._broken(ReplicaGone(f"closed the connection ({error or 'end of file'})"))
        if not self.closed:
            self.closed = True
            self._release(self)

    # What the parser tells.

    def on_message_begin(self) -> None:
        """An answer, or unexpected bytes, which must never become another request's answer."""
        if self._hearing is None:
            raise ReplicaGone("spoke without being asked")

    def on_headers_complete(self) -> None:
        """The head."""
        if self._hearing is not None:
            self._hearing.head(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._hearing is not None:
            self._hearing.data(data)

    def on_message_complete(self) -> None:
        """The end of the answer."""
        self._keep_alive = self._parser.should_keep_alive()
        heard, self._hearing = self._hearing, None
        if heard is not None:
            heard.end()

    def _broken(self, error: ReplicaGone) -> None:
        if self._exchange is not None:
            self._exchange.fail(error)
