"""Which prices of lines are known from the settings, by tier and price version.

Promises: a price without a version is not known, since it may have been another when a line was
written; `ledger.reports.rates` then finds it from the lines.
"""

from core.money import Price
from core.settings.load import Settings
from core.settings.prices import load_prices
from core.settings.tier_price import TierPrice
from ledger.reports.rates import Known

_UNVERSIONED = "unversioned"


def known_prices(settings: Settings) -> Known:
    """Those that tiers have themselves, and every version of the price table."""
    own = {
        (tier.name, tier.price.version): tier.price.price()
        for tier in settings.tiers
        if isinstance(tier.price, TierPrice) and tier.price.version != _UNVERSIONED
    }
    listed: dict[str, Price] = {}
    if settings.prices is not None:
        table = load_prices(settings.prices)
        for model, entry in table.models.items():
            prices = (table.at(model, version.starts_s) for version in entry.versions)
            listed |= {price.version: price for price in prices}
    return lambda tier, version: own.get((tier, version)) or listed.get(version)
