"""Money in integer micro-USD, because floats drift and a bill must be re-computable.

One USD is 1,000,000 micro-USD. A price of 0.15 USD per million tokens is therefore
0.15 micro-USD per token; prices are kept as `Decimal` and rounded once, half up, per line.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from core.call import Usage

USD_MICROS_PER_USD = 1_000_000
# Of every cost and growth by the month, as bills of requests are usually told; a year has 365.
DAYS_PER_MONTH = 30


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens of each kind, which equals micro-USD per token."""

    input_usd_per_million_tokens: Decimal
    cached_input_usd_per_million_tokens: Decimal
    output_usd_per_million_tokens: Decimal
    version: str

    def cost_usd_micros(self, usage: Usage) -> int:
        """Cost of `usage` in micro-USD, rounded half up once over the whole line."""
        exact = (
            usage.fresh_input_tokens * self.input_usd_per_million_tokens
            + usage.cached_input_tokens * self.cached_input_usd_per_million_tokens
            + usage.output_tokens * self.output_usd_per_million_tokens
        )
        return int(exact.to_integral_value(rounding=ROUND_HALF_UP))


def usd(usd_micros: int) -> str:
    """Micro-USD as a plain decimal USD string: `1500` becomes `0.001500`."""
    sign = "-" if usd_micros < 0 else ""
    whole, part = divmod(abs(usd_micros), USD_MICROS_PER_USD)
    return f"{sign}{whole}.{part:06d}"
