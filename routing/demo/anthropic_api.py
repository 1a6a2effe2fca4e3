"""The Anthropic API: models, messages (whole or streamed) and token counts (docs.anthropic.com/en/api)."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from resilience.durations import MINUTE
from routing.demo.completions import FAILS_AFTER, MODELS, UNRELIABLE, answer, identifier
from routing.demo.controls import Controls, reply
from routing.demo.json_backend import JsonObject, json_body

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 50, 40_000
FIRST_TOKEN_SECONDS, WORD_SECONDS = 0.3, 0.03
STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
}


class AnthropicError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = STATUS.get(kind, 500)
        self.body = {"type": "error", "error": {"type": kind, "message": message}}


class AnthropicApi:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    async def models(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "models.list")
        except AnthropicError as error:
            return _failed(error)
        data = [
            {"type": "model", "id": name, "display_name": name.title(), "created_at": "2026-02-24T00:00:00Z"}
            for name in MODELS
        ]
        page = {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}
        return reply(page, headers=headers)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "messages")
            given = await json_body(request)
            model, messages, limit = _checked(given)
        except AnthropicError as error:
            return _failed(error)
        words, asked = answer(messages, limit)
        message: JsonObject = {
            "id": identifier("msg_", model, messages),
            "type": "message",
            "role": "assistant",
            "model": model,
        }
        reason = "max_tokens" if len(words) == limit else "end_turn"
        await self._controls.wait(FIRST_TOKEN_SECONDS)
        if given.get("stream"):
            return await self._stream(request, headers, model, _events(message, words, asked, reason))
        await self._controls.wait(WORD_SECONDS * len(words))
        content = [{"type": "text", "text": " ".join(words)}]
        usage = {"input_tokens": asked, "output_tokens": len(words)}
        body = {**message, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}
        return reply(body, headers=headers)

    async def count(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "messages.count_tokens")
            _, messages, _ = _checked({"max_tokens": 1, **await json_body(request)})
        except AnthropicError as error:
            return _failed(error)
        return reply({"input_tokens": answer(messages, 1)[1]}, headers=headers)

    def _begin(self, request: web.Request, operation: str) -> dict[str, str]:
        """Count a call and check it. The header fields of its response; raises AnthropicError."""
        self._controls.calls[operation] += 1
        key, required = request.headers.get("X-Api-Key"), self._controls.settings.token
        if key is None and required is not None:
            raise AnthropicError("authentication_error", "x-api-key header is required")
        if key is not None and (key != required if required is not None else not key.startswith("sk-ant-")):
            raise AnthropicError("authentication_error", "invalid x-api-key")
        if "anthropic-version" not in request.headers:
            raise AnthropicError("invalid_request_error", "anthropic-version: header is required")
        error = self._controls.settings.errors.get(operation)
        if error is not None:
            raise AnthropicError(error, error)
        remaining, seconds = self._controls.use("anthropic", REQUESTS_PER_MINUTE, MINUTE)
        if remaining < 0:
            raise AnthropicError("rate_limit_error", "This request would exceed your organization's rate limit.")
        reset = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "request-id": f"req_{uuid.uuid4().hex[:24]}",
            "anthropic-organization-id": "demonstration",
            "anthropic-ratelimit-requests-limit": str(REQUESTS_PER_MINUTE),
            "anthropic-ratelimit-requests-remaining": str(remaining),
            "anthropic-ratelimit-requests-reset": reset,
            "anthropic-ratelimit-tokens-limit": str(TOKENS_PER_MINUTE),
            "anthropic-ratelimit-tokens-remaining": str(TOKENS_PER_MINUTE),
            "anthropic-ratelimit-tokens-reset": reset,
        }

    async def _stream(
        self, request: web.Request, headers: dict[str, str], model: str, events: Iterator[JsonObject]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers | STREAM)
        await response.prepare(request)
        words = 0
        for event in events:
            words += event["type"] == "content_block_delta"
            if model == UNRELIABLE and words > FAILS_AFTER:
                error = AnthropicError("overloaded_error", "Overloaded")
                await response.write(_encoded(error.body))
                break
            await response.write(_encoded(event))
            await self._controls.wait(WORD_SECONDS)
        await response.write_eof()
        return response


def _events(message: JsonObject, words: list[str], asked: int, reason: str) -> Iterator[JsonObject]:
    usage = {"input_tokens": asked, "output_tokens": 1}
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    yield {"type": "message_start", "message": start}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "ping"}
    for number, word in enumerate(words):
        delta = {"type": "text_delta", "text": word if number == 0 else f" {word}"}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": len(words)}}
    yield {"type": "message_stop"}


def _checked(given: JsonObject) -> tuple[str, list[JsonObject], int]:
    """The model, the messages and the largest number of tokens. Raises AnthropicError."""
    model, messages, limit = given.get("model"), given.get("messages"), given.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise AnthropicError("invalid_request_error", "max_tokens: Field required")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise AnthropicError("invalid_request_error", "messages: at least one message is required")
    if not isinstance(model, str) or model not in MODELS:
        raise AnthropicError("not_found_error", f"model: {model}")
    return model, messages, limit


def _failed(error: AnthropicError) -> web.Response:
    request = f"req_{uuid.uuid4().hex[:24]}"
    headers = {"request-id": request, **({"Retry-After": "30"} if error.status == 429 else {})}
    return reply({**error.body, "request_id": request}, error.status, headers)


def _encoded(event: JsonObject) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode())
