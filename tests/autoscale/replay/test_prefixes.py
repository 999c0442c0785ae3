"""What prompts share: what breaks the rules is named, copies share nothing, once-seen blocks go."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale.replay.prefixes import PrefixError, Prefixes


def prefixes(*prompts: list[int], tokens: list[int] | None = None) -> Prefixes:
    """Prompts that fill their blocks, unless `tokens` are told."""
    starts = np.cumsum([0, *map(len, prompts)])
    long = tokens or [512 * len(one) for one in prompts]
    return Prefixes.of(np.array([*chain(*prompts)], np.int64), starts, np.array(long, np.int64))


def prompts(of: Prefixes) -> list[list[int]]:
    return [of.ids[a:b].tolist() for a, b in zip(of.starts, of.starts[1:], strict=False)]


@pytest.mark.parametrize(
    ("made", "tokens", "said"),
    [
        (([1, 2], [1]), [1024, 513], "row 1 has 1 ids, and its prompt of 513 tokens has 2 blocks"),
        (([1, 2],), [512], "row 0 has 2 ids, and its prompt of 512 tokens has 1 blocks"),
        (([1, 2], [3, 2]), None, "row 1 has the id 2 after another one than row 0"),
        (([1, 2], [2]), None, "row 1 has the id 2 after another one than row 0"),
        (([4], [1, 1]), None, "row 1 has the id 1 after another one than row 1"),
    ],
)
def test_what_breaks_a_rule_is_named(
    made: tuple[list[int], ...], tokens: list[int] | None, said: str
):
    with pytest.raises(PrefixError, match=said):
        prefixes(*made, tokens=tokens)


def test_no_prompts_are_no_blocks():
    assert prefixes().shared(np.zeros(0, np.int64)).starts.tolist() == [0]
    none = Prefixes.none(3)
    assert prompts(none) == [[], [], []]


def test_rows_keep_what_they_share_within_a_copy_and_nothing_beyond_it():
    whole = prefixes([7, 8], [7, 9, 10], [7, 8, 11])
    made = whole.take(np.array([2, 0, 1, 2]), np.array([0, 0, 1, 1]))
    first, second, third, fourth = prompts(made)
    assert first[:2] == second and third[0] == fourth[0] and third[1] != fourth[1]
    assert not {*first, *second} & {*third, *fourth}
    assert [len(one) for one in prompts(made)] == [3, 2, 3, 3]


def test_only_whole_blocks_of_several_prompts_are_kept():
    """The third prompt's second block is cut short; only that of the first is whole."""
    tokens = [1024, 1536, 700, 512]
    made = prefixes([7, 8], [7, 9, 10], [7, 8], [5], tokens=tokens).shared(np.array(tokens))
    assert prompts(made) == [[0], [0], [0], []]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=12))
def test_sharing_is_what_comparing_all_prompts_finds(words: list[list[int]]):
    """A block's id is the word up to its end."""
    names: dict[tuple[int, ...], int] = {}
    made = [
        [names.setdefault(tuple(one[: n + 1]), 3 * len(names)) for n in range(len(one))]
        for one in words
    ]
    found = prompts(prefixes(*made).shared(np.array([512 * len(one) for one in made], np.int64)))
    for i, word in enumerate(words):
        others = words[:i] + words[i + 1 :]
        longest = max((_common(word, other) for other in others), default=0)
        assert len(found[i]) == longest
        for j, other in enumerate(words):
            same = sum(a == b for a, b in zip(found[i], found[j], strict=False))
            assert i == j or same == _common(word, other)


def _common(one: list[int], other: list[int]) -> int:
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return n
