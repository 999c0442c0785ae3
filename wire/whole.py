"""Turn a complete answer into a stream, and a stream into a complete answer.

Promised: `assemble(replay(x, include_usage=True))` is `x` in every field that OpenAI clients
read: text, reasoning, refusal, tool calls, log-probabilities, token ids, finish reasons, usage,
for any number of choices, in both chat and text completions.
Not covered: the original's timing and token boundaries, usage per chunk, and the deprecated
`function_call`. An event is `data: {...}` and a blank line, as vLLM writes them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"

# What vLLM and OpenAI stream as text, in the order in which a model produces it.
_TEXTS = ("reasoning", "reasoning_content", "refusal", "content")
# Null, not absent: clients of typed languages demand both in every chunk.
_OPEN: Mapping[str, None] = {"logprobs": None, "finish_reason": None}
_CHOICE_ENDS = ("finish_reason", "stop_reason")


def replay(
    response: Mapping[str, Any], *, include_usage: bool, piece_chars: int = 128
) -> Iterator[bytes]:
    """The events of a stream that gives `response`, ending with `[DONE]`.

    `response` is a `chat.completion` or `text_completion` object; texts come in pieces of at
    most `piece_chars` characters. Raises `KeyError` if it has no `choices`.
    """
    chat = response.get("object") == "chat.completion"
    envelope = {
        "id": response.get("id"),
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": response.get("created"),
        "model": response.get("model"),
    }
    if response.get("system_fingerprint") is not None:
        envelope["system_fingerprint"] = response["system_fingerprint"]
    first: dict[str, Any] = {}
    if response.get("prompt_token_ids") is not None:
        first["prompt_token_ids"] = response["prompt_token_ids"]
    for choice in response["choices"]:
        for part in _chat_parts(choice, piece_chars) if chat else _text_parts(choice, piece_chars):
            whole = {"index": choice["index"], **_OPEN, **part}
            yield _event({**envelope, **first, "choices": [whole]})
            first = {}
    if include_usage and response.get("usage") is not None:
        yield _event({**envelope, "choices": [], "usage": response["usage"]})
    yield DONE


def assemble(events: Iterable[bytes]) -> dict[str, Any]:
    """Merge the events of one whole stream into the response it stands for.

    An item may hold several events, but no part of one. `usage` is there only if the stream
    carried it. Raises `ValueError` for a stream that carries an error, is not of this form, or
    does not end with `[DONE]`: what was cut must not pass for a complete answer.
    """
    try:
        return _assemble(events)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a stream of completion chunks: {error!r}") from error


def _assemble(events: Iterable[bytes]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for data in _payloads(events):
        if data == b"[DONE]":
            break
        chunk = orjson.loads(data)
        if "error" in chunk:
            raise ValueError("the stream carries an error")
        for part in chunk.pop("choices"):
            _merge_choice(choices.setdefault(part["index"], {"index": part["index"]}), part)
        for name, value in chunk.items():
            if value is not None:
                whole[name] = value
    else:
        raise ValueError("the stream did not end with [DONE]")
    chat = whole.get("object") == "chat.completion.chunk"
    if chat:
        whole["object"] = "chat.completion"
    finish = _finish_chat if chat else _finish_text
    whole["choices"] = [finish(choices[index]) for index in sorted(choices)]
    return whole


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _payloads(events: Iterable[bytes]) -> Iterator[bytes]:
    for item in events:
        for event in item.split(b"\n\n"):
            if event.startswith(b"data:"):
                yield event[5:].strip()


def _chat_parts(choice: Mapping[str, Any], piece_chars: int) -> Iterator[dict[str, Any]]:
    """The role, each text in pieces, all tool calls at once, the end."""
    message = choice["message"]
    yield {"delta": {"role": message.get("role", "assistant"), "content": ""}}
    deltas: list[dict[str, Any]] = [
        {name: piece}
        for name in _TEXTS
        if isinstance(message.get(name), str)
        for piece in _pieces(message[name], piece_chars)
    ]
    if calls := message.get("tool_calls"):
        deltas.append({"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]})
    per_token = _shares(choice, len(deltas))
    for delta, extra in zip(deltas, per_token, strict=False):
        yield {"delta": delta, **extra}
    # With no text at all (a stop at once) the tokens, if any, travel with the end.
    rest = {} if deltas else per_token[0]
    yield {"delta": {}, **rest, **_end(choice)}


def _text_parts(choice: Mapping[str, Any], piece_chars: int) -> Iterator[dict[str, Any]]:
    pieces = _pieces(choice.get("text") or "", piece_chars) or [""]
    per_token = _shares(choice, len(pieces))
    if choice.get("prompt_token_ids") is not None:
        per_token[0]["prompt_token_ids"] = choice["prompt_token_ids"]
    for at, piece in enumerate(pieces):
        end = _end(choice) if at == len(pieces) - 1 else {}
        yield {"text": piece, **per_token[at], **end}


def _end(choice: Mapping[str, Any]) -> dict[str, Any]:
    return {name: choice.get(name) for name in _CHOICE_ENDS if name in choice}


def _pieces(text: str, piece_chars: int) -> list[str]:
    return [text[at : at + piece_chars] for at in range(0, len(text), piece_chars)]


def _shares(choice: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Deal what is counted per token out over `count` pieces, at least one, in order."""
    count = max(count, 1)
    logprobs, token_ids = choice.get("logprobs"), choice.get("token_ids")
    shares: list[dict[str, Any]] = [{} for _ in range(count)]
    for at, share in enumerate(shares):
        if logprobs is not None:
            share["logprobs"] = {
                name: _share(values, at, count) for name, values in logprobs.items()
            }
        if token_ids is not None:
            share["token_ids"] = _share(token_ids, at, count)
    return shares


