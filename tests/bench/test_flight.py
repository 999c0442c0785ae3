"""The bench with tiny counts: answers are compared and bills added up in every run of it."""

import json
import subprocess
import sys

import pytest


@pytest.mark.redis
def test_callers_of_one_cold_key_make_one_generation_and_alone_they_make_one_each() -> None:
    command = [sys.executable, "-m", "bench.flight", "--callers", "40", "--processes", "2"]
    command += ["--rounds", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert [(case["shared"], case["generations"]) for case in told["cases"]] == [
        (True, [1]),
        (False, [40]),
    ] * 2
    callers = {(row["arrival"], row["role"]): row["callers"] for row in told["rows"]}
    assert callers["at once", "leads"] == 1
    assert callers["at once", "follows, another process"] == 20
