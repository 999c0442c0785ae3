"""What needs a model that understands: tools and structured output, through each client."""

import json
from typing import Any, Literal

import instructor
import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretStr

from tests.deployments.serving import Serving

pytestmark = [pytest.mark.clients, pytest.mark.vllm, pytest.mark.timeout(900)]

ASK_WEATHER = "What is the weather in Paris? Use the tool."
ASK_CITY = "Paris is the capital of France. Extract the city and its country."
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": PARAMETERS,
        "strict": None,
    },
}
FORCED = {"type": "function", "function": {"name": "weather"}}


class City(BaseModel):
    """A city."""

    city: str = Field(max_length=20)
    country: Literal["France", "Italy", "Spain"]


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def test_instructions_of_the_developer_are_followed_as_those_of_the_system(
    laptop: Serving,
) -> None:
    """Qwen's chat template leaves a developer's turn out."""
    tokens = []
    for role in ("developer", "system"):
        answer = laptop.client(timeout=120).chat.completions.create(
            model="large",
            messages=[{"role": role, "content": "Answer in French. " * 8}, *user("Hello!")],
            max_tokens=2,
        )
        assert answer.usage is not None
        tokens.append(answer.usage.prompt_tokens)
    assert tokens[0] == tokens[1] > 40


def test_a_tool_call_is_streamed_and_its_result_goes_back(laptop: Serving) -> None:
    client = laptop.client(timeout=120)
    asked: dict[str, Any] = {"model": "large", "temperature": 0, "max_tokens": 40}
    with client.chat.completions.stream(
        messages=user(ASK_WEATHER), tools=[TOOL], tool_choice=FORCED, **asked
    ) as stream:
        first = stream.get_final_completion()
    message = first.choices[0].message
    assert message.tool_calls and message.tool_calls[0].function.name == "weather"
    assert "Paris" in json.loads(message.tool_calls[0].function.arguments)["city"]
    assert first.choices[0].finish_reason in ("stop", "tool_calls")
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Rain, 9 C"}
    turns = [*user(ASK_WEATHER), message.model_dump(), result]
    told = client.chat.completions.create(messages=turns, tools=[TOOL], **asked | {"max_tokens": 8})
    assert told.choices[0].message.content or told.choices[0].message.tool_calls


def test_openais_own_parser_reads_a_structured_answer(laptop: Serving) -> None:
    found = laptop.client(timeout=120).chat.completions.parse(
        model="large", messages=user(ASK_CITY), response_format=City, temperature=0, max_tokens=40
    )
    assert found.choices[0].message.parsed == City(city="Paris", country="France")


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA])
def test_instructor_reads_a_model(laptop: Serving, mode: instructor.Mode) -> None:
    client = instructor.from_openai(laptop.client(timeout=120), mode=mode)
    found, answer = client.chat.completions.create_with_completion(
        model="large",
        messages=user(ASK_CITY),
        response_model=City,
        temperature=0,
        max_tokens=60,
        max_retries=1,
    )
    assert found.model_dump() == {"city": "Paris", "country": "France"}
    assert answer.usage.completion_tokens > 0


async def test_instructor_streams_a_model_as_it_grows(laptop: Serving) -> None:
    own = openai.AsyncOpenAI(base_url=f"{laptop.url}/v1", api_key="test", timeout=120)
    client = instructor.from_openai(own, mode=instructor.Mode.JSON_SCHEMA)
    parts = [
        part
        async for part in client.chat.completions.create_partial(
            model="large",
            messages=user(ASK_CITY),
            response_model=City,
            temperature=0,
            max_tokens=60,
            extra_headers={"x-hansom-cache": "off"},  # a stored answer comes in one piece
        )
    ]
    assert len(parts) > 1
    assert parts[-1].city == "Paris"


def langchain(laptop: Serving) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{laptop.url}/v1",
        api_key=SecretStr("test"),
        model="large",
        temperature=0,
        max_tokens=60,
        max_retries=0,
        timeout=120,
    )


def test_langchain_calls_a_tool(laptop: Serving) -> None:
    @tool
    def weather(city: str) -> str:
        """Weather of a city"""
        return city

    found = langchain(laptop).bind_tools([weather], tool_choice="weather").invoke(ASK_WEATHER)
    (call,) = found.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_reads_a_model(laptop: Serving, method: str) -> None:
    found = langchain(laptop).with_structured_output(City, method=method).invoke(ASK_CITY)
    assert found == City(city="Paris", country="France")


def test_litellm_calls_a_tool_and_reads_a_schema(litellm: Any, laptop: Serving) -> None:
    at: dict[str, Any] = {
        "model": "openai/large",
        "api_base": f"{laptop.url}/v1",
        "api_key": "test",
        "temperature": 0,
        "max_tokens": 60,
        "max_retries": 0,
    }
    called = litellm.completion(messages=user(ASK_WEATHER), tools=[TOOL], tool_choice=FORCED, **at)
    (call,) = called.choices[0].message.tool_calls
    assert "Paris" in json.loads(call.function.arguments)["city"]
    read = litellm.completion(messages=user(ASK_CITY), response_format=City, **at)
    found = City.model_validate_json(read.choices[0].message.content)
    assert found == City(city="Paris", country="France")
