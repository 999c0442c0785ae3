"""A rule of thumb for complexity: the baseline for the learned score.

Promises: pure; in [0, 1]; needs no weights, so it can stand in when no score is at hand.
Not covered: anything but English, and anything but the look of the text.
"""

LONG_CHARS = 200
ASKS_FOR_REASONS = ("compare", "explain", "why", "how")


def complexity(text: str) -> float:
    """From 0.2 for a plain line to 1.0; counted in tenths, because 0.1 + 0.2 is not 0.3."""
    tenths = 2
    if len(text) > LONG_CHARS:
        tenths += 2
    if "?" in text:
        tenths += 1
    if text.count(" and ") + text.count(" or ") > 1:
        tenths += 2
    lowered = text.lower()
    if any(word in lowered for word in ASKS_FOR_REASONS):
        tenths += 3
    return min(tenths, 10) / 10
