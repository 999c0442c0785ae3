"""The card says every figure that it is given."""

from cache.semantic.verify import Thresholds
from training.cache.card import Mark, PairMark, render


def test_every_level_and_set_is_told():
    pairs = {"probes": PairMark(324, 0.213, 0.01, 0.908, 0.004)}
    mark = Mark("0.025", Thresholds(0.8368, 0.955), pairs, {"banking77": (0.521, 0.0139)})
    card = render("v9", [mark], {"probes": 1.0, "negation_cannot": 0.02})
    assert "v9" in card
    assert "### 0.025: pair 0.8368, consensus 0.955" in card
    assert "| probes | 324 | 21.3% | 1.0% | 90.8% | 0.4% |" in card
    assert "| banking77 stream, cold | | 52.1% | 1.39% | | |" in card
    assert "CC BY-SA 4.0 | 0.02 |" in card
