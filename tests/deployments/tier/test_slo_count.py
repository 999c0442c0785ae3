"""Which calls met their SLO: each counts once, when it is known."""

from core.settings.scaling import Slo
from deployments.tier.slo_count import SloCount


def counts(count: SloCount) -> tuple[int, int]:
    return count.judged, count.missed


def test_a_late_first_token_is_known_at_once_and_counts_once():
    count = SloCount(Slo(ttft_s=2.0))
    count.began("a", 100, 2.5)
    assert counts(count) == (1, 1)
    count.began("a", 100, 2.5)
    count.ended("a", 100, 2.5, 0.01)
    assert counts(count) == (1, 1)


def test_a_call_in_time_is_known_at_its_end_by_its_later_tokens():
    count = SloCount(Slo(ttft_s=2.0, tpot_s=0.1))
    count.began("a", 100, 1.0)
    assert counts(count) == (0, 0)
    count.ended("a", 100, 1.0, 0.05)
    count.ended("b", 100, 1.0, 0.2)
    count.ended("c", 100, 1.0, 0.0)
    assert counts(count) == (3, 1)


def test_who_leaves_before_a_token_has_missed_it_if_it_waited_too_long():
    count = SloCount(Slo(ttft_s=2.0))
    count.ended("a", 100, 1.9, None)
    assert counts(count) == (0, 0)
    count.ended("b", 100, 2.1, None)
    assert counts(count) == (1, 1)


def test_an_slo_may_depend_on_the_prompt():
    count = SloCount(Slo(ttft_s=2.0, ttft_factor=2.0), 1000.0)
    count.began("a", 1000, 3.9)
    assert counts(count) == (0, 0)
    count.began("b", 1000, 4.1)
    assert counts(count) == (1, 1)


def test_an_id_may_come_again():
    count = SloCount(Slo(ttft_s=2.0))
    for _ in range(2):
        count.ended("a", 100, 3.0, 0.01)
    assert counts(count) == (2, 2)
