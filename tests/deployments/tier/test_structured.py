"""A constraint with a part that nothing matches is found, and no other is taken for one.

The grammars are those of the installed xgrammar, whose serialized form is read here.
"""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.tier.structured import checked, without_match

pytest.importorskip("vllm", reason="the serving environment has vLLM and xgrammar")
xgrammar = pytest.importorskip("xgrammar")

LOOP = {"x": {"$ref": "#/$defs/x"}}
CONSTRAINTS = ("json", "regex", "grammar", "structural_tag", "choice", "json_object")


def params(**given: Any) -> SimpleNamespace:
    """What vLLM's check is given, as far as it is read here."""
    return SimpleNamespace(structured_outputs=SimpleNamespace(**dict.fromkeys(CONSTRAINTS) | given))


def tagged(schema: object) -> str:
    tag = {
        "begin": "<f>",
        "content": {"type": "json_schema", "json_schema": schema},
        "end": "</f>",
    }
    form = {"type": "triggered_tags", "triggers": ["<f>"], "tags": [tag]}
    return json.dumps({"type": "structural_tag", "format": form})


def required(schema: object) -> dict[str, object]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"], "$defs": LOOP}


IMPOSSIBLE: list[dict[str, Any]] = [
    {"json": {"$ref": "#"}},
    {"json": '{"$ref": "#"}'},
    {"json": {"$ref": "#/$defs/x", "$defs": LOOP}},
    {"json": {"allOf": [{"$ref": "#"}]}},
    {"json": required({"$ref": "#/$defs/x"})},
    {"json": required({"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/x"}})},
    {"json": {"anyOf": [required({"$ref": "#/$defs/x"}), {"type": "string"}], "$defs": LOOP}},
    {"json": required({"$ref": "#"})},
    {"regex": r"[^\s\S]"},
    {"regex": r"a([^\x00-\U0010ffff])b"},
    {"grammar": "root ::= root"},
    {"grammar": 'root ::= "a" other\nother ::= "b" other'},
    {"grammar": "start: start"},
    {"structural_tag": tagged({"$ref": "#"})},
]
POSSIBLE: list[dict[str, Any]] = [
    {"json": {}},
    {"json": {"type": "object"}},
    {"json": {"type": "string", "$defs": LOOP}},
    {"json": {"anyOf": [{"$ref": "#"}, {"type": "string"}]}},
    {"json": {"type": "object", "properties": {"a": {"$ref": "#"}}}},
    {"json": required({"type": "array", "items": {"$ref": "#"}})},
    {"json": required({"anyOf": [{"$ref": "#"}, {"type": "null"}]})},
    {"json": required({"type": "string", "pattern": "^[^a]+[0-9]{2,}$"})},
    {"json": required({"enum": ["a", 1, None]})},
    {"json": {"type": "array", "prefixItems": [{"type": "integer"}], "items": False}},
    {"regex": r"[^a]+\d?"},
    {"regex": ""},
    {"grammar": 'root ::= "a" root | ""'},
    {"grammar": 'start: "a" start | "b"'},
    {"structural_tag": tagged({"type": "string"})},
    {"json_object": True},
    {"choice": ["a"]},
]


@pytest.mark.parametrize("given", IMPOSSIBLE, ids=str)
def test_what_no_answer_satisfies_is_a_validation_error(given: dict[str, Any]) -> None:
    from vllm.exceptions import VLLMValidationError

    with pytest.raises(VLLMValidationError, match="No answer can satisfy"):
        checked(lambda _params: "found")(params(**given))


@pytest.mark.parametrize("given", POSSIBLE, ids=str)
def test_what_some_answer_satisfies_is_left_to_vllm(given: dict[str, Any]) -> None:
    assert checked(lambda _params: "found")(params(**given)) == "found"


def test_what_vllm_refuses_stays_its_own_error() -> None:
    def refuse(_params: object, _tasks: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        checked(refuse)(params(json={"$ref": "#"}), ())
    assert checked(lambda _params: 1)(SimpleNamespace(structured_outputs=None)) == 1
    assert checked(lambda _params: 1)(object()) == 1


@pytest.mark.parametrize("given", [{"json": {"type": "foo"}}, {"regex": "("}, {"grammar": "foo"}])
def test_what_xgrammar_cannot_read_says_nothing(given: dict[str, Any]) -> None:
    assert checked(lambda _params: 1)(params(**given)) == 1


def test_the_rules_without_a_match_are_named() -> None:
    grammar = xgrammar.Grammar.from_ebnf('root ::= "a" | lost\nlost ::= "b" lost')
    assert without_match(grammar.serialize_json()) == ["lost"]


def test_a_grammar_of_another_version_is_not_judged() -> None:
    told = json.loads(xgrammar.Grammar.from_ebnf("root ::= root").serialize_json())
    assert without_match(json.dumps(told)) == ["root"]
    assert without_match(json.dumps(told | {"__VERSION__": "v99"})) == []


def test_a_long_chain_of_rules_takes_linear_time() -> None:
    rules = [f"r{at} ::= r{at + 1}" for at in range(30_000)]
    text = "\n".join(["root ::= r0", *rules, 'r30000 ::= "a"'])
    assert without_match(xgrammar.Grammar.from_ebnf(text).serialize_json()) == []
