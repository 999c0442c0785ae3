"""Tracing's settings: off by default, and an endpoint in either of its two forms."""

import pytest
from pydantic import ValidationError

from core.settings.tracing import TracingSettings


def test_nothing_is_traced_by_default() -> None:
    assert TracingSettings().traces_url is None


@pytest.mark.parametrize("given", ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"])
def test_the_endpoint_is_a_base_or_the_whole_address(given: str) -> None:
    assert TracingSettings(otlp_endpoint=given).traces_url == "http://c:4318/v1/traces"


@pytest.mark.parametrize(
    "wrong",
    [
        {"otlp_endpoint": "c:4318"},
        {"otlp_endpoint": "grpc://c:4317"},
        {"otlp_endpoint": ""},
        {"sample_ratio": 1.1},
        {"sample_ratio": -0.1},
        {"service_name": ""},
    ],
)
def test_what_could_not_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TracingSettings.model_validate(wrong)
