"""The OpenAI API: models, chat completions and responses, whole or streamed, and embeddings."""

import json
import struct
import uuid
from base64 import b64encode
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from resilience.durations import MINUTE
from routing.demo.completions import (
    CREATED,
    EMBEDDING_MODEL,
    FAILS_AFTER,
    FAILURE,
    MODELS,
    UNRELIABLE,
    answer,
    embedding,
    identifier,
)
from routing.demo.controls import Controls, reply
from routing.demo.json_backend import JsonObject, json_body
from routing.demo.responses import events, messages_of, response

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 500, 200_000
FIRST_TOKEN_SECONDS, WORD_SECONDS = 0.3, 0.03
COOKIE: Final = "__cf_bm=demonstration; path=/; domain=.api.openai.example; HttpOnly; Secure; SameSite=None"
STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


class OpenAiError(Exception):
    def __init__(self, status: int, kind: str, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


class OpenAiApi:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    async def models(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "models.list")
        except OpenAiError as error:
            return reply(error.body, error.status)
        return reply({"object": "list", "data": [_model(name) for name in (*MODELS, EMBEDDING_MODEL)]}, headers=headers)

    async def model(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "models.retrieve")
            return reply(_model(_known(request.match_info["id"])), headers=headers)
        except OpenAiError as error:
            return reply(error.body, error.status)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "chat.completions")
            given = await json_body(request)
            model, messages = _known(given.get("model")), _messages(given.get("messages"))
        except OpenAiError as error:
            return reply(error.body, error.status)
        words, asked = answer(
            messages, int(str(given.get("max_completion_tokens") or given.get("max_tokens") or 1_000))
        )
        usage = {"prompt_tokens": asked, "completion_tokens": len(words), "total_tokens": asked + len(words)}
        head = {"id": identifier("chatcmpl-", model, messages), "created": CREATED, "model": model}
        await self._controls.wait(FIRST_TOKEN_SECONDS)
        if given.get("stream"):
            options = given.get("stream_options")
            counted = usage if isinstance(options, dict) and options.get("include_usage") else None
            return await self._stream(request, headers, list(_chunks(head, words, counted)))
        await self._controls.wait(WORD_SECONDS * len(words))
        message = {"role": "assistant", "content": " ".join(words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return reply({**head, "object": "chat.completion", "choices": [choice], "usage": usage}, headers=headers)

    async def responses(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "responses")
            given = await json_body(request)
            model, messages = _known(given.get("model")), _messages(messages_of(given), "input")
        except OpenAiError as error:
            return reply(error.body, error.status)
        words, asked = answer(messages, int(str(given.get("max_output_tokens") or 1_000)))
        whole = response(model, messages, words, asked)
        await self._controls.wait(FIRST_TOKEN_SECONDS)
        if not given.get("stream"):
            await self._controls.wait(WORD_SECONDS * len(words))
            return reply(whole, headers=headers)
        stream = web.StreamResponse(headers=headers | STREAM)
        await stream.prepare(request)
        for event in events(whole, words, FAILS_AFTER if model == UNRELIABLE else None):
            await stream.write(b"event: %s\n%s" % (event["type"].encode(), _event(event)))
            await self._controls.wait(WORD_SECONDS)
        await stream.write_eof()
        return stream

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        try:
            headers = self._begin(request, "embeddings")
            given = await json_body(request)
            texts = _texts(given.get("input"))
        except OpenAiError as error:
            return reply(error.body, error.status)
        vectors = [embedding(text, int(str(given.get("dimensions") or 64))) for text in texts]
        packed = given.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
            for index, vector in enumerate(vectors)
        ]
        count = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
        await self._controls.wait(FIRST_TOKEN_SECONDS)
        body = {"object": "list", "data": data, "model": given.get("model", EMBEDDING_MODEL), "usage": usage}
        return reply(body, headers=headers)

    def _begin(self, request: web.Request, operation: str) -> dict[str, str]:
        """Count a call and check it. The header fields of its response; raises OpenAiError."""
        self._controls.calls[operation] += 1
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        given, required = key if scheme.lower() == "bearer" else None, self._controls.settings.token
        if given is None and required is not None:
            raise OpenAiError(401, "invalid_request_error", None, "You didn't provide an API key.")
        if given is not None and (given != required if required is not None else not given.startswith("sk-")):
            raise OpenAiError(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
        _raise_configured(self._controls.settings.errors.get(operation))
        remaining, seconds = self._controls.use("requests", REQUESTS_PER_MINUTE, MINUTE)
        if remaining < 0:
            raise OpenAiError(429, "requests", "rate_limit_exceeded", "Rate limit reached for requests per min (RPM).")
        return {
            "X-RateLimit-Limit-Requests": str(REQUESTS_PER_MINUTE),
            "X-RateLimit-Remaining-Requests": str(remaining),
            "X-RateLimit-Reset-Requests": f"{seconds:.3f}s",
            "X-RateLimit-Limit-Tokens": str(TOKENS_PER_MINUTE),
            "X-RateLimit-Remaining-Tokens": str(TOKENS_PER_MINUTE),
            "X-RateLimit-Reset-Tokens": "0s",
            "X-Request-ID": request.headers.get("X-Request-ID", f"req_{uuid.uuid4().hex}"),
            "OpenAI-Version": "2020-10-01",
            "OpenAI-Processing-MS": "300",
            "Set-Cookie": COOKIE,
        }

    async def _stream(
        self, request: web.Request, headers: dict[str, str], chunks: list[JsonObject]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers | STREAM)
        await response.prepare(request)
        for number, chunk in enumerate(chunks):
            if chunk["model"] == UNRELIABLE and number == FAILS_AFTER:
                error = {"error": {"message": FAILURE, "type": "server_error", "param": None, "code": None}}
                await response.write(_event(error))
                break
            await response.write(_event(chunk))
            await self._controls.wait(WORD_SECONDS)
        else:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def _chunks(head: JsonObject, words: list[str], usage: JsonObject | None) -> Iterator[JsonObject]:
    """The chunks of a stream. With `usage` each has the field, and one more without choices has its value."""
    base = {**head, "object": "chat.completion.chunk", "system_fingerprint": "fp_demo"}
    base |= {} if usage is None else {"usage": None}
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word if number == 0 else f" {word}"} for number, word in enumerate(words)]
    for delta in deltas:
        yield {**base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]}
    if usage is not None:
        yield {**base, "choices": [], "usage": usage}


