"""The relay: what a client gets from an engine's stream, however its bytes come."""

from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import example, given

from core.call import Usage
from core.errors import EngineFailed
from core.parameters import Parameters
from tests.deployments.engines import DONE, chunks, event, usage
from wire.relay import SseRelay, error_event, parse_usage, payload

# Text that looks like what the relay searches for.
TRAPS = [
    '"choices":[]',
    ',"usage":{"prompt_tokens":1}',
    ',"usage":null',
    "data: [DONE]",
    "\n\ndata: [DONE]\n\n",
    '"finish_reason":"stop"',
    'data: {"error": "no"}',
    '\n\ndata: {"error"',
    "\\",
    '\\",\\"usage\\":{',
    "}}]}",
    "…“中",
]
PIECES = st.lists(st.one_of(st.sampled_from(TRAPS), st.text(max_size=12)), max_size=6)


def relay(*, want_usage: bool = False, keep: bool = False) -> SseRelay:
    return SseRelay(
        want_usage=want_usage,
        keep=keep,
        closing=lambda found: {"tokens": found.total_tokens},
    )


def fed(one: SseRelay, data: bytes, cuts: list[int]) -> bytes:
    """Feed `data` in blocks cut at `cuts`, and return all that came out."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join(one.feed(data[a:b]) for a, b in pairwise(places))


def events_of(data: bytes) -> list[Any]:
    assert data == b"" or data.endswith(b"\n\n")
    found = data.removesuffix(b"\n\n").split(b"\n\n") if data else []
    return [
        "DONE" if item == b"data: [DONE]" else orjson.loads(item.removeprefix(b"data: "))
        for item in found
    ]


def expected(pieces: list[str], choices: int, *, want_usage: bool) -> list[Any]:
    """What a client must get, worked out on decoded events."""
    *events, total, _ = [
        orjson.loads(item[6:]) if item != DONE else None for item in chunks(pieces, choices=choices)
    ]
    for item in events:
        del item["usage"]
    if want_usage:
        events.append(total)
    spent = total["usage"]
    events[-1]["hansom"] = {"tokens": spent["total_tokens"]}
    return [*events, "DONE"]


@given(PIECES, st.integers(1, 3), st.booleans(), st.booleans(), st.lists(st.integers(0, 5000)))
@example([" cab"], 1, False, True, list(range(2000)))
@example(TRAPS, 2, True, True, [])
def test_a_client_gets_the_same_bytes_however_the_stream_is_cut(
    pieces: list[str], choices: int, want_usage: bool, keep: bool, cuts: list[int]
) -> None:
    data = b"".join(chunks(pieces, choices=choices))
    whole = relay(want_usage=want_usage, keep=keep)
    cut = relay(want_usage=want_usage, keep=keep)
    out = fed(cut, data, cuts)
    assert out == fed(whole, data, [])
    assert events_of(out) == expected(pieces, choices, want_usage=want_usage)
    assert cut.complete
    assert cut.usage == whole.usage == Usage(4, 3, len(pieces) * choices)
    assert b"".join(cut.kept) == b"".join(whole.kept)


@given(PIECES, st.lists(st.integers(0, 5000)))
def test_only_whole_events_leave(pieces: list[str], cuts: list[int]) -> None:
    data = b"".join(chunks(pieces))
    one = relay()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for a, b in pairwise(places):
        block = one.feed(data[a:b])
        assert block == b"" or block.endswith(b"\n\n")


@given(PIECES, st.integers(0, 5000))
def test_a_stream_that_is_cut_has_cost_what_its_last_whole_event_says(
    pieces: list[str], cut: int
) -> None:
    events = chunks(pieces)
    data = b"".join(events)
    data = data[: cut % (len(data) + 1)]
    one = relay()
    one.feed(data)
    whole, blank, _ = data.rpartition(b"\n\n")
    told = [item["usage"] for item in events_of(whole + blank) if item != "DONE"]
    assert one.usage == (parse_usage(told[-1]) if told else Usage())


@pytest.mark.parametrize("count", [b"", b'"x"', b"[]"])
def test_a_running_count_of_no_known_form_counts_nothing(count: bytes) -> None:
    one = relay()
    one.feed(b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":' + count + b"}}\n\n")
    assert one.usage == Usage()


def test_an_event_without_usage_does_not_take_back_what_was_spent() -> None:
    one = relay()
    one.feed(chunks([" a", " b"])[2])
    before = one.usage
    one.feed(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    one.feed(event({"choices": [{"index": 0, "delta": {"content": "x"}}]}))
    assert one.usage == before == Usage(4, 3, 2)


@pytest.mark.parametrize("want_usage", [False, True])
def test_what_is_kept_has_the_usage_and_nothing_of_the_request_that_made_it(
    want_usage: bool,
) -> None:
    one = relay(want_usage=want_usage, keep=True)
    fed(one, b"".join(chunks([" a"])), [100, 200, 300])
    kept = b"".join(one.kept)
    assert b'"hansom"' not in kept
    assert [item["usage"] for item in events_of(kept)[:-1] if "usage" in item] == [usage(1)]
    assert kept.endswith(DONE)


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    one = relay()
    one.feed(b"".join(chunks([" a"])))
    assert one.kept == []


def test_a_stream_without_a_finish_reason_or_usage_still_ends() -> None:
    one = relay()
    first = event({"choices": [{"index": 0, "delta": {"content": "x"}}]})
    assert one.feed(first + DONE) == first + DONE
    assert (one.complete, one.usage) == (True, Usage())


@pytest.mark.parametrize("held", [False, True])
def test_an_error_event_is_the_last_that_passes(held: bool) -> None:
    events = chunks([" a"])
    before = events[:3] if held else events[:2]
    error = event({"error": {"message": "out of memory", "type": "server_error"}})
    one = relay()
    out = one.feed(b"".join(before) + error) + one.feed(DONE) + one.feed(events[1])
    assert events_of(out)[-1] == {"error": {"message": "out of memory", "type": "server_error"}}
    assert len(events_of(out)) == len(before) + 1
    assert one.failure == {"message": "out of memory", "type": "server_error"}
    assert (one.finished, one.complete) == (True, False)


def test_an_error_that_is_no_object_is_told_as_text() -> None:
    one = relay()
    one.feed(event({"error": "out of memory"}))
    assert one.failure == {"message": "out of memory"}


def test_nothing_follows_the_end() -> None:
    one = relay()
    data = b"".join(chunks([" a"]))
    one.feed(data)
    assert one.feed(data) == b""


def test_an_error_event_is_openais_error_body() -> None:
    told = payload(error_event(EngineFailed("It broke.", code="stream_broken")))
    assert told == EngineFailed("It broke.", code="stream_broken").body()


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        (None, Usage()),
        ("many", Usage()),
        ({}, Usage()),
        ({"prompt_tokens": 5, "completion_tokens": None}, Usage(5, 0, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None}, Usage(5, 0, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, 2, 0)),
    ],
)
def test_absent_counts_are_zero(given_: object, found: Usage) -> None:
    assert parse_usage(given_) == found


@pytest.mark.parametrize("data", [b"data: [1]\n\n", b"data: nonsense\n\n"])
def test_an_event_that_is_no_object_is_told(data: bytes) -> None:
    with pytest.raises(ValueError):
        payload(data)


@given(
    st.sampled_from([(2, 1), (1, 3), (3, 2)]),
    st.integers(1, 40),
    st.lists(st.integers(0), max_size=5),
)
def test_of_several_choices_running_usage_is_added_up_and_each_prompt_counts_once(
    shape: tuple[int, int], made: int, cuts: list[int]
) -> None:
    """vLLM's running usage is that of the event's own choice and its prompt."""
    choices, prompts = shape
    asked = Parameters("auto", choices=choices, prompts=prompts)
    one = SseRelay(want_usage=False, keep=False, closing=lambda _: {}, asked=asked)
    last = dict[int, int]()
    events = b""
    for at in range(made):
        index = at % asked.sequences
        last[index] = last.get(index, 0) + 1
        told = {"prompt_tokens": 10 + index // choices, "completion_tokens": last[index]}
        events += event({"choices": [{"index": index, "text": "x"}], "usage": told})
    fed(one, events, cuts)
    read = {index // choices for index in last}
    assert one.usage == Usage(sum(10 + at for at in read), 0, sum(last.values()))
