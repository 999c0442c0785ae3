"""Blocks of prompts: equal beginnings and nothing else, and the newest of them known."""

import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.backends.prefix_index import (
    BLOCK_BYTES,
    BLOCK_TOKENS,
    NO_PROMPT,
    PrefixIndex,
    Prompt,
    read,
)

SYSTEM = {"role": "system", "content": "You drive a cab. " * 100}
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=700)}), max_size=4
)


def chat(*messages: dict[str, Any], **fields: Any) -> Prompt:
    return read({"messages": list(messages), **fields})


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def shared(one: Prompt, other: Prompt) -> int:
    """How many first blocks are equal."""
    equal = [a == b for a, b in zip(one.blocks, other.blocks, strict=False)]
    return next((at for at, same in enumerate(equal) if not same), len(equal))


@given(TURNS, TURNS)
def test_a_conversation_begins_as_its_last_turn_did(
    said: list[dict[str, Any]], more: list[dict[str, Any]]
) -> None:
    before, after = chat(*said), chat(*said, *more)
    assert after.blocks[: len(before.blocks)] == before.blocks
    assert after.tokens >= before.tokens


def test_a_block_is_equal_only_where_all_before_it_is() -> None:
    one, other = chat(user("a"), SYSTEM), chat(user("b"), SYSTEM)
    assert len(one.blocks) == len(other.blocks) > 5
    assert not set(one.blocks) & set(other.blocks)


def test_what_follows_a_shared_beginning_changes_nothing_of_it() -> None:
    one, other = chat(SYSTEM, user("Where to?")), chat(SYSTEM, user("How much is it? " * 50))
    same = shared(one, other)
    assert same == len(chat(SYSTEM).blocks) == len(orjson.dumps([SYSTEM])) // BLOCK_BYTES
    assert len(other.blocks) > same


@pytest.mark.parametrize(
    "fields",
    [{"tools": [{"type": "function", "function": {"name": "fare"}}]}, {"cache_salt": "acme"}],
    ids=["tools", "salt"],
)
def test_what_an_engine_reads_first_or_keeps_apart_is_part_of_it(fields: dict[str, Any]) -> None:
    assert shared(chat(SYSTEM), chat(SYSTEM, **fields)) == 0
    assert chat(SYSTEM, **fields).blocks == chat(SYSTEM, **fields).blocks


def test_what_changes_no_prompt_is_not() -> None:
    assert chat(SYSTEM, temperature=1.0, max_tokens=5, stream=True) == chat(SYSTEM)


@pytest.mark.parametrize(
    "body",
    [{}, {"prompt": ""}, {"prompt": None}, {"prompt": []}, {"messages": []}],
    ids=["nothing", "empty", "null", "none", "no messages"],
)
def test_no_text_has_no_blocks(body: dict[str, Any]) -> None:
    assert read(body).blocks == NO_PROMPT.blocks
    assert read(body).tokens <= 1


def test_a_bare_prompt_counts_text_and_tokens_alike() -> None:
    text = "cab " * 400
    assert read({"prompt": text}).blocks == read({"prompt": text + "and more"}).blocks
    ids = list(range(500))
    assert shared(read({"prompt": ids}), read({"prompt": [*ids, 7]})) > 5


def test_a_prompts_home_is_the_same_in_every_process() -> None:
    ask = (
        "from deployments.gateway.backends.prefix_index import read;"
        "print(read({'prompt': 'cab ' * 99}).home)"
    )
    homes = {
        subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert homes == {f"{read({'prompt': 'cab ' * 99}).home}\n".encode()}


def test_an_index_knows_how_far_a_prompt_was_sent() -> None:
    index = PrefixIndex(100)
    long, short = chat(SYSTEM, user("Where to? " * 99)), chat(SYSTEM)
    assert index.tokens(long) == 0
    index.add(short)
    assert index.tokens(short) == len(short.blocks) * BLOCK_TOKENS
    assert index.tokens(long) == shared(long, short) * BLOCK_TOKENS


def test_the_ends_of_old_prompts_go_first() -> None:
    index = PrefixIndex(10)
    old, new = Prompt(999, tuple(range(8))), Prompt(999, tuple(range(100, 106)))
    index.add(old)
    index.add(new)
    assert index.tokens(new) == 6 * BLOCK_TOKENS
    assert index.tokens(old) == 4 * BLOCK_TOKENS


@given(
    st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), max_size=30),
    st.integers(0, 20),
)
def test_it_never_knows_more_than_it_may(prompts: list[list[int]], most: int) -> None:
    index = PrefixIndex(most)
    for blocks in prompts:
        index.add(prompt := Prompt(1000, tuple(blocks)))
        assert len(index) <= most
        assert index.tokens(prompt) == min(len(blocks), most) * BLOCK_TOKENS
