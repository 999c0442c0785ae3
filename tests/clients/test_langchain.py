"""`langchain-openai`: chats and embeddings as it asks for them by default."""

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.deployments.serving import Serving

pytestmark = [pytest.mark.clients, pytest.mark.ray]

CABS = " cab" * 5
TURNS = [SystemMessage("Be brief."), HumanMessage("Hello!", name="ann")]


def chat(hansom: Serving, key: str = "test", **options: object) -> ChatOpenAI:
    url, secret = f"{hansom.url}/v1", SecretStr(key)
    asked = {"model": "auto", "max_tokens": 5, "max_retries": 0} | options
    return ChatOpenAI(base_url=url, api_key=secret, **asked)


def vectors(hansom: Serving, **options: bool) -> OpenAIEmbeddings:
    url, secret = f"{hansom.url}/v1", SecretStr("test")
    return OpenAIEmbeddings(base_url=url, api_key=secret, model="all-MiniLM-L6-v2", **options)


def test_a_chat_is_answered_with_its_usage(hansom: Serving) -> None:
    found = chat(hansom, include_response_headers=True).invoke(TURNS)
    assert found.content == CABS
    assert found.usage_metadata is not None and found.usage_metadata["output_tokens"] == 5
    assert found.response_metadata["finish_reason"] == "stop"
    assert float(found.response_metadata["headers"]["x-hansom-cost-usd"]) > 0


def test_a_stream_adds_up_with_its_usage(hansom: Serving) -> None:
    chunks = [*chat(hansom, stream_usage=True).stream(TURNS)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.content == CABS
    assert whole.usage_metadata is not None and whole.usage_metadata["output_tokens"] == 5


async def test_async_calls_are_answered_beside_one_another(hansom: Serving) -> None:
    found = await chat(hansom).abatch([[HumanMessage(f"Hello {n}")] for n in range(4)])
    assert [one.content for one in found] == [CABS] * 4
    pieces = [piece.content async for piece in chat(hansom).astream(TURNS)]
    assert "".join(map(str, pieces)) == CABS


def test_its_own_answer_goes_back_into_the_conversation(hansom: Serving) -> None:
    first = chat(hansom).invoke(TURNS)
    assert isinstance(first, AIMessage)
    assert chat(hansom).invoke([*TURNS, first, HumanMessage("And?")]).content == CABS


@pytest.mark.usefixtures("vocabulary")
def test_embeddings_of_tokens_as_it_sends_them_are_those_of_the_text(hansom: Serving) -> None:
    texts = ["A cab in the rain.", "Ein Taxi für 3 €: \U0001f695 你好"]
    tokens = vectors(hansom).embed_documents(texts)
    plain = vectors(hansom, check_embedding_ctx_length=False).embed_documents(texts)
    assert [len(one) for one in tokens] == [384, 384]
    for one, other in zip(tokens, plain, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_errors_are_those_of_the_openai_client(hansom: Serving, poor_key: str) -> None:
    with pytest.raises(openai.BadRequestError):
        chat(hansom, temperature=9).invoke(TURNS)
    with pytest.raises(openai.NotFoundError):
        chat(hansom, model="gpt-4o").invoke(TURNS)
    with pytest.raises(openai.AuthenticationError):
        chat(hansom, key="hk-" + "x" * 43).invoke(TURNS)
    with pytest.raises(openai.RateLimitError):
        chat(hansom, key=poor_key).invoke(TURNS)
