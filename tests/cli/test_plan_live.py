"""`hansom plan calibrate` against a whole Hansom: the gateway, a replica, its simulated engine."""

import json
from pathlib import Path

import pytest

from autoscale.profiles import pick
from tests.deployments.serving import Serving, simulated

pytestmark = pytest.mark.ray


def test_a_running_tier_is_measured_through_the_gateway(tmp_path: Path):
    config = simulated()
    config["tiers"] = config["tiers"][:1]
    config["tiers"][0]["engine"] |= {"ttft_s": 0.2, "tpot_s": 0.03}
    serving = Serving(config)
    path = tmp_path / "profiles.yaml"
    try:
        serving.start()
        told = json.loads(
            serving.hansom(
                "plan",
                "calibrate",
                "--tier",
                "small",
                "--profile",
                "sim",
                "--profiles",
                str(path),
                "--prompts",
                "64,512,1024",
                "--at-once",
                "1,4",
                "--output-tokens",
                "24",
                "--json",
            )
        )
    finally:
        serving.end()
    profile = pick(path, "sim")
    assert profile.model_dump(mode="json") == told["profile"]
    assert profile.step_s(1, 100) == pytest.approx(0.03, rel=0.25)
    # Its first token takes 0.2 s whatever the prompt: a step of 0.03 s, and what is no step.
    assert told["fit"]["overhead_s"] == pytest.approx(0.17, rel=0.3)
    assert profile.overhead_s == pytest.approx(told["fit"]["overhead_s"], rel=1e-3)
