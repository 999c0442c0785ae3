"""Find the volume from which self-hosting is cheaper than an API.

Promised: exact and monotone. Below `attempts_per_day` the API is strictly cheaper, at it both cost
the same; a dearer API never raises it, dearer GPUs or engineering never lower it.
Not covered: that the two models may not be as good as one another.

With `c` USD an attempt at the API, `R` USD a day for a replica, `E` USD a day of engineering and
room for `K` attempts a day in a replica, k replicas are needed from (k-1)K to kK attempts and cost
kR + E. They are as cheap as the API at (kR + E) / c, which lies within their room when
k (cK - R) >= E. So the first k that does is `ceil(E / (cK - R))`, and there is none when cK <= R: a
replica that is full then still costs more than the API.

The next replica may cost more than it saves at first: just above kK attempts, k + 1 replicas are
no dearer than the API when k (cK - R) >= R + E. `for_good_attempts_per_day` is from where it holds.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from core.money import DAYS_PER_MONTH
from core.settings.prices import ApiVersion, HostedVersion
from ledger.cost.model import SECONDS_PER_DAY, Tokens, api_usd, busy_s


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where both cost the same, None for never; `reason` says it in words.

    `replicas` and `gpus` are those that carry the volume. From `for_good_attempts_per_day` on the
    API is never cheaper again; between the two it is, after each replica that is added.
    """

    attempts_per_day: Fraction | None
    tokens_per_day: Fraction | None
    replicas: int | None
    gpus: int | None
    for_good_attempts_per_day: Fraction | None
    usd_per_day: Fraction | None
    reason: str


def break_even(
    api: ApiVersion, hosted: HostedVersion, tokens: Tokens, min_replicas: int = 1
) -> BreakEven:
    """The volume of such attempts from which `hosted` is no dearer than `api`.

    Raises `ValueError` when an attempt has no work in it: nothing can be compared then.
    """
    work_s = busy_s(hosted, tokens)
    if work_s == 0:
        raise ValueError("an attempt needs tokens to compare an API with GPUs")
    api_cost = api_usd(api, tokens)
    replica = hosted.replica_usd_per_s * SECONDS_PER_DAY
    engineering = Fraction(hosted.engineering_usd_per_month) / DAYS_PER_MONTH
    room = SECONDS_PER_DAY * Fraction(hosted.utilisation) / work_s
    margin = api_cost * room - replica
    first = _first_replicas(engineering, margin, min_replicas)
    if first is None:
        return _never(api_cost, replica / room, hosted)
    lasting = _first_replicas(replica + engineering, margin, min_replicas)
    at = _crossing(first, replica, engineering, api_cost)
    return BreakEven(
        attempts_per_day=at,
        tokens_per_day=at * tokens.total,
        replicas=first,
        gpus=first * hosted.gpus,
        for_good_attempts_per_day=(
            None if lasting is None else _crossing(lasting, replica, engineering, api_cost)
        ),
        usd_per_day=first * replica + engineering,
        reason=_reason(first, min_replicas, hosted),
    )


def _first_replicas(fixed: Fraction, margin: Fraction, least: int) -> int | None:
    """The smallest k >= `least` with k * margin >= fixed."""
    if margin > 0:
        return max(least, ceil(fixed / margin))
    return least if margin == fixed == 0 else None


def _crossing(replicas: int, replica: Fraction, engineering: Fraction, api: Fraction) -> Fraction:
    whole = replicas * replica + engineering
    return whole / api if whole else Fraction(0)


def _never(api: Fraction, hosted_full: Fraction, hosted: HostedVersion) -> BreakEven:
    if api < hosted_full:
        reason = (
            f"never: at {float(hosted.utilisation):.0%} utilisation the GPUs alone cost "
            f"{float(hosted_full / api):.1f} times the API"
            if api
            else "never: the API costs nothing"
        )
    else:
        reason = "never: the GPUs alone cost what the API does, and engineering comes on top"
    return BreakEven(None, None, None, None, None, None, reason)


def _reason(replicas: int, least: int, hosted: HostedVersion) -> str:
    if replicas > least:
        below = (replicas - 1) * hosted.gpus
        return f"never below the capacity of {_gpus(below)}: fewer do not earn the engineering"
    return f"within the capacity of {_gpus(replicas * hosted.gpus)}"


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"
