"""Calculate the most that a call may take, so that it can be reserved in advance.

The estimate, and why it is an upper bound:
- A token of a byte-level vocabulary covers at least one byte of text, so a prompt has at most as
  many tokens as its body has bytes, in the Unicode form in which it is longest: tokenizers
  normalise (JSON escapes only add). What a chat template adds is allowed for: 16 tokens a message,
  `accounts.reserve_template_tokens` a request; offered tools count twice, because templates print
  their JSON with indents, and 512 tokens for what explains them. Each part of a message that is no
  text counts `_MEDIA_TOKENS`, and what it carries in URLs nothing. Nor has a prompt more than the
  tier's context, where the settings tell that. It counts once, however many choices are made of it.
- A choice has at most the output that the client names. Where it names none, a completion has
  OpenAI's 16, and a chat what the engine is told (`output_cap`): `accounts.reserve_output_tokens`,
  or, where prompt and that might not fit into the context, the context. All times the choices and
  the prompts of one body.
- Money is that of the dearest tier that may answer, at the dearer price of the call's begin and its
  end; under `cascade` that of the answers of all cheaper tiers, their second looks and the dearest
  answer together.
- With `cache.verify` a chat may cost one question about two prompts more, to the dearest tier.
- A second try after one that failed on its way reserves again (`accounts.reserve`).
Not covered: media that a tier of unknown context turns into more tokens than that; templates that
add more than the settings say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, Literal
from unicodedata import normalize

import orjson

from accounts.limits import Amount
from core.call import Call, Endpoint, Risk
from core.settings.load import Settings, SimulatedEngine, Tier

AUTO = "auto"
_TURN_TOKENS = 16
_TOOLS = ("tools", "functions")
_TOOLS_TOKENS = 512
# The largest image of Qwen2-VL and its successors.
_MEDIA_TOKENS = 16_384
_MEDIA = ("image_url", "input_audio", "audio_url", "video_url")
# OpenAI's default for completions, and vLLM's.
_COMPLETION_TOKENS = 16
# The judge's own words and the 4,000 characters of the prompt that it quotes.
_JUDGE_TOKENS = 512
_JUDGE_PROMPT_TOKENS = 16_000
# Of `cache.verify`: its own words, and each of the two texts of at most 400 characters.
_VERDICT_TOKENS = 512
_VERDICT_TEXT_TOKENS = 1600
_FORMS: tuple[Literal["NFC", "NFKC"], ...] = ("NFC", "NFKC")


def worst_case(settings: Settings, call: Call, body_bytes: int, wall_s: float) -> Amount:
    """The most that `call` costs and takes, at the prices of `wall_s` and of its deadline.

    `body_bytes` is the length of the body as it came. Raises `core.settings.prices.NoPrice`.
    """
    size = _Size(settings, call, prompt_tokens(settings, call, body_bytes), wall_s)
    asks = [size.ask(tier) for tier in _tiers(settings, call)]
    free = call.requested == AUTO and call.risk is not Risk.HIGH
    cascades = free and len(asks) > 1 and "cascade" in settings.router.strategies
    worst = size.cascade(asks) if cascades else _most(asks)
    if free and "llm" in settings.router.strategies:
        worst += size.judge()
    rules = settings.cache.rules(call.tenant, call.domain)
    if rules.verify != "off" and call.endpoint is Endpoint.CHAT:
        worst += size.verdict()
    return worst


def embedding_worst_case(texts: list[str]) -> Amount:
    """Return the most that `/v1/embeddings` may take: a token a byte, two marks a text, no cost."""
    return Amount(0, _bytes(orjson.dumps(texts)) + 2 * len(texts))


def prompt_tokens(settings: Settings, call: Call, body_bytes: int) -> int:
    """An upper bound of the tokens of all prompts with all that a template adds."""
    body = {name: value for name, value in call.body.items() if name != "model"}
    messages = body.get("messages")
    if call.asked.media_parts and isinstance(messages, list):
        body["messages"] = [_without_media(message) for message in messages]
    try:
        text = _bytes(orjson.dumps(body))
        tools = len(orjson.dumps([body.get(name) for name in _TOOLS]))
    except TypeError:  # nested too deeply for orjson to write what it has read
        text, tools = body_bytes, body_bytes
    turns = len(messages) if isinstance(messages, list) else call.asked.prompts
    offered = tools + _TOOLS_TOKENS if call.asked.tools else 0
    media = _MEDIA_TOKENS * call.asked.media_parts
    added = _TURN_TOKENS * turns + settings.accounts.reserve_template_tokens
    return text + offered + media + added


def output_tokens(settings: Settings, call: Call, tier: Tier, prompt: int) -> int:
    """An upper bound of the tokens of an answer, all its choices together.

    `prompt` is an upper bound of the prompt's tokens.
    """
    told, context = call.asked.max_output_tokens, _context_tokens(tier)
    if told is None:
        told = default_tokens(call, tier) or output_cap(settings, tier, prompt) or context
    assert told is not None  # there is no cap only where there is a context
    return min(told, context or told) * call.asked.sequences


def output_caps(settings: Settings, call: Call, body_bytes: int) -> Mapping[str, int]:
    """By tier the limit that an engine must be told for the reservation to hold."""
    if call.asked.max_output_tokens is not None:
        return {}
    prompt = prompt_tokens(settings, call, body_bytes)
    caps = {
        tier.name: output_cap(settings, tier, prompt)
        for tier in settings.tiers
        if default_tokens(call, tier) is None
    }
    return {name: cap for name, cap in caps.items() if cap is not None}


def output_cap(settings: Settings, tier: Tier, prompt: int) -> int | None:
    """The output of a chat that names no limit; None where the context must bound it instead.

    An engine refuses a limit that does not fit into its context beside the prompt.
    """
    cap, context = settings.accounts.reserve_output_tokens, _context_tokens(tier)
    return cap if context is None or prompt + cap <= context else None


def default_tokens(call: Call, tier: Tier) -> int | None:
    """The output limit of a choice without `max_tokens`, where the engine itself has one."""
    if isinstance(tier.engine, SimulatedEngine):
        return tier.engine.output_tokens
    return _COMPLETION_TOKENS if call.endpoint is Endpoint.COMPLETION else None


def _context_tokens(tier: Tier) -> int | None:
    """What prompt and answer have room in together, where the settings say it."""
    if isinstance(tier.engine, SimulatedEngine):
        return tier.engine.context_tokens
    told = tier.engine.args.get("max_model_len")
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _without_media(message: dict[str, Any]) -> dict[str, Any]:
    """The message without what is sent in the place of text, which is not read as text."""
    parts = message.get("content")
    if not isinstance(parts, list):
        return message
    plain = [{name: part[name] for name in part if name not in _MEDIA} for part in parts]
    return {**message, "content": plain}


def _bytes(written: bytes) -> int:
    """The length of a text in the form in which it is longest."""
    if written.isascii():
        return len(written)
    text = written.decode()
    return max(len(written), *(len(normalize(form, text).encode()) for form in _FORMS))


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
        return self.cost(tier, self._fed(tier, self.prompt), self._answer(tier))

    def cascade(self, asks: list[Amount]) -> Amount:
        """Each cheaper tier's answer, perhaps a second one, its reading, and the dearest answer."""
        cascade, tiers = self.settings.router.cascade, self.settings.tiers
        cheaper = sum(asks[1:-1], asks[0])
        total = cheaper + _most(asks)
        if cascade.second_sample:
            total += cheaper
        if cascade.perplexity is not None:
            read = max(self._answer(tier) for tier in tiers)
            reading = self.cost(tiers[-1], self.prompt + read, 1)
            total = sum([reading] * (len(asks) - 1), total)
        return total

    def judge(self) -> Amount:
        """The question that the strategy `llm` puts to the cheapest tier, and its one token."""
        asked = min(self.prompt, _JUDGE_PROMPT_TOKENS) + _JUDGE_TOKENS
        return self.cost(self.settings.tiers[0], asked, 1)

    def verdict(self) -> Amount:
        """The question whether a cached prompt's answer serves, and its one token."""
        texts = min(self.prompt, _VERDICT_TEXT_TOKENS) + _VERDICT_TEXT_TOKENS
        return self.cost(self.settings.tiers[-1], texts + _VERDICT_TOKENS, 1)

    def cost(self, tier: Tier, prompt: int, answer: int) -> Amount:
        """Rounded up; a prompt token costs at most the dearer of fresh and cached."""
        at_s = (self.wall_s, self.wall_s + self.call.deadline_s)
        prices = [self.settings.price(tier, moment_s) for moment_s in at_s]
        fed = max(
            max(one.input_usd_per_million_tokens, one.cached_input_usd_per_million_tokens)
            for one in prices
        )
        made = max(one.output_usd_per_million_tokens for one in prices)
        exact: Decimal = prompt * fed + answer * made
        return Amount(int(exact.to_integral_value(rounding=ROUND_UP)), prompt + answer)

    def _fed(self, tier: Tier, prompt: int) -> int:
        context = _context_tokens(tier)
        return prompt if context is None else min(prompt, context * self.call.asked.prompts)

    def _answer(self, tier: Tier) -> int:
        return output_tokens(self.settings, self.call, tier, self.prompt)


def _most(asks: list[Amount]) -> Amount:
    """The most money and the most tokens, whichever tiers they are of."""
    return Amount(max(one.usd_micros for one in asks), max(one.tokens for one in asks))
