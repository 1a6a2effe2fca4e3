"""What the five backends have in common: JSON answers, errors as JSON, a name in `Server`, and `/health`."""

import json

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


def application(server: str, *middlewares: Middleware) -> web.Application:
    """A backend that only knows `/health` so far."""
    backend = web.Application(middlewares=[_errors_as_json, *middlewares])

    async def sign(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = server

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": server}, headers={"Cache-Control": "no-store"})

    backend.on_response_prepare.append(sign)
    backend.router.add_get("/health", health)
    return backend


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        fields = {name: value for name, value in refusal.headers.items() if name in ("Allow", "Retry-After")}
        return web.json_response({"error": refusal.reason}, status=refusal.status, headers=fields)


async def body(request: web.Request) -> dict[str, object]:
    """The request's JSON object. Raises HTTPBadRequest when it is none."""
    try:
        read = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        read = None
    if not isinstance(read, dict):
        raise web.HTTPBadRequest(reason="the body must be a JSON object")
    return read
