"""`hansom plan calibrate` against a whole Hansom: the gateway, a replica, its simulated engine."""

import json
from pathlib import Path

import pytest

from autoscale.calibrate.profiles import pick
from tests.deployments.serving import Serving

pytestmark = pytest.mark.ray


def test_a_running_tier_is_measured_through_the_gateway(hansom: Serving, tmp_path: Path):
    path = tmp_path / "profiles.yaml"
    told = json.loads(
        hansom.hansom(
            "plan", "calibrate", "--tier", "large", "--profile", "sim", "--profiles", str(path),
            "--prompts", "64,512,1024", "--at-once", "4", "--output-tokens", "12", "--json",
        )
    )  # fmt: skip
    profile = pick(path, "sim")
    assert profile.model_dump(mode="json") == told["profile"]
    assert profile.step_s(1, 100) == pytest.approx(0.03, rel=0.25)
    # Its first token takes 0.2 s whatever the prompt: a step of 0.03 s, and what is no step.
    assert told["fit"]["overhead_s"] == pytest.approx(0.17, rel=0.3)
    assert profile.overhead_s == pytest.approx(told["fit"]["overhead_s"], rel=1e-3)
