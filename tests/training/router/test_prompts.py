"""Our own prompts."""

from training.router.prompts import own_prompts


def test_the_same_seed_gives_the_same_prompts():
    assert own_prompts(held_out=False) == own_prompts(held_out=False)


def test_held_out_families_are_never_among_the_trained():
    trained = {own.family for own in own_prompts(held_out=False)}
    held_out = {own.family for own in own_prompts(held_out=True)}
    assert held_out
    assert not trained & held_out


def test_no_slot_is_left_open_and_no_prompt_comes_twice_in_a_family():
    every = [*own_prompts(held_out=False), *own_prompts(held_out=True)]
    assert not [own.text for own in every if any(f"{{{slot}}}" in own.text for slot in "xynmk")]
    assert len({(own.family, own.text) for own in every}) == len(every)


def test_both_labels_are_there_and_differ_in_what_the_small_model_can():
    chances = {own.label: own.p_small for own in own_prompts(held_out=False)}
    assert chances["easy"] > 0.9
    assert chances["hard"] < 0.5
