"""Pairs that we make: the same every time, and labelled as their template says."""

from collections import Counter

from training.cache.verifier_pairs import KEPT, made_pairs


def test_the_same_pairs_every_time():
    assert made_pairs(5) == made_pairs(5)


def test_no_topic_outweighs_the_others():
    counts = Counter((pair.group, pair.label) for pair in made_pairs())
    assert max(count for (_, label), count in counts.items() if label) <= KEPT
    assert max(counts.values()) <= 2 * KEPT
    assert len({group for group, _ in counts}) > 40


def test_no_pair_has_both_labels_or_a_text_twice():
    labels: dict[frozenset[str], set[int]] = {}
    for pair in made_pairs():
        assert pair.cached != pair.query
        assert "{x}" not in pair.cached + pair.query
        labels.setdefault(frozenset((pair.cached, pair.query)), set()).add(pair.label)
    assert all(len(found) == 1 for found in labels.values())
