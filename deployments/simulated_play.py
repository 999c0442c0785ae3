"""One request that a simulated engine plays, in vLLM's OpenAI protocol."""

import os
import time
from typing import Any

import orjson

from core.settings import SimulatedEngine

_WORD = " cab"
_LOGPROB = -0.1  # of every token, where log-probabilities are asked for
_BYTES_PER_TOKEN = 4


class Play:
    """One request: how long it is, how much of it is made, and the bytes that tell it."""

    def __init__(
        self, body: dict[str, Any], settings: SimulatedEngine, model: str, *, chat: bool
    ) -> None:
        options = body.get("stream_options") or {}
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        prompt = orjson.dumps(body.get("messages") if chat else body.get("prompt"))
        self.chat = chat
        self.model = model
        self.stream = bool(body.get("stream"))
        self.include_usage = bool(options.get("include_usage"))
        self.continuous = bool(options.get("continuous_usage_stats"))
        self.prompt_tokens = len(prompt) // _BYTES_PER_TOKEN + 1
        self.output_tokens = int(limit or settings.output_tokens)
        self.priority = int(body.get("priority") or 0)
        self.batch = False
        self.made = 0
        self.first_s: float | None = None
        asked = body.get("logprobs")
        self.logprobs = bool(asked) if chat else asked is not None
        self.started_s = self.began_s = time.monotonic()
        self._head = {
            "id": f"sim-{os.getpid()}-{id(self):x}",  # tells replicas apart
            "created": int(time.time()),
            "model": model,
            "object": "chat.completion.chunk" if chat else "text_completion",
        }
        self._prefix = b"data: " + orjson.dumps(self._head)[:-1]

    def usage(self, made: int) -> dict[str, int]:
        """The OpenAI usage object after `made` tokens."""
        total = self.prompt_tokens + made
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": total,
            "completion_tokens": made,
        }

    def chunk(self, made: int) -> bytes:
        """Token number `made` as an event."""
        role = b'"role":"assistant",' if made == 1 else b""
        piece = b'"delta":{' + role + b'"content":" cab"}' if self.chat else b'"text":" cab"'
        if self.logprobs:
            piece += b"," + orjson.dumps({"logprobs": self._logprobs(1)})[1:-1]
        usage = b"," + orjson.dumps({"usage": self.usage(made)})[1:-1] if self.continuous else b""
        return (
            self._prefix
            + b',"choices":[{"index":0,'
            + piece
            + b',"finish_reason":null}]'
            + usage
            + b"}\n\n"
        )

    def closing(self) -> bytes:
        """The event with the finish reason."""
        piece = b'"delta":{}' if self.chat else b'"text":""'
        return self._prefix + b',"choices":[{"index":0,' + piece + b',"finish_reason":"stop"}]}\n\n'

    def usage_chunk(self) -> bytes:
        """The final usage event."""
        usage = orjson.dumps(self.usage(self.output_tokens))
        return self._prefix + b',"choices":[],"usage":' + usage + b"}\n\n"

    def whole(self) -> dict[str, Any]:
        """The answer to a request without streaming."""
        text = _WORD * self.output_tokens
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if self.logprobs:
            choice["logprobs"] = self._logprobs(self.output_tokens)
        choice |= (
            {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        )
        kind = "chat.completion" if self.chat else "text_completion"
        usage = self.usage(self.output_tokens)
        return self._head | {"object": kind, "choices": [choice], "usage": usage}

    def _logprobs(self, tokens: int) -> dict[str, Any]:
        """Of `tokens` tokens, in the chat's form or the older one."""
        if self.chat:
            one = {"token": _WORD, "logprob": _LOGPROB, "bytes": [*_WORD.encode()]}
            return {"content": [one | {"top_logprobs": []}] * tokens}
        return {"tokens": [_WORD] * tokens, "token_logprobs": [_LOGPROB] * tokens}

    def too_long(self, context_tokens: int) -> dict[str, Any]:
        """vLLM's way of saying that the context is too small."""
        message = (
            f"This model's maximum context length is {context_tokens} tokens. However, you "
            f"requested {self.output_tokens} output tokens and your prompt contains "
            f"{self.prompt_tokens} input tokens."
        )
        return {"error": {"message": message, "type": "BadRequestError", "code": 400}}
