"""The question about two prompts: what it says, and that it is as long as the reservation says."""

from accounts.worst_case import _VERDICT_TEXT_TOKENS, _VERDICT_TOKENS
from cache.semantic.question import question
from cache.semantic.verdict import LIMIT_CHARS


def test_it_has_both_texts_in_their_order_and_asks_for_one_word() -> None:
    asked = question("What is our refund policy?", "How do I get my money back?")
    assert asked.index("First message: What is our refund policy?") < asked.index(
        "Second message: How do I get my money back?"
    )
    assert asked.endswith("Reply with one word, Yes or No.")


def test_the_longest_question_is_within_its_reservation() -> None:
    assert len(question("", "").encode()) + 64 <= _VERDICT_TOKENS
    assert len(("\U0001f600" * LIMIT_CHARS).encode()) <= _VERDICT_TEXT_TOKENS
