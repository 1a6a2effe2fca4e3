"""The demonstration's models, as OpenAI's and Anthropic's APIs show them. The SDKs' own tests are in tests/sdk."""

import json
from collections.abc import Callable

import pytest

from tests.routing.demo.conftest import Call

Settings = Callable[..., None]
AI = "aiRouting"
ASKED = [{"role": "user", "content": "Which renewals are due?"}]
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings(AI)


def test_the_same_question_has_the_same_answer_and_tells_its_usage(call: Call) -> None:
    answers = [
        call(AI, "/v1/chat/completions", "POST", json={"model": "router-small", "messages": ASKED}) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["usage"]["prompt_tokens"] == 4
    remaining = [int(answer.headers["X-RateLimit-Remaining-Requests"]) for answer in answers]
    assert remaining[0] == remaining[1] + 1


def test_usage_is_in_a_chunk_without_choices_if_it_is_wanted(call: Call) -> None:
    wanted = {"model": "router-small", "messages": ASKED, "stream": True, "stream_options": {"include_usage": True}}
    lines = call(AI, "/v1/chat/completions", "POST", json=wanted).text.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line and "[DONE]" not in line]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["prompt_tokens"]) == ([], 4)
    assert lines[-2] == "data: [DONE]"


def test_the_unreliable_model_sends_an_error_after_its_200(call: Call) -> None:
    asked = {"model": "router-unreliable", "messages": ASKED, "stream": True}
    openai = call(AI, "/v1/chat/completions", "POST", json=asked)
    anthropic = call(AI, "/v1/messages", "POST", json={**asked, "max_tokens": 9}, headers=VERSION)
    assert (openai.status_code, anthropic.status_code) == (200, 200)
    assert json.loads(openai.text.strip().split("data: ")[-1])["error"]["type"] == "server_error"
    assert anthropic.text.strip().split("event: ")[-1].startswith("error\n")


def test_models_are_listed_in_the_form_of_the_api_that_is_used(call: Call) -> None:
    assert call(AI, "/v1/models").json()["object"] == "list"
    assert call(AI, "/v1/models", headers=VERSION).json()["data"][0]["type"] == "model"
    assert {call(AI, "/v1/models", headers=headers).headers["Vary"] for headers in (VERSION, {})} == {
        "anthropic-version"
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/v1/chat/completions", {"model": "no", "messages": ASKED}, 404, "invalid_request_error"),
        ("/v1/chat/completions", {"model": "router-small"}, 400, "invalid_request_error"),
        ("/v1/embeddings", {"model": "router-embedding"}, 400, "invalid_request_error"),
        ("/v1/messages", {"model": "no", "messages": ASKED, "max_tokens": 9}, 404, "not_found_error"),
        ("/v1/messages", {"model": "router-small", "messages": ASKED}, 400, "invalid_request_error"),
    ],
)
def test_errors_have_the_form_of_their_api(
    call: Call, path: str, body: dict[str, object], status: int, kind: str
) -> None:
    error = call(AI, path, "POST", json=body, headers=VERSION)
    assert (error.status_code, error.json()["error"]["type"]) == (status, kind)


def test_errors_can_be_set(call: Call, settings: Settings) -> None:
    settings(AI, errors={"chat.completions": "insufficient_quota", "messages": "overloaded_error"})
    openai = call(AI, "/v1/chat/completions", "POST", json={"model": "router-small", "messages": ASKED})
    anthropic = call(AI, "/v1/messages", "POST", json={"max_tokens": 1}, headers=VERSION)
    assert (openai.status_code, openai.json()["error"]["code"]) == (429, "insufficient_quota")
    assert (anthropic.status_code, anthropic.json()["error"]["type"]) == (529, "overloaded_error")


def test_keys_are_checked(call: Call, settings: Settings) -> None:
    assert (
        call(AI, "/v1/models", headers={"Authorization": "Bearer wrong"}).json()["error"]["code"] == "invalid_api_key"
    )
    settings(AI, token="sk-ant-right")
    assert call(AI, "/v1/models").status_code == 401
    assert call(AI, "/v1/models", headers={**VERSION, "X-Api-Key": "sk-ant-right"}).status_code == 200
    assert call(AI, "/v1/models", headers={**VERSION, "X-Api-Key": "sk-ant-wrong"}).status_code == 401
