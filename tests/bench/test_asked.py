"""Questions of one's own, asked and graded for the router's exam."""

import asyncio
import json

import httpx
import pandas as pd

from bench.asked import ask, graded


def test_answers_come_in_the_order_of_the_questions_at_temperature_0():
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        bodies.append(body)
        message = {"content": body["messages"][0]["content"].upper()}
        return httpx.Response(200, json={"choices": [{"message": message}]})

    async def run() -> list[dict[str, object]]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await ask(client, "large", ["a", "b", "c"], at_once=2, max_tokens=9)

    said = asyncio.run(run())
    assert [one["message"] for one in said] == [
        {"content": "A"},
        {"content": "B"},
        {"content": "C"},
    ]
    assert {(b["model"], b["temperature"], b["max_tokens"]) for b in bodies} == {("large", 0.0, 9)}


def test_rows_are_graded_and_keep_their_other_columns():
    frame = pd.DataFrame({"prompt": ["p", "q"], "gold": ["18", "7"], "score::other": [1.0, 0.0]})
    said = [
        {"message": {"content": "So 9 * 2 = 18.\n\\[\n\\boxed{18}\n\\]"}, "finish_reason": "stop"},
        {"message": {"content": None}, "finish_reason": "length"},
    ]
    found = graded(frame, "large", said)
    assert list(found["score::large"]) == [1.0, 0.0]
    assert list(found["cut::large"]) == [False, True]
    assert list(found["text::large"])[1] == ""
    assert list(found["score::other"]) == [1.0, 0.0]
