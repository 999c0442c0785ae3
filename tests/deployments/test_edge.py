"""What stands around a replica's server: one valid id, and no watch of Serve's."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from deployments.edge import VALID, RequestIds, middlewares

WATCH = (b"x-request-disconnect-disabled", b"?1")


async def passed(headers: list[tuple[bytes, bytes]], kind: str = "http") -> Any:
    """The headers that reach the application."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("the middleware has nothing to say")

    await RequestIds(app)({"type": kind, "headers": headers}, nothing, nothing)
    return seen[0]["headers"]


def ids(headers: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [value for name, value in headers if name == b"x-request-id"]


@pytest.mark.parametrize("id_", [b"a", b"req-1.2:3_4", b"A" * 128, b"0"])
async def test_a_valid_id_is_kept(id_: bytes) -> None:
    headers = [(b"host", b"x"), (b"x-request-id", id_)]
    assert await passed(headers) == [*headers, WATCH]


@pytest.mark.parametrize(
    "id_",
    [b"", b" a", b"a b", b"a\r\nset-cookie: x", b"-a", b"A" * 129, b"\xc3\xa9", b"<b>", b"a\n"],
)
async def test_an_invalid_id_is_replaced_and_nothing_else_is(id_: bytes) -> None:
    kept = [(b"host", b"x"), (b"accept", b"*/*")]
    found = await passed([kept[0], (b"x-request-id", id_), kept[1]])
    (new,) = ids(found)
    assert VALID.fullmatch(new)
    assert new != id_
    assert found == [*kept, (b"x-request-id", new), WATCH]


async def test_of_two_ids_an_invalid_one_takes_both_and_of_two_valid_ones_the_first_stays() -> None:
    (new,) = ids(await passed([(b"x-request-id", b"good"), (b"x-request-id", b"b ad")]))
    assert new not in (b"good", b"b ad")
    assert ids(await passed([(b"x-request-id", b"a"), (b"x-request-id", b"b")])) == [b"a"]


async def test_every_request_without_an_id_gets_its_own() -> None:
    first, second = [ids(await passed([(b"host", b"x")])) for _ in range(2)]
    assert (len(first), len(second)) == (1, 1)
    assert first != second


async def test_a_client_cannot_ask_for_the_watch_that_is_off() -> None:
    assert await passed([(WATCH[0], b"?0"), (b"x-request-id", b"a")]) == [
        (b"x-request-id", b"a"),
        WATCH,
    ]


async def test_what_is_not_http_is_left_alone() -> None:
    headers = [(b"x-request-id", b"b ad")]
    assert await passed(headers, kind="websocket") == headers


@given(st.binary(max_size=140))
def test_no_valid_id_can_break_a_header_or_a_log_line(id_: bytes) -> None:
    if VALID.fullmatch(id_):
        assert id_.decode("ascii").isprintable()
        assert 1 <= len(id_) <= 128
        assert not set(id_) & set(b" \"'<>\\")


def test_serve_gets_the_middleware_by_its_callback() -> None:
    (found,) = middlewares()
    assert isinstance(found, Middleware)
    assert found.cls is RequestIds
