"""Which quantization for a tier: speed, memory, load time and quality, each against bfloat16.

    python -m bench.quantization --tier small --format none --format w8a8 --format w4a16

Promises: the formats are loaded one after the other, then measured in turns (one round of each,
`--rounds` times), so that a machine's moods fall on all of them alike; ratios are to the first
format. Shown is the best round: other work on the machine only ever makes a round slower. Quality
is the share of `quantization_prompts.yaml` that a program finds right.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing

import rich.console
import rich.table
import yaml

from bench.quantization_checks import passes
from bench.quantization_engine import PROMPTS
from core.settings.load import PathSource, Tier, load
from deployments.machine import environment
from deployments.machine.weights import engine_arguments, prepare

_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


@dataclasses.dataclass(frozen=True)
class FormatFigures:
    """One format's figures; speeds are of the best round, in tokens per second."""

    format: str
    load_s: float
    resident_bytes: int
    weights_bytes: int
    alone: float
    four: float
    read: float
    right: tuple[bool, ...]
    answers: tuple[str, ...]
    rounds: tuple[dict[str, float], ...]


class Silent:
    """A `core.ports.Progress` that says nothing."""

    def start(self, label: str, total: int | None) -> None:
        """Begin nothing."""

    def advance(self, units: int) -> None:
        """Count nothing."""

    def done(self) -> None:
        """End nothing."""


class QuantizedEngine:
    """The child process that holds one format's model; ready when made."""

    def __init__(self, name: str, folder: pathlib.Path, threads: int, log: pathlib.Path) -> None:
        self.name = name
        self.folder = folder
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.quantization_engine",
                str(folder),
                json.dumps(engine_arguments(name)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env={**os.environ, **_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)},
        )
        self._log = log
        self.load_s = float(self._answer())

    def ask(self, question: str) -> typing.Any:
        """Send one line and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> typing.Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the engine ended; see {self._log}")
        return json.loads(line)

    def stop(self) -> None:
        """Let the process end, and wait for it."""
        self._process.communicate(timeout=60)


def folders(tier: Tier, formats: list[str], home: pathlib.Path) -> dict[str, pathlib.Path]:
    """Prepare every format; all are made from the one bfloat16 folder, which is fetched once."""
    plain = prepare(tier.model_copy(update={"quantization": "none"}), home, Silent())
    source = PathSource(kind="path", path=plain)
    return {
        name: prepare(
            tier.model_copy(update={"quantization": name, "source": source}), home, Silent()
        )
        for name in formats
    }


def measure(engines: list[QuantizedEngine], rounds: int) -> list[FormatFigures]:
    """All figures of all engines, speeds in turns."""
    prompts = yaml.safe_load(PROMPTS.read_text(encoding="utf-8"))
    for engine in engines:
        engine.ask("speed")  # the first run pays for what is made once
    speeds: dict[str, list[dict[str, float]]] = {engine.name: [] for engine in engines}
    for _ in range(rounds):
        for engine in engines:
            speeds[engine.name].append(engine.ask("speed"))
    measured = []
    for engine in engines:
        answers = engine.ask("quality")
        best = {key: max(s[key] for s in speeds[engine.name]) for key in speeds[engine.name][0]}
        measured.append(
            FormatFigures(
                engine.name,
                engine.load_s,
                engine.ask("memory"),
                sum(f.stat().st_size for f in engine.folder.glob("*.safetensors")),
                best["alone"],
                best["four"],
                best["read"],
                tuple(passes(p["check"], a) for p, a in zip(prompts, answers, strict=True)),
                tuple(answers),
                tuple(speeds[engine.name]),
            )
        )
    return measured


def table(tier: Tier, measured: list[FormatFigures]) -> rich.table.Table:
    """The figures, and in brackets the ratio to the first format."""
    first = measured[0]
    shown = rich.table.Table(title=f"{tier.name}: {tier.model}")
    for column in ("format", "load s", "weights MB", "resident MB", "alone tok/s"):
        shown.add_column(column, justify="right")
    for column in ("four at once tok/s", "prompt tok/s", "right", "as first"):
        shown.add_column(column, justify="right")
    for row in measured:
        same = sum(a == b for a, b in zip(row.answers, first.answers, strict=True))
        shown.add_row(
            row.format,
            f"{row.load_s:.0f}",
            f"{row.weights_bytes / 1e6:.0f}",
            f"{row.resident_bytes / 1e6:.0f}",
            f"{row.alone:.1f} ({row.alone / first.alone:.2f})",
            f"{row.four:.1f} ({row.four / first.four:.2f})",
            f"{row.read:.0f} ({row.read / first.read:.2f})",
            f"{sum(row.right)}/{len(row.right)}",
            f"{same}/{len(row.answers)}",
        )
    return shown


def main() -> None:
    """Parse the command line, measure, print, and write the answers beside it if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.quantization", description=__doc__)
    parser.add_argument("--config", type=pathlib.Path, default=pathlib.Path("config/laptop.yaml"))
    parser.add_argument("--tier", required=True)
    parser.add_argument("--format", dest="formats", action="append", required=True)
    parser.add_argument("--home", type=pathlib.Path, default=environment.home())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=pathlib.Path, help="write every figure and answer here")
    given = parser.parse_args()
    tier = load(given.config).tier(given.tier)
    made = folders(tier, given.formats, given.home)
    engines = [
        QuantizedEngine(name, folder, given.threads, given.home / f"bench-{tier.name}-{name}.log")
        for name, folder in made.items()
    ]
    measured = measure(engines, given.rounds)
    for engine in engines:
        engine.stop()
    rich.console.Console(width=140).print(table(tier, measured))
    if given.json:
        given.json.write_text(json.dumps([dataclasses.asdict(m) for m in measured], indent=1))


if __name__ == "__main__":
    main()
