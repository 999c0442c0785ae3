"""Figures and claims: the arithmetic, and what is printed."""

import io
import math

import pytest
from rich.console import Console

from bench.claims import (
    Claim,
    ClaimCell,
    Measured,
    claims_table,
    figures_table,
    gpu_claims,
    hang_up_claims,
    real_claims,
    simulated_claims,
)
from bench.load import LoadResult
from bench.overhead import simulated_jobs


def result(ms: float, answers: int = 10, *, events: int = 0, failures: int = 0) -> LoadResult:
    return LoadResult(1.0, 0.001, failures, events, [ms] * answers, [ms / 2] * answers)


def test_two_sides_are_compared_round_by_round() -> None:
    measured = Measured(
        {
            ClaimCell("plain", "ours", 1): [result(3, 20), result(30, 10), result(4, 20)],
            ClaimCell("plain", "engine", 1): [result(1, 40), result(29, 40), result(1, 80)],
        }
    )
    ours, engine = (measured.at("plain", target, 1) for target in ("ours", "engine"))
    assert measured.added_ms(ours, engine, 0.5) == 2
    assert measured.added_ms(ours, engine, 0.5, ttft=True) == 1
    assert measured.rate_share("plain", 1, engine) == 25


def test_token_rates_leave_out_the_events_that_carry_no_token() -> None:
    measured = Measured({ClaimCell("stream", "ours", 1): [result(1, 10, events=520)]})
    assert measured.at("stream", "ours", 1).token_rates == [500]


@pytest.mark.parametrize(
    ("value", "sense", "aim", "met"),
    [(1, "<=", 1, True), (2, "<=", 1, False), (1, ">=", 1, True), (0, ">=", 1, False)],
)
def test_a_claim_is_met_or_not(value: float, sense: str, aim: float, met: bool) -> None:
    assert Claim("name", value, "ms", sense, aim).met is met


def test_a_claim_without_an_aim_is_only_told() -> None:
    told = Claim("name", 1, "ms")
    assert told.met is None and told.verdict == "" and told.aim_text == ""


def test_what_was_never_measured_meets_no_aim() -> None:
    assert Claim("name", math.nan, "ms", "<=", 1).met is False
    first, _, never = hang_up_claims("mid-stream", [], 2)
    assert first.met is False and never.met is False


def test_every_claim_of_the_simulated_part_finds_its_cells() -> None:
    ports = dict.fromkeys(("asgi", "fastapi", "engine", "paced", "ours"), 1)
    measured = Measured({cell: [result(500, events=520)] for cell in simulated_jobs(ports, 0.1)})
    claims = {claim.name: claim for claim in simulated_claims(measured, 64, (16, 64))}
    assert claims["paced stream over ideal, 32 at once"].value == pytest.approx(500 / 4.9 - 100)
    assert claims["failed requests"].met is True


def test_the_real_part_counts_failures_of_both_sides() -> None:
    cells = [ClaimCell("stream", target, 1) for target in ("ours", "vllm")]
    claims = real_claims(Measured({cell: [result(9, failures=1)] for cell in cells}), (1,), 32)
    assert claims[-1].name == "failed requests" and claims[-1].value == 2


def test_the_tables_show_every_cell_and_every_verdict() -> None:
    console = Console(width=150, record=True, file=io.StringIO())
    measured = Measured({ClaimCell("plain", "ours", 64): [result(1234.5)]})
    console.print(figures_table(measured, "title"))
    console.print(claims_table([Claim("late", 9, "ms", "<=", 1), Claim("told", 1, "s")]))
    text = console.export_text()
    assert "1,234.5" in text and "NOT met" in text and "<= 1 ms" in text


def test_hansom_on_a_gpu_is_held_against_vllm_itself() -> None:
    measured = Measured(
        {
            ClaimCell("stream", "vllm", 8): [result(100, 10), result(100, 10)],
            ClaimCell("stream", "ours", 8): [result(110, 9, failures=1), result(110, 9)],
        }
    )
    claims = {one.name: one for one in gpu_claims(measured, (8,), 11, {"vllm": 20.0, "ours": 30.0})}
    assert claims["TTFT p50, 8 at once, Hansom"].value == 55
    assert claims["TPOT p50, 8 at once, vLLM"].value == 5  # (100 - 50) ms over ten later tokens
    assert claims["tokens/s, 8 at once, vLLM"].value == 110
    share = claims["tokens/s of vLLM's own, 8 at once"]
    assert share.value == pytest.approx(0.9)
    assert share.met is False
    assert claims["  vLLM's last round of its first, 8 at once"].value == 1
    assert claims["start of ours"].value == 30
    assert claims["failed requests"].met is False


def test_a_machine_that_ran_vllm_once_has_no_drift() -> None:
    figures = {ClaimCell("stream", side, 1): [result(100, 1)] for side in ("ours", "vllm")}
    names = [one.name for one in gpu_claims(Measured(figures), (1,), 11, {"vllm": 20.0})]
    assert "start of vllm" in names and not any("last round" in name for name in names)
