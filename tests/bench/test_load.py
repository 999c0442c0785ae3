"""The load generator: what counts as an answer, and what the numbers mean."""

import asyncio
import json

import pytest

from bench.load import NUMBER, Job, LoadAnswer, LoadResult, Requests, percentile, run

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = b'data: {"a":1}\n\n' * 3 + b"data: [DONE]\n\n"


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def fed(raw: bytes, step: int, expect: bytes = b"") -> LoadAnswer:
    answer = LoadAnswer(expect)
    for i in range(0, len(raw), step):
        assert not answer.done
        answer.feed(raw[i : i + step])
    return answer


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("size", [1, 2, 5, 15, 16, 1000])
def test_events_are_counted_however_proxies_and_sockets_cut(step: int, size: int) -> None:
    answer = fed(HEAD + chunked(EVENTS, size), step)
    assert answer.done and answer.whole and answer.began
    assert answer.events == 4


def test_a_stream_begins_with_its_first_whole_event() -> None:
    answer = fed(HEAD + b"8\r\ndata: {}\r\n", 1000)
    assert not answer.began
    answer.feed(b"2\r\n\n\n\r\n")
    assert answer.began and not answer.done


def test_a_stream_that_ends_without_done_is_a_failure() -> None:
    answer = fed(HEAD + chunked(b'data: {"error":{}}\n\n', 99), 1000)
    assert answer.done and not answer.whole


@pytest.mark.parametrize("step", [1, 4, 1000])
def test_an_answer_with_a_length_ends_there(step: int) -> None:
    answer = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", step)
    assert answer.whole and answer.began and answer.events == 0


def test_another_status_is_a_failure() -> None:
    answer = fed(b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}", 1000)
    assert answer.done and not answer.whole


def test_an_answer_without_the_expected_header_is_a_failure() -> None:
    raw = b"HTTP/1.1 200 OK\r\nX-Hansom-Cache: exact\r\ncontent-length: 2\r\n\r\n{}"
    assert fed(raw, 1000, b"x-hansom-cache: exact").whole
    assert not fed(raw, 1000, b"x-hansom-cache: miss").whole


def test_every_request_has_a_number_of_its_own_and_the_same_length() -> None:
    requests = Requests(Job(80, "/v1", json.dumps({"n": NUMBER})))
    first, second = requests.next(), requests.next()
    assert first != second and len(first) == len(second)
    assert b"content-length: 21\r\n" in first and first.endswith(b'"}')


def test_a_job_without_a_body_is_a_get() -> None:
    assert Requests(Job(80, "/")).next() == b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


async def test_a_job_counts_whole_answers_and_failures_apart() -> None:
    answers = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        while await reader.readuntil(b"\r\n\r\n"):
            answers += 1
            status = b"503 Busy" if answers == 3 else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\n{}")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    result = await asyncio.to_thread(run, Job(port, "/", at_once=2, least=3))
    server.close()
    assert (len(result.totals_ms), result.failures) == (5, 1)
    assert all(a <= b for a, b in zip(result.ttfts_ms, result.totals_ms, strict=True))


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([0.0, 10.0], 0.25) == 2.5
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) != percentile([], 0.5)


def test_a_rate_is_whole_answers_by_time() -> None:
    assert LoadResult(2.0, 0.1, 9, 0, [1.0] * 10, [1.0] * 10).rate == 5.0
