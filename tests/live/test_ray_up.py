"""A real `ray up` of config/clusters/local.yaml, between machines that are namespaces of this one.

Real: the cluster file, `ray up`, `ray exec`, `ray down`, SSH, rsync, token authentication, Ray's
autoscaler, `serve deploy`, our graph. Played: the engines and the worker's GPU.
`ray_up.cluster_file` says what else is other than in the file.
"""

import json
import tempfile
import time
from pathlib import Path

import pytest

from tests.live import namespaces, raylets
from tests.live.ray_up import HEAD, WORKER

LACKING = namespaces.missing()
pytestmark = [
    pytest.mark.ray,
    pytest.mark.namespaces,
    pytest.mark.skipif(bool(LACKING), reason=LACKING),
]


# Ray starts on two machines with one set of cores, and waits at many places of its own.
@pytest.mark.timeout(600)
def test_our_cluster_file_brings_up_a_cluster_that_answers_refuses_and_goes() -> None:
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        printed = raylets.run_alone("tests.live.ray_up", folder, timeout_s=570)
        assert namespaces.traces(Path(folder)) == []
    seen = next(json.loads(line) for line in printed.splitlines() if line.startswith('{"nodes"'))
    print(seen["seconds"])
    assert seen["nodes"] == {HEAD: {"control": 1}, WORKER: {"small_gpu": 1, "GPU": 1}}
    ours = {name: [HEAD] for name in ("Gateway", "Router", "Ledger")}
    assert seen["landed"] == ours | {"Engine": [WORKER]}
    assert seen["answer"] == [200, "small"]
    # With its only worker's cable out: an error at once, and no hang.
    assert seen["unplugged"] == [503, "no_replica"]
    assert seen["seconds"]["refused"] < 10
    assert seen["left"] == {"head": [], "worker": []}


def test_nothing_is_left_of_the_machines_when_their_script_is_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        with pytest.raises(AssertionError, match="there"):
            raylets.run_alone("tests.live.namespaces", folder, timeout_s=6)
        end_s = time.monotonic() + 10
        while namespaces.traces(Path(folder)):
            assert time.monotonic() < end_s
            time.sleep(0.1)
