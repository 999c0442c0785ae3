"""The HTTP client to a replica, against servers that do everything a server can do wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import unused_port

from deployments.gateway.backends.connection import ReplicaGone
from deployments.gateway.backends.exchange import Connections, Exchange

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Server:
    """A bare server; `handle` plays one connection. Keeps what it was sent."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.accepted = 0
        self.closed = asyncio.Event()
        self.address = ("127.0.0.1", 0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            await self._handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the test has ended
        finally:
            self.closed.set()
            writer.close()


@asynccontextmanager
async def server(handle: Handle) -> AsyncIterator[Server]:
    one = Server(handle)
    listening = await asyncio.start_server(one, "127.0.0.1", 0)
    one.address = ("127.0.0.1", listening.sockets[0].getsockname()[1])
    try:
        yield one
    finally:
        listening.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    """One request, head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def answers(*pieces: bytes | float, then: str = "stay") -> Handle:
    """Answer every request with these bytes and pauses (s); then stay, hang up or die."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            for piece in pieces:
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    writer.write(piece)
                    await writer.drain()
            if then == "close":
                return
            if then == "die":
                writer.transport.abort()
                return

    return handle


async def post(
    connections: Connections, to: Server, *, timeout_s: float = 5.0, stall_timeout_s: float = 5.0
) -> Exchange:
    return await connections.post(
        to.address, "/x", b"{}", {"a": "b"}, timeout_s=timeout_s, stall_timeout_s=stall_timeout_s
    )


async def ask(connections: Connections, to: Server, **limits: float) -> tuple[int, bytes]:
    exchange = await post(connections, to, **limits)
    try:
        return exchange.status, await exchange.read()
    finally:
        exchange.close()


async def test_a_request_arrives_as_it_was_meant() -> None:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(OK)

    connections = Connections()
    async with server(handle) as one:
        assert await ask(connections, one) == (200, b"hello")
        port = one.address[1]
        head = f"POST /x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: 2\r\na: b\r\n\r\n"
        assert seen == [head.encode() + b"{}"]
        await connections.close()


async def test_a_connection_is_used_again_and_two_at_once_take_two() -> None:
    connections = Connections()
    async with server(answers(OK)) as one:
        for _ in range(3):
            assert await ask(connections, one) == (200, b"hello")
        assert one.accepted == 1
        both = await asyncio.gather(*(ask(connections, one) for _ in range(2)))
        assert both == [(200, b"hello")] * 2
        assert one.accepted == 2
        await connections.close()


async def test_an_answer_in_pieces_comes_in_order_and_ends() -> None:
    pieces = [b"3\r\nabc\r\n", 0.01, b"2\r\nd", 0.01, b"e\r\n0\r\n", 0.01, b"\r\n"]
    connections = Connections()
    async with server(answers(CHUNKED, *pieces)) as one:
        exchange = await post(connections, one)
        blocks = []
        while block := await exchange.block():
            blocks.append(block)
        assert b"".join(blocks) == b"abcde"
        assert len(blocks) > 1, "blocks come as they arrive"
        assert await exchange.block() == b""
        exchange.close()
        assert await ask(connections, one) == (200, b"abcde")
        assert one.accepted == 1
        await connections.close()


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_other_statuses_are_answers_too(status: int) -> None:
    refusal = f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nno".encode()
    connections = Connections()
    async with server(answers(refusal)) as one:
        assert await ask(connections, one) == (status, b"no")
        await connections.close()


async def test_leaving_before_the_end_closes_the_connection() -> None:
    connections = Connections()
    async with server(answers(CHUNKED, b"1\r\na\r\n", 60.0)) as one:
        exchange = await post(connections, one)
        assert await exchange.block() == b"a"
        exchange.close()
        exchange.close()
        with pytest.raises(TimeoutError):  # it sleeps, so only its socket knows
            await asyncio.wait_for(one.closed.wait(), 0.01)
        assert connections.open == 0
        await connections.close()


async def test_a_cancelled_wait_for_the_head_closes_the_connection() -> None:
    left = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        assert await reader.read(1) == b""
        left.set()

    connections = Connections()
    async with server(handle) as one:
        task = asyncio.create_task(ask(connections, one))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 1)


