"""What the five backends share: JSON responses and errors, a `Server` field, and `/health`."""

import json
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

JsonObject = dict[str, Any]


def json_backend(server: str, *middlewares: Middleware) -> web.Application:
    """A backend with `/health` only, to which routes are added."""
    backend = web.Application(middlewares=[_errors_as_json, *middlewares])

    async def set_server(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = server

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": server}, headers={"Cache-Control": "no-store"})

    backend.on_response_prepare.append(set_server)
    backend.router.add_get("/health", health)
    return backend


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        fields = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
        return web.json_response({"error": error.reason}, status=error.status, headers=fields)


async def json_body(request: web.Request) -> dict[str, object]:
    """The JSON object in the request's body. Raises HTTPBadRequest for anything else."""
    try:
        data = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        data = None
    if not isinstance(data, dict):
        raise web.HTTPBadRequest(reason="the body must be a JSON object")
    return data
