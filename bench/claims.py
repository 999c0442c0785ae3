"""From rounds to figures, claims and tables: pure, so that it is tested without a server.

Two sides are compared round by round, because a machine's moods fall on both sides of one round
alike: a difference or a ratio is the median of the rounds' own. Percentiles in the tables are of
all rounds' requests together.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.load import LoadResult, percentile

PACED_TOKENS = 50
PACED_TPOT_S = 0.01
_IDEAL_MS = (PACED_TOKENS - 1) * PACED_TPOT_S * 1e3
_NOT_TOKENS = 2  # a stream's events besides its tokens: the finish reason and [DONE]


@dataclass(frozen=True, slots=True)
class ClaimCell:
    """One place in the tables: what is sent, to whom, and how many at once."""

    case: str
    target: str
    at_once: int


@dataclass(frozen=True, slots=True)
class ClaimFigures:
    """All rounds of one cell."""

    cell: ClaimCell
    rounds: tuple[LoadResult, ...]

    @property
    def failures(self) -> int:
        """Requests without a whole answer."""
        return sum(one.failures for one in self.rounds)

    @property
    def rates(self) -> list[float]:
        """Answers per second, a round each."""
        return [one.rate for one in self.rounds]

    @property
    def token_rates(self) -> list[float]:
        """Token events per second, a round each."""
        return [
            (one.events - _NOT_TOKENS * len(one.totals_ms)) / one.elapsed_s for one in self.rounds
        ]

    @property
    def generator_us(self) -> float:
        """CPU that the load generator used for one request, microseconds."""
        answers = sum(len(one.totals_ms) for one in self.rounds)
        return sum(one.cpu_s for one in self.rounds) / max(answers, 1) * 1e6

    def total_ms(self, share: float) -> float:
        """A percentile of all total times."""
        return percentile([ms for one in self.rounds for ms in one.totals_ms], share)

    def ttft_ms(self, share: float) -> float:
        """A percentile of all times to the first byte of the body or the first event."""
        return percentile([ms for one in self.rounds for ms in one.ttfts_ms], share)

    def tpot_ms(self, tokens: int) -> float:
        """Median time of a token after the first, of answers of `tokens` tokens."""
        each = [
            (total - first) / (tokens - 1)
            for one in self.rounds
            for total, first in zip(one.totals_ms, one.ttfts_ms, strict=True)
        ]
        return percentile(each, 0.5)

    def tokens_per_s(self, tokens: int) -> float:
        """Tokens of whole answers a second, median of the rounds' own."""
        return statistics.median(self.rates) * tokens

    def row(self) -> dict[str, object]:
        """For JSON and for the table."""
        return {
            "case": self.cell.case,
            "target": self.cell.target,
            "at_once": self.cell.at_once,
            "requests": sum(len(one.totals_ms) for one in self.rounds),
            "failures": self.failures,
            "p50_ms": round(self.total_ms(0.5), 3),
            "p99_ms": round(self.total_ms(0.99), 3),
            "ttft_p50_ms": round(self.ttft_ms(0.5), 3),
            "ttft_p99_ms": round(self.ttft_ms(0.99), 3),
            "requests_per_s": round(statistics.median(self.rates), 1),
            "tokens_per_s": round(max(statistics.median(self.token_rates), 0), 1),
            "generator_us": round(self.generator_us, 1),
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure against its aim; without an aim it is only told. `sense` is `<=` or `>=`."""

    name: str
    value: float
    unit: str
    sense: str = ""
    aim: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim is met, None when there is none; what was not measured meets nothing."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.sense == "<=" else self.value >= self.aim

    @property
    def verdict(self) -> str:
        """The same in words."""
        return {True: "met", False: "NOT met", None: ""}[self.met]

    @property
    def aim_text(self) -> str:
        """The aim as it is printed."""
        return "" if self.aim is None else f"{self.sense} {self.aim:,g} {self.unit}"


class Measured:
    """All figures of a run, by cell."""

    def __init__(self, results: Mapping[ClaimCell, Sequence[LoadResult]]) -> None:
        self.figures = [ClaimFigures(cell, tuple(rounds)) for cell, rounds in results.items()]
        self._found = {one.cell: one for one in self.figures}

    def at(self, case: str, target: str, at_once: int) -> ClaimFigures:
        """One cell; KeyError when it was not measured."""
        return self._found[ClaimCell(case, target, at_once)]

    def rate_share(self, case: str, at_once: int, peer: ClaimFigures) -> float:
        """Our answers per second as per cent of a peer's, median of the rounds' own."""
        ours = self.at(case, "ours", at_once)
        return statistics.median(a / b * 100 for a, b in zip(ours.rates, peer.rates, strict=True))

    def added_ms(
        self, ours: ClaimFigures, peer: ClaimFigures, share: float, *, ttft: bool = False
    ) -> float:
        """What our side adds to a percentile, milliseconds, median of the rounds' own."""

        def at(one: LoadResult) -> float:
            return percentile(one.ttfts_ms if ttft else one.totals_ms, share)

        return statistics.median(
            at(a) - at(b) for a, b in zip(ours.rounds, peer.rounds, strict=True)
        )


def simulated_claims(measured: Measured, top: int, streams: Sequence[int]) -> list[Claim]:
    """What is claimed of the path without a model; `top` is the highest number at once."""
    at = measured.at
    alone, engine = at("plain", "ours", 1), at("plain", "engine", 1)
    hello, bare = at("hello", "fastapi", top), at("hello", "asgi", top)
    share = measured.rate_share
    claims = [
        Claim("added p50, 1 at once", measured.added_ms(alone, engine, 0.5), "ms", "<=", 1.0),
        Claim("added p99, 1 at once", measured.added_ms(alone, engine, 0.99), "ms", "<=", 5.0),
        Claim(f"requests/s of FastAPI, {top} at once", share("plain", top, hello), "%", ">=", 15),
        Claim(f"requests/s of bare ASGI, {top} at once", share("plain", top, bare), "%"),
        Claim(f"hits/s of FastAPI, {top} at once", share("hit", top, hello), "%", ">=", 25),
        Claim(f"hits/s of bare ASGI, {top} at once", share("hit", top, bare), "%"),
        Claim("hit p50, 1 at once", at("hit", "ours", 1).total_ms(0.5), "ms"),
        Claim("asked again and no hit", failures(measured, ("hit",)), "requests", "<=", 0),
    ]
    for case, what in (("miss", "looked up and stored"), ("auto", "scored by the router")):
        added = measured.added_ms(at(case, "ours", 1), engine, 0.5)
        claims.append(Claim(f"added p50, {what}, 1 at once", added, "ms"))
        claims.append(Claim(f"{what}: of FastAPI, {top} at once", share(case, top, hello), "%"))
    first = measured.added_ms(
        at("stream", "ours", 1), at("stream", "engine", 1), 0.5, ttft=True
    )  # fmt: skip
    claims.append(Claim("added TTFT p50 of a stream, 1 at once", first, "ms"))
    for wide in streams:
        rate = statistics.median(at("stream", "ours", wide).token_rates)
        claims.append(Claim(f"chunks/s, {wide} streams at once", rate, "/s", ">=", 35_000))
    for wide in (1, 32):
        over = at("paced", "ours", wide).total_ms(0.5) / _IDEAL_MS * 100 - 100
        claims.append(Claim(f"paced stream over ideal, {wide} at once", over, "%", "<=", 5))
        over = at("paced", "engine", wide).total_ms(0.5) / _IDEAL_MS * 100 - 100
        claims.append(Claim(f"  the engine alone, {wide} at once", over, "%"))
    others = ("hello", "plain", "miss", "auto", "stream", "paced")
    return [*claims, Claim("failed requests", failures(measured, others), "", "<=", 0)]


def hang_up_claims(when: str, aborts_ms: Sequence[float], unseen: int) -> list[Claim]:
    """How soon an engine knew that a client had left; `unseen` it never did."""
    return [
        Claim(f"hang-up to abort, p95, {when}", percentile(aborts_ms, 0.95), "ms", "<=", 50),
        Claim(f"  p50 of {len(aborts_ms)}, {when}", percentile(aborts_ms, 0.5), "ms"),
        Claim(f"  never aborted, {when}", unseen, "requests", "<=", 0),
    ]


def real_claims(measured: Measured, levels: Sequence[int], tokens: int) -> list[Claim]:
    """What the path adds to vLLM's own server, with a real model; pooled over the rounds."""
    claims = []
    for wide in levels:
        ours, peer = measured.at("stream", "ours", wide), measured.at("stream", "vllm", wide)
        for name, a, b in (
            ("TTFT p50", ours.ttft_ms(0.5), peer.ttft_ms(0.5)),
            ("TTFT p99", ours.ttft_ms(0.99), peer.ttft_ms(0.99)),
            ("total p50", ours.total_ms(0.5), peer.total_ms(0.5)),
        ):
            claims.append(Claim(f"added {name}, {wide} at once", a - b, "ms"))
            claims.append(Claim(f"  ratio {name}, {wide} at once", a / b, "x"))
        speed = statistics.median(ours.rates) * tokens
        claims.append(Claim(f"tokens/s, {wide} at once", speed, "/s"))
        share = measured.rate_share("stream", wide, peer)
        claims.append(Claim(f"  of vLLM's own, {wide} at once", share, "%"))
    failed = failures(measured, ("stream",))
    return [*claims, Claim("failed requests", failed, "", "<=", 0)]


def gpu_claims(
    measured: Measured, levels: Sequence[int], tokens: int, ready_s: Mapping[str, float]
) -> list[Claim]:
    """Hansom beside vLLM's own server, medians of each side's rounds; at least 97 % is the aim.

    `ready_s` is the time to the first answer of each side's server, seconds.
    """
    claims = []
    for wide in levels:
        ours, peer = measured.at("stream", "ours", wide), measured.at("stream", "vllm", wide)
        for name, one in (("Hansom", ours), ("vLLM", peer)):
            claims += [
                Claim(f"TTFT p50, {wide} at once, {name}", one.ttft_ms(0.5), "ms"),
                Claim(f"TPOT p50, {wide} at once, {name}", one.tpot_ms(tokens), "ms"),
                Claim(f"tokens/s, {wide} at once, {name}", one.tokens_per_s(tokens), "/s"),
            ]
        share = ours.tokens_per_s(tokens) / peer.tokens_per_s(tokens)
        claims.append(Claim(f"tokens/s of vLLM's own, {wide} at once", share, "x", ">=", 0.97))
        if len(peer.rates) > 1:  # a quick run measures vLLM once
            drift = peer.rates[-1] / peer.rates[0]
            claims.append(Claim(f"  vLLM's last round of its first, {wide} at once", drift, "x"))
    claims += [Claim(f"start of {side}", took_s, "s") for side, took_s in ready_s.items()]
    return [*claims, Claim("failed requests", failures(measured, ("stream",)), "", "<=", 0)]


def failures(measured: Measured, cases: Sequence[str]) -> int:
    """Requests without the answer that was wanted, on both sides, in some cases."""
    return sum(one.failures for one in measured.figures if one.cell.case in cases)


def figures_table(measured: Measured, title: str) -> Table:
    """Every cell a row."""
    table = Table(title=title)
    rows = [one.row() for one in measured.figures]
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("case", "target") else "right")
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int | float) else str(v) for v in row.values()))
    return table


def claims_table(claims: Sequence[Claim]) -> Table:
    """Every claim a row: aim, measured, met or not."""
    table = Table(title="Aims")
    for name in ("claim", "aim", "measured", "verdict"):
        table.add_column(name, justify="right" if name in ("aim", "measured") else "left")
    for one in claims:
        style = "red" if one.met is False else ""
        table.add_row(
            one.name, one.aim_text, f"{one.value:,.2f} {one.unit}", one.verdict, style=style
        )
    return table
