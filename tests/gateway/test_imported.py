"""Configurations imported from other gateways' files, in front of a backend: one request for each product."""

from pathlib import Path
from typing import NamedTuple

import pytest

from routing.configuration.decode import decode
from routing.imports.products import convert, read
from tests.gateway.cache_steps import reply
from tests.gateway.conftest import World
from tests.origin import ScriptedOrigin

FILES = Path(__file__).parents[1] / "routing" / "imports" / "files"


class Case(NamedTuple):
    """`sent` is the request line that the backend receives, and `secret` the field with a secret."""

    product: str
    file: str
    service: str
    path: str
    sent: bytes
    secret: bytes | None = None
    base: str = ""


CASES = (
    Case("deck", "kong.yaml", "crm", "/contacts", b"GET /v2/contacts", b"authorization", base="/v2"),
    Case("krakend", "krakend.json", "catalogue", "/products/7", b"GET /products/7"),
    Case("litellm", "litellm.yaml", "openai", "/v1/chat/completions", b"POST /v1/chat/completions", b"authorization"),
    Case("traefik", "traefik.yaml", "shop", "/api/items", b"GET /api/items", b"x-api-key"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.product)
async def test_an_imported_service_serves(world: World, case: Case) -> None:
    structure = convert(read((FILES / case.file).read_bytes()), case.product).structure
    origin = await ScriptedOrigin(reply(200, b"{}", content_type="application/json")).__aenter__()
    world.origins.append(origin)
    structure["services"][case.service]["targets"] = [{"url": f"{origin.url}{case.base}"}]
    services = decode(structure, lambda name: f"value-of-{name}")
    world.add(next(found for found in services if found.name == case.service))
    method = case.sent.split()[0].decode()
    body = {"body": [b"{}"]} if method == "POST" else {}
    response = await world.request(method, f"/api/v1/{case.service}{case.path}", **body)
    assert response.status == 200
    assert origin.requests[0].line.startswith(case.sent)
    if case.secret:
        assert b"value-of-GATEWAY_SECRET_" in dict(origin.requests[0].fields)[case.secret]
