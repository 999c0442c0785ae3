"""The gateway's deployment: put the real parts of the request path together."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from accounts.redis_store import RedisAccounts
from accounts.reserve import Accounts
from autoscale.live.ray_policy import RayKeyValue
from autoscale.policy.profile import EngineProfile
from cache.exact.answers import ExactCache
from cache.exact.redis_store import RedisStore
from cache.flight.flights import Flights
from cache.flight.redis_flights import FlightTiming, RedisFlights
from core import log
from core.call import Call, Endpoint
from core.ids import new_id
from core.log import SystemClock
from core.metrics import Metrics
from core.settings.load import Settings, Tier
from deployments.gateway.admission import Admission
from deployments.gateway.attempt import Recorder
from deployments.gateway.backends.capabilities import KnownCapabilities
from deployments.gateway.backends.choice import ReplicaPicker, pace_of
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.tier import ServeReplicas, TierReplicas
from deployments.gateway.backends.wake_queue import WakeQueue
from deployments.gateway.cascade.second_opinion import SecondOpinion
from deployments.gateway.cascade.small_model_verdict import SmallModelVerdict
from deployments.gateway.cors import with_cors
from deployments.gateway.dispatch import Dispatcher, load_scorer, make_plan
from deployments.gateway.embeddings import Embeddings
from deployments.gateway.endpoint import Application, Generation, Routes
from deployments.gateway.feedback import Feedback
from deployments.gateway.lookup.error_budgets import RedisBudgets
from deployments.gateway.lookup.semantic import Semantic
from deployments.gateway.lookup.verdicts import Verdicts
from deployments.gateway.outlook import Record, Scales, families
from deployments.gateway.pipeline import Pipeline
from deployments.gateway.scrape import Scraper
from deployments.gateway.tracing.export import Traced, Tracing
from deployments.machine import environment, redis_check
from deployments.names import (
    ENGINE_DEPLOYMENT,
    GATEWAY_APP,
    GATEWAY_DEPLOYMENT,
    LEDGER_APP,
    LEDGER_DEPLOYMENT,
    ROUTER_APP,
    ROUTER_DEPLOYMENT,
    handle_of,
    tier_app,
)
from deployments.scaling import profiles_of, scales, sleeps
from ledger.path.open_attempts import OpenAttemptWriter
from ledger.path.redis_open_attempts import RedisOpenList
from ledger.path.redis_stream import RedisStream
from ledger.path.spool import Spool
from ledger.path.writer import StreamWriter
from router.policy.arms import RoutingPlan

_READY_TIMEOUT_S = 2.0
_EMBED_TIMEOUT_S = 30.0
_FEEDBACK_TIMEOUT_S = 5.0
_TRACES_TIMEOUT_S = 3.0


class Gateway:
    """A replica of the gateway. It holds no model and no state that another replica lacks."""

    def __init__(
        self,
        settings: Settings,
        home: Path,
        redis_url: str,
        profiles: Mapping[str, EngineProfile] | None = None,
    ) -> None:
        environment.collect_garbage_seldom()
        log.set_up(settings.log_level)
        self._settings = settings
        self._home = home
        self._redis_url = redis_url
        self._profiles = profiles or profiles_of(settings)

    async def __serve_build_asgi_app__(self) -> Any:
        """Build the request path, in the event loop that will run it."""
        settings, clock = self._settings, SystemClock()
        scorer = load_scorer(settings)
        router_version = scorer.version if scorer else settings.router.strategy
        self._metrics = Metrics()
        traced = settings.tracing.otlp_endpoint is not None
        self._tracing = Tracing(settings.tracing, self._metrics) if traced else None
        self._connections = Connections()
        self._shelf, self._id = RayKeyValue(), new_id()
        self._tiers = {tier.name: self._replicas_of(tier) for tier in settings.tiers}
        for replicas in self._tiers.values():
            replicas.running()  # begins to listen, so that the first request finds them
        self._router = handle_of(ROUTER_DEPLOYMENT, ROUTER_APP)
        self._store = RedisStore(self._redis_url)
        await redis_check.check(self._store)
        self._ledger = StreamWriter(
            RedisStream(self._redis_url, settings.ledger.stream), Spool(self._home / "spool")
        )
        self._ledger.start()
        listed = RedisOpenList(
            self._redis_url, settings.ledger.stream, self._id, settings.ledger.gateway_lease_s
        )
        self._open = OpenAttemptWriter(listed, alive_every_s=settings.ledger.gateway_lease_s / 5)
        self._open.start()
        self._accounts = Accounts(
            settings, RedisAccounts(self._redis_url), clock, self._metrics, self._ledger
        )
        self._accounts.start()
        self._recorder = recorder = Recorder(
            self._metrics,
            self._ledger,
            clock,
            settings,
            router_version,
            accounts=self._accounts,
            open=self._open,
        )
        plan = make_plan(settings, scorer)
        self._scales = self._make_scales(plan)
        self._capabilities = KnownCapabilities(settings.tiers, self._tiers)
        self._capabilities.start()
        board = Dispatcher(
            plan,
            self._router,
            self._tiers,
            settings.router.timeout_s,
            self._metrics,
            SmallModelVerdict(
                recorder, self._tiers[settings.tiers[0].name], settings.router.timeout_s
            ),
            self._scales,
            self._capabilities,
        )
        cache = ExactCache(
            self._store,
            clock,
            timeout_s=settings.cache.timeout_s,
            lookup_timeout_s=settings.cache.lookup_timeout_s,
            ttl_jitter=settings.cache.ttl_jitter,
        )
        version = answer_version(settings, router_version)
        flights = self._make_flights(clock)
        self._semantic = self._make_semantic(recorder, cache, version)
        self._pipeline = Pipeline(
            recorder, board, cache, self._tiers, version, flights, self._semantic
        )
        self._admission = Admission(settings, self._accounts)
        self._scraper = Scraper(self._handles(), self._decisions)
        return self._application(clock)

    def _replicas_of(self, tier: Tier) -> TierReplicas:
        wake_queue = None
        if sleeps(tier):
            engine = handle_of(ENGINE_DEPLOYMENT, tier_app(tier.name))
            # Any call that Serve queues has it start a replica.
            wake_queue = WakeQueue(tier.name, self._shelf, self._id, engine.where.remote)
        return TierReplicas(
            tier.name,
            ServeReplicas(tier.name),
            self._connections,
            self._settings.limits.stall_timeout_s,
            choice=ReplicaPicker(
                pace_of(tier, self._profiles[tier.name]), self._settings.server.gateway_replicas
            ),
            wake_queue=wake_queue,
        )

    def _make_scales(self, plan: RoutingPlan) -> Scales | None:
        """What the router is to know of tiers that scale; None where none does."""
        if not any(scales(tier) for tier in self._settings.tiers):
            return None
        cut_off = max(plan.main.thresholds, default=1.0)
        made = Scales(self._shelf, self._settings.tiers, self._tiers, self._profiles, cut_off)
        made.start()
        return made

    async def _decisions(self) -> Iterable[Metric]:
        return families(await self.scale() if self._scales else {})

    async def scale(self) -> dict[str, Record]:
        """What the policy of each tier that scales last saw and decided."""
        return await self._scales.records() if self._scales else {}

    def _make_flights(self, clock: SystemClock) -> Flights | None:
        settings = self._settings.cache
        if not settings.single_flight:
            return None
        timing = FlightTiming(timeout_s=settings.timeout_s, lease_s=settings.flight_lease_s)
        return Flights(RedisFlights(self._redis_url, clock, timing))

    def _make_semantic(
        self, recorder: Recorder, cache: ExactCache, version: str
    ) -> Semantic | None:
        settings = self._settings
        if not (settings.cache.semantic and settings.cache.exact):
            return None
        look = SecondOpinion(recorder, self._tiers)

        async def again(call: Call, tier: str) -> str | None:
            return await look.again(call, settings.tier(tier))

        budgets = RedisBudgets(self._redis_url, recorder.clock)
        verdicts = None
        if settings.cache.verifies:
            dearest = self._tiers[settings.tiers[-1].name]
            verdicts = Verdicts(recorder, dearest, look.serves_too)
        return Semantic(recorder, self._router, cache, budgets, version, again, verdicts)

    def _application(self, clock: SystemClock) -> Any:
        limit = self._settings.limits.max_body_bytes
        chat, completion = (
            Generation(endpoint, self._admission, self._pipeline, self._metrics, clock, limit)
            for endpoint in (Endpoint.CHAT, Endpoint.COMPLETION)
        )
        embeddings = Embeddings(
            self._recorder, self._router, _EMBED_TIMEOUT_S,
            self._admission, self._metrics, clock, limit,
        )  # fmt: skip
        feedback = Feedback(
            self._settings, self._router, self._semantic, _FEEDBACK_TIMEOUT_S,
            self._admission, self._metrics, clock, limit,
        )  # fmt: skip
        routes = Routes(self._settings, self.ready, self._scraper.text, self._accounts, self.scale)
        app: ASGIApp = Application(chat, completion, embeddings, feedback, routes, self._lifespan)
        app = with_cors(app, self._settings.server.cors)
        return Traced(app, self._tracing) if self._tracing else app

    def _handles(self) -> dict[str, DeploymentHandle]:
        """Every deployment that has metrics."""
        handles = {
            GATEWAY_APP: handle_of(GATEWAY_DEPLOYMENT, GATEWAY_APP),
            ROUTER_APP: self._router,
            LEDGER_APP: handle_of(LEDGER_DEPLOYMENT, LEDGER_APP),
        }
        for tier in self._settings.tiers:
            app = tier_app(tier.name)
            handles[app] = handle_of(ENGINE_DEPLOYMENT, app)
        return handles

    @asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncIterator[None]:
        """Close everything when Serve retires the replica; the ledger last."""
        try:
            yield
        finally:
            await self._pipeline.close()
            await self._capabilities.close()
            if self._scales is not None:
                await self._scales.close()
            for replicas in self._tiers.values():
                if replicas.wake_queue is not None:
                    await replicas.wake_queue.close()
            await self._recorder.late.close()
            await self._connections.close()
            await self._store.close()
            await self._accounts.close()
            await self._ledger.close()
            await self._open.close()
            if self._tracing is not None:
                await self._tracing.close(_TRACES_TIMEOUT_S)

    async def metrics_text(self) -> str:
        """This replica's metrics in Prometheus text format."""
        self._metrics.in_flight.set(self._admission.in_flight)
        self._metrics.accounts_pending.set(self._accounts.pending)
        stats = self._ledger.stats
        self._metrics.ledger_pending.set(
            stats.recorded - stats.sent - stats.spooled - stats.dropped
        )
        for name, replicas in self._tiers.items():
            self._metrics.tier_in_flight.labels(name).set(replicas.in_flight)
            self._metrics.tier_replicas.labels(name).set(len(replicas.running()))
            held = replicas.wake_queue.calls if replicas.wake_queue else 0
            self._metrics.tier_held.labels(name).set(held)
        return self._metrics.text()

    async def ready(self) -> dict[str, Any]:
        """Each part's state. Redis and the ledger may be down: requests are still answered."""
        router, ledger, redis = await asyncio.gather(
            _answers(self._router.version.remote()),
            _answers(self._handles()[LEDGER_APP].drained.remote()),
            _answers(self._store.ping()),
        )
        tiers = {name: len(replicas.running()) for name, replicas in self._tiers.items()}
        up = [count or sleeps(self._settings.tier(name)) for name, count in tiers.items()]
        return {
            "ready": router and all(up),
            "tiers": {name: {"running_replicas": count} for name, count in tiers.items()},
            "router": router,
            "ledger": ledger,
            "redis": redis,
        }


def answer_version(settings: Settings, router_version: str) -> str:
    """What retires cached answers when it changes: models, engines, prices, and the router.

    Of a tier that the price table prices it is all of its versions, so that an edited table retires
    them, and a version that begins while the gateway runs does not.
    """
    tiers = [
        tier.model_dump_json(include={"name", "model", "source", "quantization", "engine", "price"})
        for tier in settings.tiers
    ]
    tiers += [version for tier in settings.tiers for version in settings.price_versions(tier)]
    policy = settings.router.model_dump_json(
        include={"strategy", "threshold", "promise", "cascade", "arms", "tenants"}
    )
    return hashlib.sha256("\n".join([*tiers, policy, router_version]).encode()).hexdigest()[:16]


async def _answers(question: Any) -> bool:
    """Whether an awaitable ends well in time."""
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            await question
    except Exception:  # Redis, Ray or a timeout: all mean no
        return False
    return True
