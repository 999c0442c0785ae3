"""One replay in NVIDIA Dynamo's engine: runs in the peer's own environment.

    DYNAMO_PYTHON -P bench/dynamo_side.py JOB_JSON

`bench.dynamo` writes the job and starts this. With `tick_ms` in the job, each of the engine's
snapshots goes out as a line `{"snapshot": ...}`, and the line that comes back, `{"workers": n}`, is
how many there are to be; with `planner` in it, Dynamo's own planner decides. The last line is
`{"report": ...}`, Dynamo's own. Imports nothing of ours: this environment has none of it. `-P`
because the `dynamo.py` beside this file is not the package.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO


class Remote:
    """A scaling policy of Dynamo's replay that asks whoever is at the other end."""

    def __init__(self, tick_ms: float, told: TextIO, asked: TextIO) -> None:
        self._tick_ms, self._told, self._asked = tick_ms, told, asked

    def initial_tick_ms(self) -> float:
        """When the first snapshot is wanted."""
        return self._tick_ms

    def on_tick(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        """Pass the snapshot on. Raises `EOFError` where nobody answers."""
        tell(self._told, {"snapshot": snapshot})
        line = self._asked.readline()
        if not line:
            raise EOFError("no answer to a snapshot")
        return {
            "target_prefill": None,
            "target_decode": json.loads(line)["workers"],
            "next_tick_ms": snapshot["now_ms"] + self._tick_ms,
        }


def tell(wire: TextIO, line: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    wire.write(json.dumps(line) + "\n")
    wire.flush()


def replay(job: dict[str, Any], told: TextIO, asked: TextIO) -> dict[str, Any]:
    """Dynamo's report of the job."""
    from dynamo._core import run_mocker_trace_replay  # type: ignore[import-not-found]
    from dynamo.mocker import MockEngineArgs  # type: ignore[import-not-found]
    from dynamo.replay import run_trace_replay  # type: ignore[import-not-found]

    engine = MockEngineArgs.from_json(json.dumps(job["engine"]))
    options = {
        "num_workers": job["workers"],
        "router_mode": job["router_mode"],
        "trace_block_size": job["block_tokens"],
        "sla_ttft_ms": job["sla_ttft_ms"],
        "sla_itl_ms": job["sla_itl_ms"],
    }
    report: dict[str, Any]
    if "planner" in job:
        report = run_trace_replay(
            job["trace"], extra_engine_args=engine, planner_config=job["planner"], **options
        ).trace_report
    else:
        policy = Remote(job["tick_ms"], told, asked)
        report = run_mocker_trace_replay(
            [job["trace"]], extra_engine_args=engine, scaling_policy=policy, **options
        )
    return report


def main() -> None:
    """Run the job; what libraries print goes to standard error."""
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tell(wire, {"report": replay(job, wire, sys.stdin)})


if __name__ == "__main__":
    main()
