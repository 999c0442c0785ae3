"""A tier's `price` in a settings file: its own numbers, or an entry of the price table."""

from decimal import Decimal
from typing import Annotated

from pydantic import Discriminator, Field, Tag

from core.money import Price
from core.settings.base import Frozen


class TierPrice(Frozen):
    """What a tier charges, in USD per million tokens; `cached_input` defaults to `input`."""

    input_usd_per_million_tokens: Decimal = Field(ge=0)
    output_usd_per_million_tokens: Decimal = Field(ge=0)
    cached_input_usd_per_million_tokens: Decimal | None = Field(None, ge=0)
    version: str = "unversioned"

    def price(self) -> Price:
        """The same as the noun that costs a `Usage`."""
        cached = self.cached_input_usd_per_million_tokens
        return Price(
            self.input_usd_per_million_tokens,
            self.input_usd_per_million_tokens if cached is None else cached,
            self.output_usd_per_million_tokens,
            self.version,
        )


class TablePrice(Frozen):
    """A tier that costs what the price table says of a model, at each moment."""

    table: str = Field(min_length=1)


def _price_kind(given: object) -> str:
    named = isinstance(given, TablePrice) or (isinstance(given, dict) and "table" in given)
    return "table_price" if named else "own_price"


AnyPrice = Annotated[
    Annotated[TierPrice, Tag("own_price")] | Annotated[TablePrice, Tag("table_price")],
    Discriminator(_price_kind),
]
