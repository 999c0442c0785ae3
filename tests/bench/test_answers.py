"""Collecting answers: what is written of one, and that nothing is asked twice."""

from bench.answers import line
from bench.grading import SHORT, Question

QUESTION = Question("sum", SHORT, "What is 2 + 3?", "5")


def said(text: str | None, logprobs: list[float] | None) -> dict[str, object]:
    content = None if logprobs is None else [{"token": "x", "logprob": one} for one in logprobs]
    return {
        "message": {"content": text},
        "logprobs": None if content is None else {"content": content},
        "finish_reason": "stop",
    }


def test_a_line_holds_the_answer_graded_with_its_tokens():
    told = line(QUESTION, "small", said("5", [-0.25, -1.0]), "6")
    assert (told["answer"], told["right"], told["second"]) == ("5", True, "6")
    assert told["logprobs"] == [-0.25, -1.0]
    assert (told["tier"], told["kind"], told["finish"]) == ("small", "sum", "stop")


def test_an_answer_without_text_or_tokens_is_wrong_and_not_an_error():
    told = line(QUESTION, "small", said(None, None), None)
    assert (told["answer"], told["right"], told["logprobs"]) == ("", False, [])
