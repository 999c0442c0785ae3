"""Send one POST at a time over HTTP/1.1 on connections that stay open.

This is the gateway's hot path and its largest single cost, so it is written for exactly what the
gateway needs instead of taking aiohttp (docs/decisions/0007 has the figures): `httptools` parses,
asyncio's transports carry (`deployments.gateway.backends.connection`). Promises: leaving an
exchange before its answer is complete closes the connection, which aborts the request in the
engine; every wait has a deadline; a reader that is slower than the engine holds the engine back
instead of filling memory. Not covered: TLS, redirects, compression, answers without a length or
chunks.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from deployments.gateway.backends.connection import Connection, ReplicaGone

_CONNECT_TIMEOUT_S = 2.0
_KEEP_ALIVE_S = 30.0  # shorter than any server's own, so that none closes what is being taken
_HIGH_WATER_BYTES = 1 << 20


class Connections:
    """Open connections to replicas, one pool for each address."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self._open: set[Connection] = set()

    async def post(
        self,
        address: tuple[str, int],
        path: str,
        body: bytes,
        headers: dict[str, str],
        *,
        timeout_s: float,
        stall_timeout_s: float,
        on_first: Callable[[], None] | None = None,
    ) -> "Exchange":
        """Send a request and wait for the head of its answer.

        `on_first` is called when the first bytes of a body have come, of a 200 alone.
        Raises `ReplicaGone`, here or later while reading, also when nothing has come for
        `stall_timeout_s`; `TimeoutError` when `timeout_s` has passed, counted from now.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        connection = self._take(address, loop) or await self._connect(address, loop, timeout_s)
        exchange = Exchange(connection, deadline_s, stall_timeout_s, on_first)
        try:
            connection.send(exchange, _head(address, path, headers, len(body)) + body)
            await exchange.started()
        except BaseException:
            exchange.close()
            raise
        return exchange

    @property
    def open(self) -> int:
        """Connections that are open, idle ones too."""
        return len(self._open)

    async def close(self) -> None:
        """Close every connection, also those with an exchange on them."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _take(
        self, address: tuple[str, int], loop: asyncio.AbstractEventLoop
    ) -> "Connection | None":
        idle = self._idle.get(address, [])
        while idle:
            connection = idle.pop()  # the last one used: the others age and are dropped
            if not connection.closed and loop.time() - connection.idle_since_s < _KEEP_ALIVE_S:
                return connection
            connection.abort()
        return None

    async def _connect(
        self, address: tuple[str, int], loop: asyncio.AbstractEventLoop, timeout_s: float
    ) -> "Connection":
        limit_s = min(_CONNECT_TIMEOUT_S, timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(lambda one: self._release(address, one)), *address
                )
        except OSError as error:  # a timeout is one, too
            if limit_s < _CONNECT_TIMEOUT_S:
                raise TimeoutError("the deadline passed while connecting") from error
            raise ReplicaGone(f"no connection within {limit_s:g} s ({error!r})") from error
        self._open.add(connection)
        return connection

    def _release(self, address: tuple[str, int], connection: "Connection") -> None:
        if connection.closed:
            self._open.discard(connection)
            with suppress(ValueError):
                self._idle.get(address, []).remove(connection)
        else:
            self._idle.setdefault(address, []).append(connection)


class Exchange:
    """One request and its answer. `status` is known once `post` has returned it."""

    def __init__(
        self,
        connection: "Connection",
        deadline_s: float,
        stall_timeout_s: float,
        on_first: Callable[[], None] | None = None,
    ) -> None:
        self.status = 0
        self._on_first = on_first
        self.on_close: Callable[[], None] | None = None  # called once
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._deadline_s = deadline_s
        self._stall_timeout_s = stall_timeout_s
        self._heard_s = self._loop.time()
        self._blocks: deque[bytes] = deque()
        self._bytes = 0
        self._complete = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer = self._loop.call_at(self._due_s(), self._tick)

    async def started(self) -> None:
        """Wait for the head of the answer."""
        while not self.status:
            await self._more()

    async def block(self) -> bytes:
        """What has come since the last call, at least a byte; empty at the end."""
        while not self._blocks and not self._complete:
            await self._more()
        data = b"".join(self._blocks) if len(self._blocks) != 1 else self._blocks[0]
        self._blocks.clear()
        if self._bytes > _HIGH_WATER_BYTES and self._connection is not None:
            self._connection.resume()
            self._heard_s = self._loop.time()  # the silence was ours
        self._bytes = 0
        return data

    async def read(self) -> bytes:
        """Everything that is still to come."""
        parts = []
        while part := await self.block():
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back, or close it when the answer is not complete."""
        self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave(reusable=self._complete)
            if self.on_close is not None:
                self.on_close()

    # What the connection tells.

    def head(self, status: int) -> None:
        """The head has come."""
        self.status = status
        self._wake()

    def data(self, block: bytes) -> None:
        """A part of the body has come."""
        self._heard_s = self._loop.time()
        if self._on_first is not None and self.status == 200:
            self._on_first()
            self._on_first = None
        self._blocks.append(block)
        self._bytes += len(block)
        if self._bytes > _HIGH_WATER_BYTES and self._connection is not None:
            self._connection.pause()
        self._wake()

    def end(self) -> None:
        """The answer is complete."""
        self._complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""
        if not self._complete and self._failure is None:
            self._failure = error
            self._wake()

    async def _more(self) -> None:
        """Wait until the connection tells something new; raises how it failed."""
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _due_s(self) -> float:
        return min(self._deadline_s, self._heard_s + self._stall_timeout_s)

    def _tick(self) -> None:
        """Fail what is late; else look again when the next deadline is due."""
        now_s = self._loop.time()
        if now_s >= self._deadline_s:
            self.fail(TimeoutError("the answer did not come in time"))
        elif now_s >= self._due_s() and self._bytes <= _HIGH_WATER_BYTES:
            self.fail(ReplicaGone(f"silent for {self._stall_timeout_s:g} s"))
        else:
            due_s = max(self._due_s(), now_s + 0.001)
            self._timer = self._loop.call_at(due_s, self._tick)


def _head(address: tuple[str, int], path: str, headers: dict[str, str], length: int) -> bytes:
    """The request's head; raises `ValueError` for a value that would not be one header."""
    host, port = address
    lines = [f"POST {path} HTTP/1.1", f"host: {host}:{port}", f"content-length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1:
        raise ValueError("a header with a line break")
    return f"{head}\r\n\r\n".encode("latin-1")
