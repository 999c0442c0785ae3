"""Describe a diff in one sentence and as JSON.

Promises: pure; the causes in the sentence are those with the largest effects, in order, each with
its share of the difference. A share may be more than 100 % or negative, when others go against it.
"""

from collections.abc import Mapping
from fractions import Fraction

from ledger.reports.diff import ASIDE, EXTRA, FIRST, Diff, DiffCell, Factor, Part, Side

_CAUSES = 3
_SMALL = 0.01  # causes below this share of the largest are not named

WHAT = {
    Factor.PRICE: "price of tokens",
    Factor.MIX: "mix of tiers",
    Factor.INPUT: "input tokens per attempt",
    Factor.OUTPUT: "output tokens per attempt",
    Factor.CACHE: "answers from the cache",
    Factor.ATTEMPTS: "retries, escalations and fallbacks",
    Factor.CHECKS: "judges and checks",
    Factor.FAILURES: "requests without an answer",
}


def sentence(diff: Diff) -> str:
    """The change of the cost per answer, and what it comes from."""
    before, after = diff.before.per_answer_usd_micros, diff.after.per_answer_usd_micros
    change = float(diff.change_usd_micros)
    if not diff.change_usd_micros:
        same = f"Cost per answer did not change ({dollars(float(before))} USD)"
        return f"{same}{_against(diff)}."
    verb = "rose" if change > 0 else "fell"
    by = f"{verb} {abs(change) / float(before):.0%}" if before else f"{verb} from nothing"
    head = f"Cost per answer {by}, from {dollars(float(before))} to {dollars(float(after))} USD"
    return f"{head}: {_causes(diff, change)}."


def _causes(diff: Diff, change: float) -> str:
    largest = _by_size(diff)
    least = abs(float(largest[0][1])) * _SMALL
    return ", ".join(
        f"{WHAT[factor]} {float(effect) / 1e6:+.6f} USD ({float(effect) / change:.0%} of it)"
        for factor, effect in largest[:_CAUSES]
        if abs(float(effect)) > least
    )


def _against(diff: Diff) -> str:
    """Effects that cancel each other out are told, too."""
    told = [
        f"{WHAT[factor]} {float(effect) / 1e6:+.6f} USD"
        for factor, effect in _by_size(diff)[:_CAUSES]
        if effect
    ]
    return f": {', '.join(told)}" if told else ""


def _by_size(diff: Diff) -> list[tuple[Factor, Fraction]]:
    return sorted(diff.effects_usd_micros.items(), key=lambda item: -abs(item[1]))


def levels(side: Side) -> dict[Factor, str]:
    """Each factor of a side for people."""
    made = [cell for (role, _), cell in side.cells.items() if role != ASIDE]
    lines = sum(cell.lines for cell in made) or 1
    fresh, cached, output = (sum(cell.tokens[at] for cell in made) / lines for at in range(3))
    return {
        Factor.PRICE: _prices(side.cells),
        Factor.MIX: _mix(side),
        Factor.INPUT: f"{fresh + cached:.0f} ({cached:.0f} cached)",
        Factor.OUTPUT: f"{output:.0f}",
        Factor.CACHE: f"{1 - side.worked / side.requests:.1%} of requests",
        Factor.ATTEMPTS: f"{_often(side, EXTRA) / (side.worked or 1):.3f} per worked request",
        Factor.CHECKS: f"{_often(side, ASIDE) / side.requests:.3f} per request",
        Factor.FAILURES: f"{1 - side.successes / side.requests:.1%} of requests",
    }


def as_dict(diff: Diff) -> dict[str, object]:
    """JSON-able; micro-USD as numbers, effects in the order of `Factor`."""
    return {
        "before": _side(diff.before),
        "after": _side(diff.after),
        "change_usd_micros": float(diff.change_usd_micros),
        "effects_usd_micros": {
            factor.value: float(effect) for factor, effect in diff.effects_usd_micros.items()
        },
        "sentence": sentence(diff),
    }


def dollars(usd_micros: float) -> str:
    """USD with a hundredth of a micro-USD: a mean is no whole number."""
    return f"{usd_micros / 1e6:.8f}"


def _side(side: Side) -> dict[str, object]:
    return {
        "name": side.name,
        "requests": side.requests,
        "successes": side.successes,
        "cost_usd_micros": float(side.cost_usd_micros),
        "cost_per_success_usd_micros": float(side.per_answer_usd_micros),
        "levels": {factor.value: told for factor, told in levels(side).items()},
    }


def _prices(cells: Mapping[Part, DiffCell]) -> str:
    """By tier what a million tokens cost: fresh input, cached input, output."""
    told = []
    for tier in sorted({tier for _, tier in cells}):
        own = [cell for (_, name), cell in cells.items() if name == tier]
        tokens = (sum(cell.tokens[at] for cell in own) for at in range(3))
        costs = (float(sum(cell.costs_usd_micros[at] for cell in own)) for at in range(3))
        rates = (cost / (count or 1) for cost, count in zip(costs, tokens, strict=True))
        told.append(f"{tier} {' / '.join(f'{rate:.3g}' for rate in rates)}")
    return "; ".join(told)


def _mix(side: Side) -> str:
    shares = {
        tier: cell.lines / side.worked for (role, tier), cell in side.cells.items() if role == FIRST
    }
    return ", ".join(f"{share:.0%} {tier}" for tier, share in sorted(shares.items()))


def _often(side: Side, role: str) -> int:
    return sum(cell.lines for (own, _), cell in side.cells.items() if own == role)
