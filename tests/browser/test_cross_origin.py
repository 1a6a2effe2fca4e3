"""What pages of two origins may do, in Chromium: with a key, with a token and with cookies; responses and errors."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.pages import reply, running_gateway, web_server
from tests.firebase import PROJECT, FirebaseIssuer, encoded

CONFIGURATION = """
version: 1
services:
  open:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    auth: none
    cache: {{ttl: 60, scope: shared}}
    cors: {{origins: ["http://localhost:*", "http://127.0.0.1:{pages}"], credentials: true}}
  keyed:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    hosts: ["keyed.localhost"]
    routes:
      - {{path: /limited, rate_limit: 1/h}}
  gone:
    targets: [{{url: "http://127.0.0.1:1"}}]
"""
FETCH = """async ([url, options]) => {
  try {
    const response = await fetch(url, options);
    const body = await response.text();
    return {status: response.status, body, fields: Object.fromEntries(response.headers)};
  } catch (error) { return {error: String(error)}; }
}"""


def respond(handler: BaseHTTPRequestHandler) -> None:
    """A backend with a CORS policy of its own, which contradicts the gateway's."""
    own = {"Access-Control-Allow-Origin": "https://backend.example", "Access-Control-Expose-Headers": "X-Total"}
    if handler.path == "/sign-in":
        own["Set-Cookie"] = "visitor=ann; Path=/"
    seen = f"{handler.command} {handler.headers.get('Cookie', '')}"
    reply(handler, 200, seen.encode(), **own, X_Total="3")


@dataclass
class Scene:
    gateway: int
    key: str
    listed: str
    unlisted: str
    browser: Browser

    def page(self, origin: str) -> Page:
        page = self.browser.new_context().new_page()
        page.goto(origin)
        return page

    def fetch(self, page: Page, path: str, host: str = "127.0.0.1", **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = page.evaluate(FETCH, [f"http://{host}:{self.gateway}{path}", options])
        return found


@pytest.fixture(scope="module")
def scene(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as stack:
        backend, pages = (
            stack.enter_context(web_server(respond)),
            stack.enter_context(web_server(lambda handler: reply(handler, 200, b"<title>page</title>"))),
        )
        gateway, key = stack.enter_context(
            running_gateway(
                tmp_path_factory.mktemp("gateway"),
                CONFIGURATION.format(backend=backend, pages=pages),
                CORS_ORIGINS=f"http://localhost:{pages}",
                DEBUG="1",
                FIREBASE_PROJECT_ID=PROJECT,
                FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:1",
            )
        )
        yield Scene(gateway, key, f"http://localhost:{pages}", f"http://127.0.0.1:{pages}", browser)


def token() -> str:
    claims = FirebaseIssuer().claims(exp=int(time.time() + 600))
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims)}."


@pytest.mark.parametrize("host", ["127.0.0.1", "keyed.localhost"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("credential", ["key", "token"])
def test_a_page_calls_with_a_key_or_a_token(scene: Scene, credential: str, method: str, host: str) -> None:
    page = scene.page(scene.listed)
    path = "/x" if host != "127.0.0.1" else "/api/v1/keyed/x"
    sent = {"X-API-Key": scene.key} if credential == "key" else {"Authorization": f"Bearer {token()}"}
    options: dict[str, Any] = {"method": method, "headers": {**sent, "Content-Type": "application/json"}}
    if method != "GET":
        options["body"] = '{"a":1}'
    for expected in ("MISS", "HIT") if method == "GET" else ("BYPASS",) * 2:
        found = scene.fetch(page, path, host, **options)
        assert found.get("status") == 200, found
        assert found["body"].startswith(method)
        assert found["fields"]["x-total"] == "3"
        assert found["fields"]["x-request-id"]
        assert found["fields"]["x-cache"] in (expected, "HIT")


def test_a_page_of_an_unlisted_origin_cannot_call(scene: Scene) -> None:
    page = scene.page(scene.unlisted)
    sent: dict[str, Any] = {"headers": {"X-API-Key": scene.key}}
    assert "error" in scene.fetch(page, "/api/v1/keyed/x", **sent)
    assert "error" in scene.fetch(page, "/metrics", **sent)
    assert "error" in scene.fetch(page, "/events?topics=news", **sent)


def test_a_stored_response_is_read_by_two_origins(scene: Scene) -> None:
    for _ in range(2):
        for origin in (scene.listed, scene.unlisted):  # the service lists both
            found = scene.fetch(scene.page(origin), "/api/v1/open/stored")
            assert found.get("status") == 200, found


def test_a_page_reads_errors(scene: Scene) -> None:
    page = scene.page(scene.listed)
    sent = {"X-API-Key": scene.key}
    scene.fetch(page, "/api/v1/keyed/limited", headers=sent, cache="no-store")
    for path, headers, status in (
        ("/api/v1/keyed/x", {"X-API-Key": "gw_none_none"}, 401),
        ("/api/v1/none/x", sent, 404),
        ("/api/v1/keyed/limited", sent, 429),
        ("/api/v1/gone/x", sent, 502),
        ("/api/v1/keyed/../x%00", sent, 400),
    ):
        found = scene.fetch(page, path, headers=headers, cache="no-store")
        assert found.get("status") == status, found
        assert '"code"' in found["body"]


def test_a_page_reads_metrics_and_publishes_events(scene: Scene) -> None:
    page = scene.page(scene.listed)
    sent = {"X-API-Key": scene.key, "Content-Type": "application/json"}
    assert scene.fetch(page, "/metrics", headers=sent)["status"] == 200
    body = '{"topic":"news","type":"test","data":1}'
    found = scene.fetch(page, "/events", method="POST", headers=sent, body=body)
    assert found.get("status") == 202, found


def test_a_page_sends_cookies_where_the_service_allows_it(scene: Scene) -> None:
    page = scene.page(scene.listed)
    listed = {"credentials": "include"}
    assert scene.fetch(page, "/api/v1/open/sign-in", "localhost", **listed)["status"] == 200
    assert scene.fetch(page, "/api/v1/open/who", "localhost", method="POST", **listed)["body"] == "POST visitor=ann"
    # CORS_ORIGINS alone never allows them.
    sent = {"headers": {"X-API-Key": scene.key}, "credentials": "include"}
    assert "error" in scene.fetch(page, "/api/v1/keyed/x", "localhost", **sent)
