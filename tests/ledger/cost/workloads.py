"""Workloads and prices for tests of the cost model."""

from fractions import Fraction
from pathlib import Path

from hypothesis import strategies as st

from core.settings.prices import ApiVersion, HostedVersion, load_prices
from ledger.cost.model import ModelPart, Tokens, Workload

TABLE = load_prices(Path(__file__).parents[3] / "config" / "prices.yaml")


NOW_S = 1_735_600_000.0  # 2024-12-30


EXAMPLE = Tokens(Fraction(500), Fraction(200))


def api(fresh: object = "2.5", output: object = "10", **more: object) -> ApiVersion:
    return ApiVersion.model_validate(
        {
            "from": "2024-01-01",
            "source": "test",
            "input_usd_per_million_tokens": fresh,
            "output_usd_per_million_tokens": output,
        }
        | more
    )


def hosted(**changes: object) -> HostedVersion:
    return HostedVersion.model_validate(
        {
            "from": "2024-01-01",
            "source": "test",
            "gpu_usd_per_hour": 4,
            "gpus": 4,
            "prefill_tokens_per_s": 4000,
            "decode_tokens_per_s": 1500,
            "throughput_source": "test",
            "utilisation": "0.5",
            "engineering_usd_per_month": 3000,  # 100 a day
        }
        | changes
    )


def workload(rates: ApiVersion | HostedVersion, requests: int = 1_000_000) -> Workload:
    return Workload(Fraction(requests), (ModelPart("m", rates, EXAMPLE),))


RATES = st.builds(api, st.decimals("0.01", 100, places=2), st.decimals("0.01", 100, places=2))


HOSTS = st.builds(
    lambda gpu, gpus, speed, used, paid: hosted(
        gpu_usd_per_hour=gpu,
        gpus=gpus,
        prefill_tokens_per_s=speed * 3,
        decode_tokens_per_s=speed,
        utilisation=used,
        engineering_usd_per_month=paid,
    ),
    st.decimals(0, 20, places=2),
    st.integers(1, 8),
    st.integers(10, 20_000),
    st.decimals("0.05", 1, places=2),
    st.integers(0, 50_000),
)


SHARES = st.fractions(0, 1, max_denominator=100)
