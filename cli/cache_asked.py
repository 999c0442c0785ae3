"""A request as `hansom cache explain` is given it, made into the call that a gateway would make.

Promises: what the gateway refuses is refused here, in its words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from cache.exact.key import exact_key
from cli.usage import UsageError
from core.call import Call, Endpoint
from core.settings.load import Settings
from deployments.gateway.admission import Admission


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The request as the command line says it; `fields` are more of its body, as JSON.

    `key` is the id of the virtual key, empty without one.
    """

    text: str
    tenant: str
    team: str = ""
    system: str | None = None
    model: str = "auto"
    risk: str = "normal"
    value: str = "normal"
    domain: str = ""
    fields: str = "{}"
    key: str = ""

    def call(self, settings: Settings) -> Call:
        """The call that the gateway would make of it; raises `UsageError`, `BadRequest`."""
        try:
            more = orjson.loads(self.fields)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"--fields: is not JSON: {error}.") from None
        if not isinstance(more, dict):
            raise UsageError("--fields: must be a JSON object, say '{\"max_tokens\": 256}'.")
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, {"role": "user", "content": self.text}]
        body = {"model": self.model, "messages": messages, "temperature": 0, **more}
        headers = {
            "x-hansom-risk": self.risk,
            "x-hansom-value": self.value,
            "x-hansom-domain": self.domain,
            "x-hansom-team": self.team,
        }
        raw = orjson.dumps(body)
        call = Admission(settings).admit(Endpoint.CHAT, raw, headers, "explain", 0.0)
        return replace(call, tenant=self.tenant, key=self.key or self.tenant)


def exact_key_of(call: Call, owner: str, version: str) -> str:
    """Where the gateway keeps the answer to this very call (`deployments.gateway.pipeline`)."""
    return exact_key(
        call.body,
        endpoint=call.endpoint.value,
        tenant=owner,
        policy_version=f"{version}:{call.risk}:{call.value}:{call.domain}",
    )
