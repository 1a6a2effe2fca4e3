"""A login with redirects and cookies in Chromium: under the prefix, and on a host of the service's own."""

from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

import pytest
from playwright.sync_api import Browser

from tests.browser.pages import reply, running_gateway, web_server

CONFIGURATION = """
version: 1
services:
  shop:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    hosts: ["shop.localhost"]
    auth: none
  based:
    targets: [{{url: "http://127.0.0.1:{backend}/base"}}]
    hosts: ["based.localhost"]
    auth: none
  other:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    auth: none
"""


def respond(handler: BaseHTTPRequestHandler) -> None:
    """An application that is at `/` and at `/base`, and builds its URLs from the host that the client named."""
    base, path = ("/base", handler.path[5:]) if handler.path.startswith("/base/") else ("", handler.path)
    host = handler.headers.get("X-Forwarded-Host", "")
    cookie = handler.headers.get("Cookie", "")
    if path == "/login":
        reply(handler, 200, b'<form method="post" action="session"><button>in</button></form>')
    elif path == "/session":
        fields = {"Set-Cookie": f"seen=ann; Path={base or '/'}; HttpOnly; Domain=127.0.0.1", "Location": f"{base}/"}
        reply(handler, 303, b"", **fields)
    elif "seen=ann" not in cookie:
        reply(handler, 302, b"", Location=f"http://{host}{base}/login")
    else:
        reply(handler, 200, b"<h1>welcome ann</h1>")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with ExitStack() as stack:
        backend = stack.enter_context(web_server(respond))
        configuration = CONFIGURATION.format(backend=backend)
        # On a host with staff's pages, responses are sandboxed and cannot submit forms.
        hosts = {"STAFF_HOST": "staff.localhost", "ALLOWED_HOSTS": "127.0.0.1,localhost,staff.localhost"}
        directory = tmp_path_factory.mktemp("gateway")
        port, _ = stack.enter_context(running_gateway(directory, configuration, **hosts))
        yield port


@pytest.mark.parametrize(
    ("host", "root"),
    [
        ("127.0.0.1", "/api/v1/shop/"),
        ("127.0.0.1", "/api/v1/based/"),
        ("shop.localhost", "/"),
        ("based.localhost", "/"),
    ],
)
def test_a_visitor_logs_in(browser: Browser, port: int, host: str, root: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://{host}:{port}{root}account")
    assert page.url == f"http://{host}:{port}{root}login"
    page.click("button")
    page.wait_for_selector("h1")
    assert page.url == f"http://{host}:{port}{root}"
    page.goto(f"http://{host}:{port}{root}account")
    assert page.inner_text("h1") == "welcome ann"
    if host == "127.0.0.1":
        page.goto(f"http://{host}:{port}/api/v1/other/account")
        assert page.url.endswith("/api/v1/other/login"), "another service got the cookie"
    context.close()
