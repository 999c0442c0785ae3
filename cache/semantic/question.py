"""The question that lets a model decide whether a stored answer serves a prompt.

Of two wordings that were tried this one is the shorter and the better (docs/benchmarks.md).
Not covered: which pairs may be asked about (`cache.semantic.verdict`), and sending it
(`deployments.gateway.cascade.second_opinion`).
"""

from __future__ import annotations


def question(cached: str, query: str) -> str:
    """The user message that asks about one pair; the answer is its first word, Yes or No."""
    return (
        "Two users each send one message to the same assistant. Decide whether the complete and "
        "correct answer to the first message is also the complete and correct answer to the "
        f"second.\n\nFirst message: {cached}\nSecond message: {query}\n\nReply with one word, Yes "
        "or No."
    )
