"""Names that the processes share: Serve applications and deployments, paths, and headers.

Promises:
- Importing this module loads no engine and no database library, so that a process which only
  calls another one stays small.
"""

from ray import serve
from ray.serve.handle import DeploymentHandle

ENGINE_DEPLOYMENT = "Engine"


# Not beside their class: who only calls the ledger would load its database library with it.
LEDGER_APP = "ledger"


LEDGER_DEPLOYMENT = "Ledger"


def tier_app(tier: str) -> str:
    """The Serve application that holds one tier."""
    return f"tier-{tier}"


def handle_of(deployment: str, app: str) -> DeploymentHandle:
    """The handle of a deployment that may not be there yet: parts start in any order."""
    return serve.get_deployment_handle(deployment, app, _check_exists=False)


ROUTER_APP = "router"


ROUTER_DEPLOYMENT = "Router"


GATEWAY_APP = "gateway"


GATEWAY_DEPLOYMENT = "Gateway"


USAGE_PATH = "/hansom/usage"


CAPABILITIES_PATH = "/hansom/capabilities"


LANE_HEADER = "x-hansom-lane"


# vLLM's own name for a prompt that is too long, counted in tokens or, when far too long, in text.
LENGTH_PARAMS = frozenset({"input_tokens", "input_text"})
