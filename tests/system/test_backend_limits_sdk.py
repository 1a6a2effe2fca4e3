"""What SDKs do at a limit of a backend: reported of others, tried with the real clients through the gateway."""

import json

import openai
import pytest
from openai import OpenAI
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from tests.origin import Peer
from tests.system.conftest import Gateway

COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}],
}


def reply(body: object, status: int = 200, **fields: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{lines}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def serve(gateway: Gateway, path: str, *responses: bytes) -> str:
    """Let the backend respond with these, the last one repeatedly. Returns the SDK's base URL."""
    remaining = list(responses)

    async def script(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(remaining.pop(0) if len(remaining) > 1 else remaining[0])

    gateway.backend.scripts[path] = script
    return f"{gateway.server.address}/api/v1/held"


def slack(base: str, single: Gateway, *, retries: int = 0) -> WebClient:
    client = WebClient(single.seed.ours, base_url=base)
    client.retry_handlers = [RateLimitErrorRetryHandler(max_retry_count=retries)] if retries else []
    return client


def model(base: str, single: Gateway, **options: int) -> OpenAI:
    return OpenAI(api_key=single.seed.ours, base_url=base, **options)  # type: ignore[arg-type]


def complete(client: OpenAI) -> str | None:
    return (
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        .choices[0]
        .message.content
    )


def test_slack_sdk_waits_and_gets_its_response(single: Gateway) -> None:
    base = serve(
        single, "/api.test", reply({"ok": False, "error": "ratelimited"}, 429, retry_after="1"), reply({"ok": True})
    )
    assert slack(base, single, retries=2).api_test()["ok"]
    assert single.backend.request_count("/api.test") == 2


def test_an_empty_429_holds_off_too(single: Gateway) -> None:
    """python-slack-sdk#1693: Slack responds 429 without a body, which the SDK reports as no JSON."""
    base = serve(single, "/team.info", reply(None, 429, retry_after="30"))
    client = slack(base, single)
    for _ in range(3):
        with pytest.raises(SlackApiError) as limited:
            client.team_info()
        assert limited.value.response.status_code == 429
    assert limited.value.response["code"] == "backend_limited"
    assert single.backend.request_count("/team.info") == 1


def test_retry_after_counts_where_its_milliseconds_cannot_be_read(single: Gateway) -> None:
    """openclaw#111353: a value of retry-after-ms that is no number hid Retry-After."""
    limit = reply({"error": {"message": "slow"}}, 429, retry_after_ms="soon", retry_after="1")
    base = serve(single, "/chat/completions", limit, reply(COMPLETION))
    assert complete(model(base, single, max_retries=3)) == "done"
    assert single.backend.request_count("/chat/completions") == 2


def test_a_limit_of_half_an_hour_blocks_neither_client_nor_backend(single: Gateway) -> None:
    """openai-node#1840: the SDK slept for as long as the server demanded."""
    base = serve(single, "/v2/chat/completions", reply({"error": {"message": "slow"}}, 429, retry_after="1800"))
    client = model(base + "/v2", single, max_retries=2)
    for _ in range(5):
        with pytest.raises(openai.RateLimitError):
            complete(client)
    assert single.backend.request_count("/v2/chat/completions") == 1


def test_the_reset_of_a_limit_is_heeded_without_retry_after(single: Gateway) -> None:
    """hindsight#3508: OpenAI names the reset of its daily limit in x-ratelimit-reset-requests alone."""
    fields = {"x_ratelimit_reset_requests": "6m0s", "x_ratelimit_reset_tokens": "12ms"}
    base = serve(single, "/v3/chat/completions", reply({"error": {"message": "slow"}}, 429, **fields))
    client = model(base + "/v3", single, max_retries=0)
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as limited:
            complete(client)
    assert 300 < int(limited.value.response.headers["retry-after"]) <= 360
    assert single.backend.request_count("/v3/chat/completions") == 1
