"""Play one request of a simulated engine in vLLM's OpenAI protocol.

As in vLLM, the usage at the end has each prompt once and the output of all choices, and the running
usage of an event is that of the event's choice alone.
"""

import os
import time
from typing import Any

import orjson

from core.settings.load import SimulatedEngine

_WORD = " cab"
_LOGPROB = -0.1  # of every token, where log-probabilities are asked for
_BYTES_PER_TOKEN = 4


class Play:
    """One request: how long it is, how much of it is made, and the bytes that tell it."""

    def __init__(
        self, body: dict[str, Any], settings: SimulatedEngine, model: str, *, chat: bool
    ) -> None:
        options = body.get("stream_options") or {}
        limit = (body.get("max_completion_tokens") if chat else None) or body.get("max_tokens")
        self.id = f"sim-{os.getpid()}-{id(self):x}"  # tells replicas apart
        self.chat = chat
        self.model = model
        self.stream = bool(body.get("stream"))
        self.include_usage = bool(options.get("include_usage"))
        self.continuous = bool(options.get("continuous_usage_stats"))
        self.prompts = [_tokens(body.get("messages"))] if chat else _prompts(body.get("prompt"))
        self.prompt_tokens = sum(self.prompts)
        self.choices = int(body.get("n") or 1)
        self.sequences = self.choices * len(self.prompts)
        self.output_tokens = int(limit or settings.output_tokens)
        self.priority = int(body.get("priority") or 0)
        self.batch = False
        self.made = 0
        self.first_s: float | None = None
        asked = body.get("logprobs")
        self.logprobs = bool(asked) if chat else asked is not None
        self.started_s = self.began_s = time.monotonic()
        self._head = {
            "id": self.id,
            "created": int(time.time()),
            "model": model,
            "object": "chat.completion.chunk" if chat else "text_completion",
        }
        self._prefix = b"data: " + orjson.dumps(self._head)[:-1]

    @property
    def longest_tokens(self) -> int:
        """The most that one sequence takes of a context."""
        return max(self.prompts) + self.output_tokens

    @property
    def held_tokens(self) -> int:
        """What all of it takes of the KV cache in the end."""
        return self.prompt_tokens + self.output_tokens * self.sequences

    def chunks(self, made: int) -> bytes:
        """Token number `made` of every choice, an event each."""
        return b"".join(self._chunk(index, made) for index in range(self.sequences))

    def closing(self) -> bytes:
        """The events with the finish reasons."""
        piece = b'"delta":{}' if self.chat else b'"text":""'
        return b"".join(
            self._prefix
            + b',"choices":[{"index":%d,' % index
            + piece
            + b',"finish_reason":"stop"}]}\n\n'
            for index in range(self.sequences)
        )

    def _chunk(self, index: int, made: int) -> bytes:
        role = b'"role":"assistant",' if made == 1 else b""
        piece = b'"delta":{' + role + b'"content":" cab"}' if self.chat else b'"text":" cab"'
        if self.logprobs:
            piece += b"," + orjson.dumps({"logprobs": self._logprobs(1)})[1:-1]
        prompt = self.prompts[index // self.choices]
        usage = b"," + orjson.dumps({"usage": _usage(prompt, made)})[1:-1]
        return (
            self._prefix
            + b',"choices":[{"index":%d,' % index
            + piece
            + b',"finish_reason":null}]'
            + (usage if self.continuous else b"")
            + b"}\n\n"
        )

    def usage_chunk(self) -> bytes:
        """The final usage event."""
        usage = orjson.dumps(self._whole_usage())
        return self._prefix + b',"choices":[],"usage":' + usage + b"}\n\n"

    def whole(self) -> dict[str, Any]:
        """The answer to a request without streaming."""
        text = _WORD * self.output_tokens
        choice: dict[str, Any] = {"finish_reason": "stop"}
        if self.logprobs:
            choice["logprobs"] = self._logprobs(self.output_tokens)
        choice |= (
            {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        )
        kind = "chat.completion" if self.chat else "text_completion"
        choices = [{"index": index} | choice for index in range(self.sequences)]
        return self._head | {"object": kind, "choices": choices, "usage": self._whole_usage()}

    def _whole_usage(self) -> dict[str, int]:
        return _usage(self.prompt_tokens, self.output_tokens * self.sequences)

    def _logprobs(self, tokens: int) -> dict[str, Any]:
        """Make log-probabilities of `tokens` tokens, in chat or completions form."""
        if self.chat:
            one = {"token": _WORD, "logprob": _LOGPROB, "bytes": [*_WORD.encode()]}
            return {"content": [one | {"top_logprobs": []}] * tokens}
        return {"tokens": [_WORD] * tokens, "token_logprobs": [_LOGPROB] * tokens}

    def too_long(self, context_tokens: int) -> dict[str, Any]:
        """vLLM's way of saying that the context is too small."""
        message = (
            f"This model's maximum context length is {context_tokens} tokens. However, you "
            f"requested {self.output_tokens} output tokens and your prompt contains "
            f"{max(self.prompts)} input tokens."
        )
        error = {"message": message, "type": "BadRequestError", "code": 400}
        return {"error": error | {"param": "input_tokens"}}


def _usage(prompt: int, made: int) -> dict[str, int]:
    """The OpenAI usage object after `made` tokens."""
    return {"prompt_tokens": prompt, "total_tokens": prompt + made, "completion_tokens": made}


def _prompts(given: Any) -> list[int]:
    """The tokens of each prompt of a completion: token ids are counted, text is measured."""
    if not isinstance(given, list) or not given:
        return [_tokens(given)]
    if isinstance(given[0], int):
        return [len(given)]
    return [len(one) if isinstance(one, list) else _tokens(one) for one in given]


def _tokens(text: Any) -> int:
    return len(orjson.dumps(text)) // _BYTES_PER_TOKEN + 1
