"""Staff log in, work and log out behind nginx with TLS, in Chromium, with the fields that proxies commonly set."""

from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests.browser.pages import OPEN_SERVICE, PASSWORD, reply, running_gateway, web_server
from tests.nginx import nginx
from tests.ports import free_port

FIELDS = {
    "X-Forwarded with the host kept": """
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;""",
    "X-Forwarded with the host in a field": """
      proxy_set_header Host gateway.internal;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr:$remote_port;
      proxy_set_header X-Forwarded-Proto HTTPS;""",
    "X-Forwarded with the port in a field": """
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;""",
    "Forwarded": """
      proxy_set_header Host gateway.internal;
      proxy_set_header Forwarded 'for="$remote_addr:$remote_port";proto=$scheme;host="$http_host"';""",
}


class Site(NamedTuple):
    url: str
    certificate: str


def list_fields(handler: BaseHTTPRequestHandler) -> None:
    lines = [f"{name.lower()}: {value}" for name, value in handler.headers.items()]
    reply(handler, 200, "\n".join(lines).encode(), Content_Type="text/plain")


@pytest.fixture(scope="module", params=FIELDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        backend = stack.enter_context(web_server(list_fields))
        configuration = OPEN_SERVICE.format(backend=backend)
        gateway, _ = stack.enter_context(
            running_gateway(tmp_path_factory.mktemp("gateway"), configuration, TRUSTED_PROXIES="127.0.0.0/8")
        )
        port = free_port()
        directory = tmp_path_factory.mktemp("nginx")
        stack.enter_context(nginx(directory, port, gateway, FIELDS[request.param]))
        yield Site(f"https://localhost:{port}", str(directory / "certificate.pem"))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


def log_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/admin/login/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.url}/admin/")


def test_staff_log_in_work_and_log_out(site: Site, page: Page) -> None:
    log_in(page, site)
    cookies: Any = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["sessionid"]["secure"]
    assert cookies["sessionid"]["httpOnly"]

    page.goto(f"{site.url}/dashboard/")
    page.wait_for_selector("text=open")
    page.goto(f"{site.url}/admin/routing/apikey/add/")
    page.fill("[name=name]", "made in the browser")
    scopes = page.get_by_role("combobox", name="Scopes: add an entry")
    scopes.fill("*")
    scopes.press("Enter")
    page.click("[name=_save]")
    page.wait_for_url("**/admin/routing/apikey/")
    assert page.locator("text=shown only this once").count() == 1

    with page.expect_navigation():
        page.evaluate("document.querySelector('form[action$=\"/logout/\"]').submit()")
    assert not {cookie["name"] for cookie in page.context.cookies()} & {"sessionid"}
    page.goto(f"{site.url}/dashboard/")
    assert "/admin/login/" in page.url


def test_the_dashboard_is_live(site: Site, page: Page) -> None:
    log_in(page, site)
    with page.expect_websocket() as opened:
        page.goto(f"{site.url}/dashboard/")
    assert opened.value.url.startswith("wss://")
    opened.value.wait_for_event("framereceived")


def test_a_backend_is_told_what_the_browser_used(site: Site) -> None:
    forged = {"X-Forwarded-Prefix": "/evil", "X-Real-IP": "6.6.6.6"}
    response = requests.get(f"{site.url}/api/v1/open/x", headers=forged, verify=site.certificate, timeout=30)
    fields = dict(line.split(": ", 1) for line in response.text.splitlines())
    assert fields["x-forwarded-proto"] == "https"
    assert fields["x-forwarded-host"] == site.url.removeprefix("https://")
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-port"] == site.url.rpartition(":")[2]
    assert "x-real-ip" not in fields
