"""An AI backend: completions as JSON, or word by word as server-sent events; OpenAI's and Anthropic's APIs at `/v1`."""

import asyncio
import json
from typing import Final

from aiohttp import web

from routing.demo.anthropic_api import AnthropicApi
from routing.demo.controls import Controls
from routing.demo.json_backend import json_backend, json_body
from routing.demo.openai_api import OpenAiApi

MODELS: Final = {"data": [{"id": "router-small", "context": 32_768}, {"id": "router-large", "context": 200_000}]}
WORD_SECONDS: Final = 0.15
STREAMED: Final = "Three renewals close this week; Contoso is the largest and waits for legal."
VERSION_FIELD: Final = "anthropic-version"
STREAM: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}


async def models(_: web.Request) -> web.Response:
    return web.json_response(MODELS)


async def complete(request: web.Request) -> web.Response:
    prompt = (await json_body(request)).get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise web.HTTPBadRequest(reason="prompt must be a non-empty string")
    words = prompt.split()
    text = f"Your prompt has {len(words)} words: {' '.join(words[:40])}"
    usage = {"prompt_tokens": len(words), "completion_tokens": len(text.split())}
    completion = {"model": "router-small", "text": text, "finish_reason": "stop", "usage": usage}
    return web.json_response(completion, headers={"Cache-Control": "no-store"})


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=STREAM)
    await response.prepare(request)
    if request.method != "HEAD":
        for word in STREAMED.split():
            await response.write(b"data: %s\n\n" % json.dumps({"delta": f"{word} "}).encode())
            await asyncio.sleep(WORD_SECONDS)
        await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def ai_backend() -> web.Application:
    ai = json_backend("ai-routing/0.7")
    ai.router.add_get("/models", models)
    ai.router.add_post("/complete", complete)
    ai.router.add_get("/stream", stream)
    controls = Controls()
    controls.attach(ai)
    _add_providers(ai, OpenAiApi(controls), AnthropicApi(controls))
    return ai


def _add_providers(ai: web.Application, openai: OpenAiApi, anthropic: AnthropicApi) -> None:
    """Both APIs. They share `/v1/models`, which is Anthropic's for requests with its version."""

    async def list_models(request: web.Request) -> web.StreamResponse:
        response = await (anthropic if VERSION_FIELD in request.headers else openai).models(request)
        response.headers["Vary"] = VERSION_FIELD
        return response

    ai.router.add_get("/v1/models", list_models)
    ai.router.add_get("/v1/models/{id}", openai.model)
    ai.router.add_post("/v1/chat/completions", openai.chat)
    ai.router.add_post("/v1/responses", openai.responses)
    ai.router.add_post("/v1/embeddings", openai.embeddings)
    ai.router.add_post("/v1/messages", anthropic.messages)
    ai.router.add_post("/v1/messages/count_tokens", anthropic.count)
