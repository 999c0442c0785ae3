"""Run the scaling policy in Ray Serve's controller, and share records with gateways.

Serve pickles this module by value into the controller and makes one `TierPolicy` for each tier; all
else is imported there. The shelf is the key-value store of Ray's own control service, in which
Serve keeps its state, too: it is there wherever Ray is, and outlives the controller. With a Ray
head that is lost it is lost, unless Ray's control service has a Redis of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.experimental import internal_kv

from autoscale.live.adapter import Adapter
from core import log

_NAMESPACE = "hansom"


class RayKeyValue:
    """The `record_store.KeyValue` of the running Ray cluster; any process of it may have one."""

    def get(self, key: str) -> bytes | None:
        """What lies at `key`."""
        found: bytes | None = internal_kv._internal_kv_get(key, namespace=_NAMESPACE)
        return found

    def put(self, key: str, value: bytes) -> None:
        """Put `value` there."""
        internal_kv._internal_kv_put(key, value, overwrite=True, namespace=_NAMESPACE)

    def delete(self, key: str) -> None:
        """Take it away."""
        internal_kv._internal_kv_del(key, namespace=_NAMESPACE)

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin with `prefix`."""
        found: list[bytes] = internal_kv._internal_kv_list(prefix, namespace=_NAMESPACE)
        return [key.decode() for key in found]


class TierPolicy:
    """Serve's class policy: `policy_kwargs` in, then one call for each tick. Never raises."""

    def __init__(
        self,
        tier: str = "",
        rules: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        log_level: str = "info",
        budget: Mapping[str, Any] | None = None,
    ) -> None:
        log.set_up(log_level)
        self._adapter = Adapter(tier, rules or {}, profile or {}, RayKeyValue(), budget)

    def __call__(self, ctx: Any) -> tuple[int, dict[str, Any]]:
        """Replicas wanted, and nothing for Serve to keep."""
        return self._adapter(ctx)
