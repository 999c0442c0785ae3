"""Whatever is cut and wherever a stream breaks, the client has one answer or an error."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.flight.rejoin import Differs, Rejoin
from tests.cache.flight.flying import chunk, last, said
from wire.whole import DONE, assemble, replay

LETTERS = st.text("ab\n é語🚕", max_size=30)


def answer(
    texts: dict[str, str], *, id_: str, chat: bool = True, choices: int = 1
) -> dict[str, Any]:
    """A whole answer whose choices all say the same."""
    part = {"message": {"role": "assistant", **texts}} if chat else {"text": texts["content"]}
    return {
        "id": id_,
        "object": "chat.completion" if chat else "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": at, **part, "logprobs": None, "finish_reason": "stop"}
            for at in range(choices)
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


def says(whole: dict[str, Any]) -> list[Any]:
    """What the choices say, with their ends."""
    return [{**choice, "message": choice.get("message")} for choice in whole["choices"]]


@settings(deadline=None)
@given(
    content=LETTERS,
    reasoning=LETTERS,
    chat=st.booleans(),
    choices=st.integers(1, 2),
    pieces=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    data=st.data(),
)
def test_the_same_text_goes_on_without_a_character_missing_or_twice(
    content: str, reasoning: str, chat: bool, choices: int, pieces: tuple[int, int],
    data: st.DataObject,
) -> None:  # fmt: skip
    texts = {"content": content, **({"reasoning": reasoning} if reasoning and chat else {})}
    old = answer(texts, id_="old", chat=chat, choices=choices)
    new = answer(texts, id_="new", chat=chat, choices=choices)
    before = list(replay(old, include_usage=True, piece_chars=pieces[0]))
    given_ = before[: data.draw(st.integers(1, len(before) - 1))]
    after = replay(new, include_usage=True, piece_chars=pieces[1])
    rejoin = Rejoin(given_)
    rest = [rejoin.feed(event) for event in after]
    whole = assemble([*given_, *rest])
    assert whole["id"] == "old"
    assert says(whole) == says(assemble(before))
    assert whole["usage"] == old["usage"]
    for event in rest:
        assert b'"id":"new"' not in event


@settings(deadline=None)
@given(old=LETTERS, new=LETTERS, pieces=st.tuples(st.integers(1, 7), st.integers(1, 7)))
def test_another_text_differs_before_a_character_of_it_is_passed_on(
    old: str, new: str, pieces: tuple[int, int]
) -> None:
    before = list(replay(answer({"content": old}, id_="old"), include_usage=False))[:-2]
    after = replay(answer({"content": new}, id_="new"), include_usage=False, piece_chars=pieces[1])
    rejoin = Rejoin(before)
    passed: list[bytes] = []
    try:
        passed += [rejoin.feed(event) for event in after]
    except Differs:
        assert not new.startswith(old)
        assert not b"".join(passed)
    else:
        assert assemble([*before, *passed])["choices"][0]["message"]["content"] == new


@pytest.mark.parametrize(
    "event",
    [
        chunk({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f"}}]}),
        chunk({"content": "x"}).replace(b'"finish', b'"logprobs":{"content":[]},"finish'),
        chunk({"content": "x"}).replace(b'"finish', b'"token_ids":[1],"finish'),
        b"data: {}\n\n",
        b": a comment\n\n",
    ],
)
def test_what_cannot_be_cut_between_characters_is_not_gone_on_with(event: bytes) -> None:
    with pytest.raises(Differs):
        Rejoin([event])


def test_a_tool_call_after_the_text_that_was_given_comes_whole() -> None:
    call = {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f"}}]}
    rejoin = Rejoin(said(["Let me", " look."]))
    assert rejoin.feed(b"".join(said(["Let me look."]))) == b""
    event = rejoin.feed(chunk(call, id_="new"))
    assert orjson.loads(event[6:])["choices"][0]["delta"] == call
    early = Rejoin(said(["Let me", " look."]))
    early.feed(b"".join(said(["Let me"])))
    with pytest.raises(Differs):
        early.feed(chunk(call))


def test_another_model_does_not_go_on() -> None:
    rejoin = Rejoin(said(["Hel"]))
    with pytest.raises(Differs):
        rejoin.feed(chunk({"content": "Hello"}).replace(b'"model":"m"', b'"model":"n"'))


def test_an_answer_that_is_shorter_than_what_was_given_differs() -> None:
    rejoin = Rejoin(said(["Hello"]))
    assert rejoin.feed(b"".join(said(["Hell"]))) == b""
    with pytest.raises(Differs):
        rejoin.feed(last())
    with pytest.raises(Differs):
        Rejoin(said(["Hello"])).feed(DONE)


def test_what_had_ended_must_end_there() -> None:
    given_ = [*said(["Hello"]), chunk({}, end="stop")]
    rejoin = Rejoin(given_)
    assert rejoin.feed(b"".join([*said(["Hello"]), last()])) == DONE
    for more in (chunk({"content": " you"}), chunk({}, end="length")):
        longer = Rejoin(given_)
        longer.feed(b"".join(said(["Hello"])))
        with pytest.raises(Differs):
            longer.feed(more)
