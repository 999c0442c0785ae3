"""Count outcomes, and bound the share that they prove.

Promises: pure; the bounds are those of Clopper and Pearson (Biometrika 26, 1934), exact for
independent outcomes, asked as tests: nothing is solved for. One more wrong outcome never makes a
share "below", nor one that is "above" not so, short of `ENOUGH`.
Not covered: tests repeated after every outcome, which miss more often than one test does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

# A share is below a limit when its one-sided upper bound is: for 1 %, 299 outcomes and none wrong.
# It is above when the lower bound is.
LOOSEN_MISS, TIGHTEN_MISS = 0.05, 0.01
# In units of 1 / limit: so many outcomes, and their mean alone tells that the share is above.
ENOUGH = 5
# The least wrong outcomes that prove anything: one may be the comparison's own mistake.
LEAST_WRONG = 2


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes, and the wrong ones among them."""

    checked: int = 0
    wrong: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.checked + other.checked, self.wrong + other.wrong)

    @property
    def halved(self) -> Tally:
        """Half of each; half a wrong one is one, so that forgetting does not prove a share low."""
        return Tally(self.checked // 2, (self.wrong + 1) // 2)

    def below(self, share: float) -> bool:
        """Whether the upper bound of the wrong share, at `LOOSEN_MISS`, is below it."""
        return at_most(self.wrong, self.checked, share) < LOOSEN_MISS

    def above(self, share: float) -> bool:
        """Whether the lower bound at `TIGHTEN_MISS`, or the mean of `ENOUGH`, is above it."""
        if self.wrong < LEAST_WRONG or self.wrong <= share * self.checked:
            return False
        if self.checked * share >= ENOUGH:
            return True
        return 1 - at_most(self.wrong - 1, self.checked, share) < TIGHTEN_MISS


@lru_cache(maxsize=8192)
def at_most(wrong: int, checked: int, share: float) -> float:
    """P(X <= wrong) for X binomial in `checked` trials of chance `share` in (0, 1).

    Less than a, it says that the upper bound at the miss rate a is below `share`.
    """
    if wrong >= checked:
        return 1.0
    odds = math.log(share) - math.log1p(-share)
    term, total = checked * math.log1p(-share), 0.0
    for at in range(wrong + 1):
        total += math.exp(term)
        term += odds + math.log((checked - at) / (at + 1))
    return min(total, 1.0)