def _share(values: Sequence[Any] | None, at: int, count: int) -> Sequence[Any] | None:
    if values is None:
        return None
    return values[at * len(values) // count : (at + 1) * len(values) // count]


def _merge_choice(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add one chunk's choice to what was gathered of it."""
    for name, value in part.items():
        if value is None or name == "index":
            continue
        if name == "delta":
            _merge_delta(choice.setdefault("message", {}), value)
        elif name == "text":
            choice.setdefault("text", []).append(value)
        elif name == "token_ids":
            choice.setdefault("token_ids", []).extend(value)
        elif name == "logprobs":
            _merge_lists(choice.setdefault("logprobs", {}), value)
        else:
            choice[name] = value


def _merge_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if value is None:
            continue
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", {})
            for call in value:
                _merge_call(calls.setdefault(call["index"], {}), call)
        elif name in _TEXTS:
            message.setdefault(name, []).append(value)
        else:
            message[name] = value


def _merge_call(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Ids, types and names come once; only the arguments come in pieces."""
    for name in ("id", "type"):
        if part.get(name) is not None:
            whole.setdefault(name, part[name])
    function = part.get("function") or {}
    merged = whole.setdefault("function", {"name": None, "arguments": []})
    merged["name"] = merged["name"] or function.get("name")
    merged["arguments"].append(function.get("arguments") or "")


def _merge_lists(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, values in part.items():
        if values is None:
            whole.setdefault(name, None)
        else:
            whole[name] = (whole.get(name) or []) + values


def _finish_chat(choice: dict[str, Any]) -> dict[str, Any]:
    """Join the texts; `content` is null where tool calls or reasoning came instead of it."""
    message = choice.setdefault("message", {})
    message.setdefault("role", "assistant")
    for name in _TEXTS:
        if name in message:
            message[name] = "".join(message[name]) or None
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
        for call in message["tool_calls"]:
            call["function"]["arguments"] = "".join(call["function"]["arguments"])
    if message.get("content") is None:
        other = any(message.get(name) for name in (*_TEXTS, "tool_calls"))
        message["content"] = None if other else ""
    return _ends_known(choice)


def _finish_text(choice: dict[str, Any]) -> dict[str, Any]:
    choice["text"] = "".join(choice.get("text", []))
    return _ends_known(choice)


def _ends_known(choice: dict[str, Any]) -> dict[str, Any]:
    """Null, not absent, as in a response that was never a stream."""
    choice.setdefault("logprobs", None)
    choice.setdefault("finish_reason", None)
    return choice
