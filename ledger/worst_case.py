"""The most that a call may take, so that it can be reserved before anything is known.

The estimate, and why it is an upper bound:
- A token of a byte-level vocabulary covers at least one byte of text, so a prompt has at most as
  many tokens as its JSON has bytes (JSON escapes only add). Chat templates add markers: 64 tokens a
  request and 16 a message are allowed for. Offered tools are counted twice, because templates print
  their JSON with indents. Nor has it more than the tier's context, where the settings tell that.
- An answer has at most `max_tokens`, times `n`, times the prompts of one body; without such a limit
  `accounts.reserve_output_tokens`, or the tier's context where that is smaller.
- Money is that of the dearest tier that may answer; under `cascade` that of the cheaper answer, its
  second look and the dearer answer together.
Not covered, and counted when it is known: an answer without `max_tokens` longer than
`accounts.reserve_output_tokens`; images; what an attempt made before it failed and another took
over; a check of a semantic hit that ends after its call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

import orjson

from core.call import Call, Risk
from core.settings import Settings, SimulatedEngine, Tier
from ledger.limits import Amount

AUTO = "auto"
_REQUEST_TOKENS = 64
_TURN_TOKENS = 16
_PROMPTS = ("messages", "prompt", "documents")
_TOOLS = ("tools", "functions")
_LIMITS = ("max_tokens", "max_completion_tokens")
# The judge's own words and the 4,000 characters of the prompt that it quotes.
_JUDGE_TOKENS = 512
_JUDGE_PROMPT_TOKENS = 16_000


def worst_case(settings: Settings, call: Call, body_bytes: int, wall_s: float) -> Amount:
    """The most that `call` costs and takes, at the prices of `wall_s`.

    `body_bytes` is the length of the body as it came. Raises `core.prices.NoPrice`.
    """
    size = _Size(settings, call, prompt_tokens(call.body, body_bytes), wall_s)
    asks = [size.ask(tier) for tier in _tiers(settings, call)]
    free = call.requested == AUTO and call.risk is not Risk.HIGH
    if free and len(asks) > 1 and "cascade" in settings.router.strategies:
        return size.cascade(asks)
    worst = _most(asks)
    if free and "llm" in settings.router.strategies:
        worst += size.judge()
    return worst


def embedding_worst_case(texts: int, body_bytes: int) -> Amount:
    """Of `/v1/embeddings`, which costs nothing: a token a byte, and two marks for each text."""
    return Amount(0, body_bytes + 2 * texts)


def prompt_tokens(body: Mapping[str, object], body_bytes: int) -> int:
    """An upper bound of the tokens of a prompt with all that a template adds."""
    turns = body.get("messages") or body.get("prompt")
    count = len(turns) if isinstance(turns, list) else 1
    try:
        text = len(orjson.dumps([body.get(name) for name in _PROMPTS]))
        tools = len(orjson.dumps([body.get(name) for name in _TOOLS]))
    except TypeError:  # nested too deeply for orjson to write what it has read
        text, tools = body_bytes, body_bytes
    offers = any(body.get(name) for name in _TOOLS)
    return text + (2 * tools if offers else 0) + _TURN_TOKENS * count + _REQUEST_TOKENS


def output_tokens(settings: Settings, call: Call, tier: Tier) -> int:
    """An upper bound of the tokens of an answer, all its choices together."""
    told = [value for name in _LIMITS if isinstance(value := call.body.get(name), int)]
    choices = call.body.get("n")
    several = (choices if isinstance(choices, int) else 1) * _prompts(call)
    if isinstance(tier.engine, SimulatedEngine) and not told:
        return tier.engine.output_tokens * several
    most = max(told) if told else settings.accounts.reserve_output_tokens
    return min(most, _context_tokens(tier) or most) * several


def _context_tokens(tier: Tier) -> int | None:
    """What prompt and answer have room in together, where the settings say it."""
    if isinstance(tier.engine, SimulatedEngine):
        return tier.engine.context_tokens
    told = tier.engine.args.get("max_model_len")
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _tiers(settings: Settings, call: Call) -> tuple[Tier, ...]:
    """The tiers that may answer: the one that is named, the dearest of a risky call, else any."""
    named = [tier for tier in settings.tiers if call.requested in (tier.name, tier.model)]
    if named:
        return tuple(named)
    return settings.tiers[-1:] if call.risk is Risk.HIGH else settings.tiers


@dataclass(frozen=True, slots=True)
class _Size:
    """A call as it is billed: `prompt` is its upper bound in tokens."""

    settings: Settings
    call: Call
    prompt: int
    wall_s: float

    def ask(self, tier: Tier) -> Amount:
        """One question to one tier, which refuses a prompt that its context has no room for."""
        answer, context = output_tokens(self.settings, self.call, tier), _context_tokens(tier)
        prompt = self.prompt if context is None else min(self.prompt, context * _prompts(self.call))
        return self.cost(tier, prompt, answer)

    def cascade(self, asks: list[Amount]) -> Amount:
        """A cheaper answer, perhaps a second one, the dearest tier's reading of it, its answer."""
        cascade, tiers = self.settings.router.cascade, self.settings.tiers
        cheaper = _most(asks[:-1])
        total = cheaper + _most(asks)
        if cascade.second_sample:
            total += cheaper
        if cascade.perplexity is not None:
            read = max(output_tokens(self.settings, self.call, tier) for tier in tiers)
            total += self.cost(tiers[-1], self.prompt + read, 1)
        return total

    def judge(self) -> Amount:
        """The question that the strategy `llm` puts to the cheapest tier, and its one token."""
        asked = min(self.prompt, _JUDGE_PROMPT_TOKENS) + _JUDGE_TOKENS
        return self.cost(self.settings.tiers[0], asked, 1)

    def cost(self, tier: Tier, prompt: int, answer: int) -> Amount:
        """Rounded up; a prompt token costs at most the dearer of fresh and cached."""
        price = self.settings.price(tier, self.wall_s)
        fed = max(price.input_usd_per_million_tokens, price.cached_input_usd_per_million_tokens)
        exact: Decimal = prompt * fed + answer * price.output_usd_per_million_tokens
        return Amount(int(exact.to_integral_value(rounding=ROUND_UP)), prompt + answer)


def _most(asks: list[Amount]) -> Amount:
    """The most money and the most tokens, whichever tiers they are of."""
    return Amount(max(one.usd_micros for one in asks), max(one.tokens for one in asks))


def _prompts(call: Call) -> int:
    """How many prompts a completion's body has; token ids are one prompt."""
    prompt = call.body.get("prompt")
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)
