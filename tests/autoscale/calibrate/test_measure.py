"""What is read off a stream's times; the asking itself is in tests/cli/test_plan_live.py."""

import json
import math

import httpx
import pytest

from autoscale.calibrate.measure import MeasuredAnswer, Where, answer, decoding_s


def evenly(first_s: float, step_s: float, tokens: int, sent_s: float = 0.0) -> MeasuredAnswer:
    """A stream with an event for each token."""
    return MeasuredAnswer(10, tokens, sent_s, tuple(first_s + step_s * n for n in range(tokens)))


def test_ttft_and_tpot_are_of_the_first_event_and_those_after_it():
    one = evenly(3.5, 0.02, 11, sent_s=3.0)
    assert (one.ttft_s, one.tpot_s) == pytest.approx((0.5, 0.02))


def test_a_token_has_its_share_of_an_event_that_holds_several():
    halved = MeasuredAnswer(10, 21, 0.0, evenly(1.0, 0.04, 11).came_s)
    assert halved.tpot_s == pytest.approx(0.02)
    assert halved.pace_s(1.1, 1.3) == pytest.approx(0.02)


def test_one_token_has_no_pace():
    assert math.isnan(evenly(1.0, 0.02, 1).tpot_s)


def test_the_pace_together_leaves_out_the_prefills_of_those_behind():
    """The first stream stands still while the second is prefilled, from second 1.1 to 2."""
    early = MeasuredAnswer(10, 31, 0.0, (1.0, 1.1, *(2.0 + 0.05 * n for n in range(29))))
    late = evenly(2.0, 0.05, 20)
    assert early.tpot_s > 0.07
    assert decoding_s([early, late]) == pytest.approx(0.05)


def test_streams_that_never_ran_together_have_their_own_pace():
    assert decoding_s([evenly(0.0, 0.02, 9), evenly(5.0, 0.02, 9)]) == pytest.approx(0.02)


async def test_an_answer_with_other_ends_of_line_is_read_whole():
    """httpx would end a line of the stream at each of them."""
    piece = {"choices": [{"delta": {"content": "a\u2028b\x85c"}}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4}}
    events = [json.dumps(event, ensure_ascii=False) for event in (*[piece] * 4, usage)]
    stream = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()

    def serve(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=stream)

    where = Where("http://127.0.0.1:1", "small")
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
        found = await answer(client, where, 7, 4)
    assert (found.prompt_tokens, found.output_tokens, len(found.came_s)) == (7, 4, 4)
