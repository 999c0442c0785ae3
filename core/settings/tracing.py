"""Settings of tracing: the collector's address and the share of requests to trace."""

from pydantic import Field

from core.settings.base import Frozen


class TracingSettings(Frozen):
    """Traces over OTLP/HTTP. `otlp_endpoint` None means that nothing is traced.

    `sample_ratio` is the share of requests that are traced, of those that do not continue a
    caller's trace: there the caller's own choice holds.
    """

    otlp_endpoint: str | None = Field(None, pattern=r"^https?://[^\s/]+")
    sample_ratio: float = Field(1.0, ge=0, le=1)
    service_name: str = Field("hansom", min_length=1)

    @property
    def traces_url(self) -> str | None:
        """The collector's address for traces: `/v1/traces` is added to a bare endpoint."""
        if self.otlp_endpoint is None:
            return None
        base = self.otlp_endpoint.rstrip("/")
        return base if base.endswith("/v1/traces") else f"{base}/v1/traces"