def _raise_configured(code: str | None) -> None:
    if code is None:
        return
    status, kind = {
        "insufficient_quota": (429, "insufficient_quota"),
        "rate_limit_exceeded": (429, "requests"),
        "invalid_api_key": (401, "invalid_request_error"),
    }.get(code, (503, "server_error"))
    raise OpenAiError(status, kind, code, code)


def _model(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "demonstration"}


def _known(name: object) -> str:
    if name is None:
        raise OpenAiError(400, "invalid_request_error", None, "you must provide a model parameter")
    if not isinstance(name, str) or name not in (*MODELS, EMBEDDING_MODEL):
        message = f"The model `{name}` does not exist or you do not have access to it."
        raise OpenAiError(404, "invalid_request_error", "model_not_found", message)
    return name


def _messages(given: object, name: str = "messages") -> list[JsonObject]:
    if not isinstance(given, list) or not given or not all(isinstance(message, dict) for message in given):
        raise OpenAiError(400, "invalid_request_error", None, f"'{name}' must be a non-empty array.", name)
    return given


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise OpenAiError(
            400, "invalid_request_error", None, "'input' must be a string or an array of strings.", "input"
        )
    return texts


def _packed(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _event(data: JsonObject) -> bytes:
    return b"data: %s\n\n" % json.dumps(data).encode()
