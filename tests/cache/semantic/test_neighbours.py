"""What neighbours say together."""

import numpy as np
import pytest

from cache.semantic.neighbours import MONOTONE, NAMES, features


def named(cosines: list[float], answers: str) -> dict[str, float]:
    return dict(zip(NAMES, features(cosines, list(answers)).tolist(), strict=True))


def test_agreement_and_lead_are_counted():
    told = named([0.9, 0.8, 0.7, 0.6], "aaba")
    assert told["agreeing"] == 3
    assert told["unbroken"] == 2
    assert told["answers"] == 2
    assert told["lead_cosine"] == pytest.approx(0.2)
    assert told["nearest_other"] == pytest.approx(0.7)


def test_one_answer_has_all_votes():
    told = named([0.9, 0.8], "aa")
    assert told["share_sharp"] == told["share_flat"] == 1
    assert told["nearest_other"] == 0


def test_a_near_rival_takes_votes():
    assert named([0.9, 0.89], "ab")["share_sharp"] < named([0.9, 0.6], "ab")["share_sharp"]


def test_every_feature_has_a_direction():
    assert len(MONOTONE) == len(NAMES)
    assert np.isfinite(features([0.5], ["a"])).all()
