"""Which cut-off a labelled file speaks for, and when it is too small to speak."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.error_budget.budget import Level
from cache.error_budget.counts import Tally
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from cache.tuning.evaluation import Examiner
from cache.tuning.tune import GRID, advise, examine, needed, upper
from text.embed import MiniLM

PAIRS = [
    ("How do I reset my password?", "how can i reset my password", 1),
    ("How do I reset my password?", "How do I change my username?", 0),
    ("What is the capital of France?", "What's the capital of France?", 1),
    ("What is the capital of France?", "What is the capital of Spain?", 0),
    ("How do I bake bread?", "How to bake a bread?", 1),
]


def seen(loose: tuple[int, int], strict: tuple[int, int]) -> dict[Level, Tally]:
    return {Level.LOOSE: Tally(*loose), Level.STRICT: Tally(*strict)}


def test_what_is_proven_at_the_level_where_the_limit_begins_is_set():
    advice = advise(seen((500, 20), (400, 0)), 0.01)
    assert (advice.level, advice.wrong_share, advice.sure) == ("0.01", 0.01, True)
    assert "gets there" not in advice.reason


def test_that_the_loose_level_keeps_a_strict_limit_is_told():
    assert "gets there by its own checks" in advise(seen((500, 0), (400, 0)), 0.01).reason


def test_a_loose_limit_begins_loose_or_else_strict():
    assert advise(seen((500, 2), (400, 0)), 0.03).level == "0.025"
    advice = advise(seen((500, 40), (400, 0)), 0.03)
    assert (advice.level, advice.wrong_share, advice.sure) == ("0.01", 0.01, True)


def test_a_proven_wrong_share_above_the_limit_says_off_and_what_would_hold():
    advice = advise(seen((500, 60), (400, 20)), 0.01)
    assert (advice.level, advice.wrong_share, advice.sure) == ("off", None, True)
    assert f"allow {upper(Tally(400, 20)):.3f}" in advice.reason


def test_too_few_hits_say_how_many_more_it_takes():
    advice = advise(seen((0, 0), (0, 0)), 0.01)
    assert (advice.wrong_share, advice.sure, advice.more_hits) == (0.01, False, 299)
    assert advise(seen((40, 0), (30, 0)), 0.01).more_hits == 269
    assert advise(seen((40, 0), (30, 1)), 0.01).more_hits == needed(0.01, 1) - 30


@given(st.floats(0.005, 0.2), st.integers(0, 5))
def test_the_hits_needed_prove_it_and_one_less_does_not(limit: float, wrong: int):
    count = needed(limit, wrong)
    assert Tally(count, wrong).below(limit)
    assert not Tally(count - 1, wrong).below(limit)


@given(st.integers(1, 500), st.integers(0, 20))
def test_the_upper_bound_is_where_the_proof_begins(checked: int, wrong: int):
    tally = Tally(checked, min(wrong, checked - 1))
    bound = upper(tally)
    assert tally.below(bound)
    assert bound < 2e-4 or not tally.below(bound - 1e-4)


@pytest.fixture(scope="module")
def verifier() -> tuple[MiniLM, Verifier]:
    embedder = MiniLM.installed()
    return embedder, Verifier.load(PromptReader(embedder))


@pytest.mark.parametrize("kind", ["pairs", "stream"])
def test_every_cut_off_gets_what_the_examination_at_it_gets(
    tmp_path: Path, verifier: tuple[MiniLM, Verifier], kind: str
):
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, object]] = [{"a": a, "b": b, "label": label} for a, b, label in PAIRS]
    if kind == "stream":
        rows = [{"text": text, "answer": a} for a, b, _ in PAIRS for text in (a, b)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shipped = dict(verifier[1].thresholds)
    found = list(examine(path, *verifier))
    assert [one.pair for one in found] == sorted([*GRID, *(t.pair for t in shipped.values())])
    hits = [one.report.hits.count for one in found]
    assert hits == sorted(hits, reverse=True) and hits[0] > 0
    for one in found:
        if one.level:
            report = Examiner(*verifier, one.level).evaluate_file(path)
            assert one.report == report
            assert one.tally == Tally(report.hits.count, report.wrong.count)
    assert verifier[1].thresholds == shipped
