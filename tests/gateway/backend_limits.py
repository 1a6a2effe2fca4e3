"""Services of a test world that are configured as in the file, and responses of their backends."""

import json
from typing import Any

from routing.configuration.decode import decode_service
from tests.gateway.conftest import World
from tests.origin import Script, ScriptedOrigin

SLACK: dict[str, Any] = {
    "limited": [{"status": 429}, {"status": 200, "body": {"ok": False, "error": "ratelimited"}}],
    "ours": {"body": {"ok": False, "error": ["token_expired", "invalid_auth", "token_revoked"]}},
    "failed": {"body": {"ok": False, "error": ["internal_error", "fatal_error", "service_unavailable"]}},
    "callers": {"body": {"ok": False}},
}
OK = {"ok": True}


def answer(body: object, status: int = 200, **fields: str) -> bytes:
    """A JSON response with header fields, whose names have underscores for hyphens."""
    content = json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json; charset=utf-8\r\n{lines}"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def serve(world: World, *scripts: Script, name: str = "slack", **settings: Any) -> ScriptedOrigin:
    """Add a service with these settings of the configuration file."""
    origin = await ScriptedOrigin(*scripts).__aenter__()
    world.origins.append(origin)
    document = {"targets": [{"url": origin.url}], "timeout": {"connect": 2, "read": 5, "total": 10}, **settings}
    world.add(decode_service(name, document, lambda _name: "secret"))
    return origin
