"""Word problems of graded difficulty."""

from router.score.features import NAMES, surface
from training.router.stories import MOST_STEPS, PER_STORY, word_problems

PROBLEMS = word_problems()


def test_the_same_seed_gives_the_same_problems_and_another_seed_others():
    assert word_problems() == PROBLEMS
    assert word_problems(seed=1) != PROBLEMS


def test_each_story_has_problems_of_few_and_of_many_steps():
    for story in {one.family for one in PROBLEMS}:
        steps = [one.steps for one in PROBLEMS if one.family == story]
        assert len(steps) == PER_STORY
        assert min(steps) <= 1
        assert max(steps) >= 4


def test_no_slot_is_left_open():
    assert not [one.text for one in PROBLEMS if "{" in one.text or "}" in one.text]


def test_each_step_makes_both_models_less_likely_right_and_the_small_one_more():
    by_steps = {one.steps: (one.p_small, one.p_large) for one in PROBLEMS}
    small, large = zip(*(by_steps[steps] for steps in sorted(by_steps)), strict=True)
    assert list(small) == sorted(small, reverse=True)
    assert list(large) == sorted(large, reverse=True)
    gains = [up - low for low, up in zip(small, large, strict=True)]
    assert gains == sorted(gains)
    assert 0 < min(small) < max(large) < 1


def test_a_problem_of_more_steps_looks_longer_to_the_router():
    chars = NAMES.index("chars")
    few, many = (
        [surface([{"role": "user", "content": one.text}])[chars] for one in PROBLEMS if keep(one)]
        for keep in (lambda one: one.steps == 0, lambda one: one.steps == MOST_STEPS)
    )
    assert sum(few) / len(few) < sum(many) / len(many)
