"""Refuse structured output that no answer can satisfy, before the engine's core sees it.

vLLM checks that a constraint can be parsed. Some that can be parsed have parts without any match:
`{"$ref": "#"}`, a regular expression with an empty class, a rule that only calls itself. An answer
that comes to such a part has no next token; the engine's core gives it up, and vLLM reports an
internal error, so that every replica and tier would be tried with it.

Promises: what is not understood of a grammar never speaks against it. `without_match` is pure.
Not covered: what vLLM refuses itself; constraints that only answers beyond `max_tokens` satisfy.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

# Kinds of expressions in xgrammar's serialized grammars of that version.
_VERSION = "v16"
_CHARACTERS, _RULE, _SEQUENCE, _CHOICES, _REPEAT = 1, 4, 5, 6, 8
_LAST_CHARACTER = 0x10FFFF


def checked(validate: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap vLLM's check of a request's parameters, which are its first argument.

    The wrapper raises `VLLMValidationError`, which vLLM's application answers with a 400.
    """

    def check(params: Any, *others: Any, **named: Any) -> Any:
        result = validate(params, *others, **named)
        constraint = getattr(params, "structured_outputs", None)
        if constraint is not None:
            _refuse_unmatched(constraint)
        return result

    return check


def without_match(serialized: str) -> list[str]:
    """Names of the rules that no text matches, in one of xgrammar's grammars, given as its JSON.

    A sequence has a match when all of its parts have one, choices when one has. Matches are passed
    on from the characters upwards; what gets none only leads to itself. Linear in the grammar.
    """
    grammar = json.loads(serialized)
    if grammar.get("__VERSION__") != _VERSION:
        return []
    data, starts = grammar["grammar_expr_data"], grammar["grammar_expr_indptr"]
    rules = grammar["rules"]
    missing: list[int] = []  # how many parts of each expression must still have a match
    users: list[list[int]] = [[] for _ in starts]
    for at, start in enumerate(starts):
        kind, length = data[start], data[start + 1]
        values = data[start + 2 : start + 2 + length]
        parts: Sequence[int] = ()
        if kind in (_SEQUENCE, _CHOICES):
            parts = values
        elif kind == _RULE or (kind == _REPEAT and values[1] > 0):
            parts = (rules[values[0]][1],)
        for part in parts:
            users[part].append(at)
        nothing = kind == _CHARACTERS and not _any_character(values)
        missing.append(len(parts) if kind == _SEQUENCE else int(bool(parts) or nothing))
    ready = [at for at, count in enumerate(missing) if count == 0]
    while ready:
        for user in users[ready.pop()]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)
    return [rule[0] for rule in rules if missing[rule[1]] > 0]


def _any_character(values: Sequence[int]) -> bool:
    """Whether a class has a character: a flag for "none of these", then pairs of first and last."""
    negated, *bounds = values
    ranges = sorted(zip(bounds[::2], bounds[1::2], strict=True))
    if not negated:
        return any(first <= last for first, last in ranges)
    free = 0
    for first, last in ranges:
        if first > free:
            return True
        free = max(free, last + 1)
    return free <= _LAST_CHARACTER


def _refuse_unmatched(constraint: Any) -> None:
    """Raise `VLLMValidationError` for a constraint with a part that nothing matches."""
    from vllm.exceptions import VLLMValidationError

    grammar = _grammar(constraint)
    names = without_match(grammar.serialize_json()) if grammar is not None else []
    if names:
        raise VLLMValidationError(
            "No answer can satisfy this structured output: a part of its schema, expression or "
            f"grammar refers only to itself, or allows no character ({', '.join(names[:3])})."
        )


def _grammar(constraint: Any) -> Any:
    """The constraint as xgrammar's grammar; None where xgrammar has no form of it."""
    import xgrammar
    from vllm.v1.structured_output.utils import compile_regex_with_timeout, grammar_is_likely_lark

    read = xgrammar.Grammar
    try:
        if constraint.json is not None:
            return read.from_json_schema(constraint.json)
        if constraint.regex is not None:
            return compile_regex_with_timeout(read.from_regex, constraint.regex)
        if constraint.grammar is not None:
            lark = grammar_is_likely_lark(constraint.grammar)
            return (read.from_lark if lark else read.from_ebnf)(constraint.grammar)
        if constraint.structural_tag is not None:
            return read.from_structural_tag(constraint.structural_tag)
    except Exception:  # another backend takes what xgrammar does not
        return None
    return None
