"""openai and anthropic, synchronous, asynchronous and streaming, with only the address and the key changed."""

import time
from collections.abc import Iterator

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from tests.sdk.conftest import Gateway

BACKEND = "aiRouting"
QUESTION = "Which renewals are due this week?"
ANSWER = f"Your question has 6 words: {QUESTION}"


@pytest.fixture
def gpt(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(api_key=gateway.key, base_url=gateway.base("openai") + "/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[Anthropic]:
    with Anthropic(api_key=gateway.key, base_url=gateway.base("anthropic"), max_retries=0) as client:
        yield client


def test_openai_completes_a_chat(gpt: OpenAI) -> None:
    completion = gpt.chat.completions.create(model="router-small", messages=[{"role": "user", "content": QUESTION}])
    assert completion.choices[0].message.content == ANSWER
    assert completion.usage
    assert completion.usage.prompt_tokens == 6


def test_openai_streams_a_chat_with_its_usage(gpt: OpenAI) -> None:
    chunks = list(
        gpt.chat.completions.create(
            model="router-small",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens > 6


def test_openai_answers_a_response(gpt: OpenAI) -> None:
    response = gpt.responses.create(model="router-small", instructions="Be brief.", input=QUESTION)
    assert (response.output_text, response.status) == (ANSWER, "completed")
    assert response.usage
    assert (response.usage.input_tokens, response.usage.output_tokens) == (8, len(ANSWER.split()))


def test_openai_streams_a_response(gpt: OpenAI) -> None:
    asked = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    with gpt.responses.stream(model="router-small", input=asked) as stream:  # type: ignore[arg-type] # a TypedDict
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert (text, final.output_text) == (ANSWER, ANSWER)
    failing = gpt.responses.create(model="router-unreliable", input=QUESTION, stream=True)
    assert [event.type for event in failing][-1] == "error"


def test_the_words_of_a_stream_arrive_one_by_one(gpt: OpenAI, gateway: Gateway) -> None:
    gateway.set(BACKEND, latency=2.0)
    stream = gpt.chat.completions.create(
        model="router-small", messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    times = [time.monotonic() for chunk in stream if chunk.choices]
    assert times[-1] - times[0] > 0.3  # of 0.7 s; buffered, they would arrive together


def test_openai_embeds_and_lists_models(gpt: OpenAI) -> None:
    embedded = gpt.embeddings.create(model="router-embedding", input=["one", "two"], dimensions=8)
    assert [len(one.embedding) for one in embedded.data] == [8, 8]
    assert {"router-small", "router-embedding"} <= {model.id for model in gpt.models.list()}
    assert gpt.models.retrieve("router-small").owned_by == "demonstration"


def test_an_error_in_a_stream_reaches_openais_sdk(gpt: OpenAI) -> None:
    stream = gpt.chat.completions.create(
        model="router-unreliable", messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    with pytest.raises(openai.APIError, match="server had an error"):
        list(stream)


def test_errors_of_openai_are_the_sdks_own(gpt: OpenAI, gateway: Gateway) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        gpt.chat.completions.create(model="no-such", messages=[{"role": "user", "content": QUESTION}])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        OpenAI(api_key="gw_unknown", base_url=gateway.base("openai") + "/v1", max_retries=0).models.list()


def test_the_rate_limits_of_openai_reach_the_client(gpt: OpenAI) -> None:
    raw = gpt.chat.completions.with_raw_response.create(
        model="router-small", messages=[{"role": "user", "content": QUESTION}]
    )
    assert raw.headers["x-ratelimit-limit-requests"] == "500"


async def test_openais_asynchronous_client_streams(gateway: Gateway) -> None:
    async with AsyncOpenAI(api_key=gateway.key, base_url=gateway.base("openai") + "/v1") as client:
        stream = await client.chat.completions.create(
            model="router-large", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == ANSWER


def test_anthropic_answers_a_message(claude: Anthropic) -> None:
    message = claude.messages.create(
        model="router-small", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
    )
    assert message.content[0].type == "text"
    assert message.content[0].text == ANSWER
    assert (message.stop_reason, message.usage.input_tokens) == ("end_turn", 6)


def test_anthropic_streams_a_message(claude: Anthropic) -> None:
    with claude.messages.stream(
        model="router-small", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == ANSWER
    assert final.usage.output_tokens == len(ANSWER.split())


def test_anthropic_counts_tokens_and_lists_models(claude: Anthropic) -> None:
    counted = claude.messages.count_tokens(model="router-small", messages=[{"role": "user", "content": QUESTION}])
    assert counted.input_tokens == 6
    assert "router-large" in {model.id for model in claude.models.list()}


def test_an_error_in_a_stream_reaches_anthropics_sdk(claude: Anthropic) -> None:
    stream = claude.messages.create(
        model="router-unreliable", max_tokens=100, messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(stream)


def test_errors_of_anthropic_are_the_sdks_own(claude: Anthropic, gateway: Gateway) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(model="no-such", max_tokens=1, messages=[{"role": "user", "content": QUESTION}])
    gateway.set(BACKEND, errors={"messages": "overloaded_error"})
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        claude.messages.create(model="router-small", max_tokens=1, messages=[{"role": "user", "content": QUESTION}])
    assert overloaded.value.status_code == 529


def test_azures_client_sends_its_key_in_a_field_of_its_own(gateway: Gateway) -> None:
    base = gateway.base("openai") + "/v1"
    with AzureOpenAI(api_key=gateway.key, base_url=base, api_version="2024-10-21", max_retries=0) as client:
        assert "router-large" in {model.id for model in client.models.list()}
    with (
        AzureOpenAI(api_key=gateway.key[:-1], base_url=base, api_version="2024-10-21", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        client.models.list()
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["detail"] == "X-API-Key is not an API key"


def test_anthropics_key_may_be_a_bearer_token(gateway: Gateway) -> None:
    with Anthropic(auth_token=gateway.key, base_url=gateway.base("anthropic"), max_retries=0) as client:
        assert list(client.models.list())


async def test_anthropics_asynchronous_client_streams(gateway: Gateway) -> None:
    async with (
        AsyncAnthropic(api_key=gateway.key, base_url=gateway.base("anthropic")) as client,
        client.messages.stream(
            model="router-large", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
        ) as stream,
    ):
        text = "".join([word async for word in stream.text_stream])
    assert text == ANSWER
