"""The prefix cache: never more than a plain LRU holds, and all of it where nothing is shared."""

from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.replay.engine_prefix import cached_tokens, found_blocks, leave, use
from autoscale.replay.engine_state import Constants, new_marks, new_requests, new_slots
from tests.autoscale.replay.lru import Lru

SIZE = 12 * 512
K = Constants(0.01, 0.0, 0.0, 1000.0, 512, SIZE, 99, 512)


@dataclass
class Pair:
    """The compiled cache and the plain one, side by side; prompts are lists of block ids."""

    prompts: list[list[int]]
    outputs: list[int]
    plain: Lru = field(default_factory=lambda: Lru(SIZE))
    hits: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tokens = np.array([512 * len(one) for one in self.prompts])
        starts = np.cumsum([0, *map(len, self.prompts)])
        self.q = new_requests(np.zeros(len(tokens)), tokens, np.array(self.outputs), starts)
        self.blocks = np.array([*chain(*self.prompts)], np.int64)
        self.one = new_slots(1)[0]
        self.marks = new_marks(1, int(self.blocks.max()) + 1)[0]

    def need(self, i: int) -> int:
        return int(self.q[i]["input_tokens"] + self.q[i]["output_tokens"])

    def found(self, i: int) -> tuple[int, int]:
        """By the compiled and by the plain one."""
        prompt, tokens = self.prompts[i], int(self.q[i]["input_tokens"])
        return self.compiled(i), self.plain.found(prompt, tokens)

    def compiled(self, i: int) -> int:
        """Whole blocks that spare a prefill."""
        found = found_blocks(self.one, self.marks, self.q[i], self.blocks)
        return int(cached_tokens(self.q[i], found, K)) // 512

    def begin(self, i: int) -> None:
        use(self.marks, self.q[i], self.blocks, self.compiled(i))
        self.one["reserved"] += self.need(i)
        self.one["touched"] += self.need(i)
        tokens = int(self.q[i]["input_tokens"])
        self.hits[i] = self.plain.begin(self.prompts[i], tokens, self.need(i))

    def fill(self, i: int) -> None:
        use(self.marks, self.q[i], self.blocks, len(self.prompts[i]))
        self.plain.fill(self.prompts[i][self.hits[i] :])

    def end(self, i: int) -> None:
        self.one["reserved"] -= self.need(i)
        leave(self.one, self.marks, self.q[i], self.blocks, K)
        self.plain.end(self.prompts[i], self.need(i))


def named(words: list[list[int]]) -> list[list[int]]:
    """Prompts with a block for each letter, whose id is that of the word up to it."""
    names: dict[tuple[int, ...], int] = {}
    return [
        [names.setdefault(tuple(one[: n + 1]), len(names)) for n in range(len(one))]
        for one in words
    ]


WORD = st.lists(st.integers(0, 1), min_size=1, max_size=5)


@given(
    calls=st.lists(st.tuples(WORD, st.integers(1, 900)), min_size=2, max_size=40),
    choices=st.lists(st.integers(0, 99), min_size=120, max_size=120),
)
@settings(deadline=None, max_examples=100)
def test_never_more_is_there_than_in_an_lru_of_that_size(
    calls: list[tuple[list[int], int]], choices: list[int]
):
    """Requests begin as far as they fit, are prefilled and end in any order."""
    pair = Pair(named([word for word, _ in calls]), [output for _, output in calls])
    waiting, begun, filled = list(range(len(calls))), list[int](), list[int]()
    for choice in choices:
        for i in range(len(calls)):
            compiled, plain = pair.found(i)
            assert compiled <= plain
        fits = waiting and pair.plain.reserved + pair.need(waiting[0]) <= SIZE
        moves = [*(["begin"] if fits else []), *("fill" for _ in begun), *("end" for _ in filled)]
        if not moves:
            return
        match moves[choice % len(moves)]:
            case "begin":
                pair.begin(i := waiting.pop(0))
                begun.append(i)
            case "fill":
                pair.fill(i := begun.pop(choice % len(begun)))
                filled.append(i)
            case _:
                pair.end(filled.pop(choice % len(filled)))


@given(lengths=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 900)), min_size=1, max_size=12))
@settings(deadline=None)
def test_where_prompts_share_nothing_it_is_that_lru(lengths: list[tuple[int, int]]):
    """One after another; then all are asked for once more, with a last block that is new."""
    words = [[i, *range(n)] for i, (n, _) in enumerate(lengths)]
    pair = Pair(named(words), [output for _, output in lengths])
    for i in range(len(lengths)):
        pair.begin(i)
        pair.fill(i)
        pair.end(i)
        for j in range(i + 1):
            compiled, plain = pair.found(j)
            assert compiled == plain
    assert pair.found(len(lengths) - 1)[0] == lengths[-1][0]


def test_blocks_of_a_running_request_stay_and_those_of_an_ended_go_last_block_first():
    """Of 12 blocks a has 4. Others of 7 come and go; then one of 8 and a token takes what is free.

    Then a's first 3 are left: each is behind the later ones, and 12 - 8 - 1 of all are untouched.
    """
    a, b, c, d = list(range(4)), list(range(4, 11)), list(range(11, 18)), list(range(18, 26))
    pair = Pair([a, b, c, d, [*a, 26]], [1] * 5)
    pair.begin(0)
    assert pair.found(4) == (0, 0)  # not before they are prefilled
    pair.fill(0)
    for i in (1, 2):
        pair.begin(i)
        pair.fill(i)
        pair.end(i)
    pair.end(0)
    assert pair.found(4) == (4, 4)
    pair.begin(3)
    assert pair.found(4) == (3, 3)


def test_a_prompt_that_is_there_in_whole_computes_its_last_block():
    pair = Pair([[0, 1], [0, 1]], [1, 1])
    pair.begin(0)
    pair.fill(0)
    assert pair.found(1) == (1, 1)
