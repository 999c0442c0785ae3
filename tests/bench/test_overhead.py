"""The whole bench, with tiny counts: it runs, and every request gets its answer."""

import json
import subprocess
import sys

import pytest


@pytest.mark.ray
def test_a_quick_run_measures_every_claim_without_a_failure() -> None:
    command = [sys.executable, "-m", "bench.overhead", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    claims = {claim["name"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert claims["failed requests"]["value"] == 0
    assert claims["  never aborted, mid-stream"]["met"]