@pytest.mark.parametrize(
    ("handle", "told"),
    [
        (answers(then="die"), "closed the connection"),
        (answers(then="close"), "closed the connection"),
        (answers(b"SSH-2.0-x\r\n\r\n"), "not HTTP"),
        (answers(CHUNKED, b"3\r\nab", then="close"), "closed the connection"),
        (answers(OK[:-1], then="die"), "closed the connection"),
        (answers(CHUNKED, b"zz\r\n"), "not HTTP"),
    ],
)
async def test_a_broken_answer_is_a_replica_that_is_gone(handle: Handle, told: str) -> None:
    connections = Connections()
    async with server(handle) as one:
        with pytest.raises(ReplicaGone, match=told):
            await ask(connections, one)
        assert connections.open == 0
        await connections.close()


async def test_nobody_listening_is_a_replica_that_is_gone() -> None:
    with pytest.raises(ReplicaGone, match="no connection"):
        await Connections().post(
            ("127.0.0.1", unused_port()), "/", b"", {}, timeout_s=5.0, stall_timeout_s=5.0
        )


@pytest.mark.parametrize("pieces", [[60.0], [CHUNKED, b"1\r\na\r\n", 60.0]])
async def test_silence_is_a_replica_that_is_gone(pieces: list[bytes | float]) -> None:
    connections = Connections()
    async with server(answers(*pieces)) as one:
        with pytest.raises(ReplicaGone, match=r"silent for 0\.1 s"):
            await ask(connections, one, stall_timeout_s=0.1)
        await connections.close()


async def test_the_deadline_counts_from_the_request_however_much_comes() -> None:
    drip: list[bytes | float] = [b"1\r\na\r\n", 0.02]
    connections = Connections()
    async with server(answers(CHUNKED, *drip * 100)) as one:
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await ask(connections, one, timeout_s=0.2, stall_timeout_s=5.0)
        assert asyncio.get_running_loop().time() - began_s < 1
        await connections.close()


async def test_an_answer_that_is_slow_but_never_silent_is_no_stall() -> None:
    drip: list[bytes | float] = [b"1\r\na\r\n", 0.04]
    connections = Connections()
    async with server(answers(CHUNKED, *drip * 6, b"0\r\n\r\n")) as one:
        assert await ask(connections, one, stall_timeout_s=0.15) == (200, b"a" * 6)
        await connections.close()


async def test_a_connection_that_the_server_closed_meanwhile_is_not_taken() -> None:
    connections = Connections()
    async with server(answers(OK, then="close")) as one:
        for _ in range(3):
            assert await ask(connections, one) == (200, b"hello")
            await asyncio.wait_for(one.closed.wait(), 1)
            await asyncio.sleep(0.01)
        assert one.accepted == 3
        assert connections.open == 0


async def test_a_server_that_says_close_is_not_asked_on_that_connection_again() -> None:
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx"
    connections = Connections()
    async with server(answers(closing)) as one:
        assert await ask(connections, one) == (200, b"x")
        assert await ask(connections, one) == (200, b"x")
        assert one.accepted == 2


async def test_bytes_that_nobody_asked_for_are_never_anothers_answer() -> None:
    connections = Connections()
    async with server(answers(OK, OK.replace(b"hello", b"other"))) as one:
        assert await ask(connections, one) == (200, b"hello")
        await asyncio.sleep(0.02)
        assert await ask(connections, one) == (200, b"hello")
        assert one.accepted == 2
        await connections.close()


async def test_a_slow_reader_holds_the_engine_back() -> None:
    written = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await request(reader)
        writer.write(CHUNKED)
        for _ in range(400):
            writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            await writer.drain()
            written += 65536
        writer.write(b"0\r\n\r\n")

    connections = Connections()
    async with server(handle) as one:
        exchange = await post(connections, one, stall_timeout_s=0.2)
        await asyncio.sleep(0.5)  # longer than a stall: the silence is the reader's own
        held = written
        assert held < 400 * 65536
        assert len(await exchange.read()) == 400 * 65536
        exchange.close()
        await connections.close()


async def test_a_header_cannot_bring_a_second_one() -> None:
    connections = Connections()
    async with server(answers(OK)) as one:
        with pytest.raises(ValueError, match="line break"):
            await connections.post(
                one.address, "/", b"", {"a": "b\r\nc: d"}, timeout_s=1.0, stall_timeout_s=1.0
            )
        await connections.close()


async def test_closing_all_ends_what_is_under_way() -> None:
    connections = Connections()
    async with server(answers(60.0)) as one:
        task = asyncio.create_task(ask(connections, one))
        await asyncio.sleep(0.02)
        await connections.close()
        with pytest.raises(ReplicaGone):
            await task
