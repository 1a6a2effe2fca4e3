"""Every page that staff and strangers can reach is accessible and fits, light and dark, on a phone and a wide screen.

Members' pages are in test_portal.py, those of second factors in test_staff_sign_in.py.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Final, NamedTuple

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.accessibility import Screenshot, faults
from tests.browser.pages import PASSWORD, reply, running_gateway, sign_in, web_server
from tests.processes import eventually

LONG: Final = "a" + "-very-long-name" * 4 + "-x"
"""63 characters."""
CONFIGURATION: Final = f"""
version: 1
services:
  crm:
    targets: [{{{{url: "http://127.0.0.1:{{backend}}"}}}}]
    status_page: Customer data
    routes: [{{{{path: "/contacts/{{{{id}}}}", methods: [GET]}}}}]
  {LONG}:
    targets: [{{{{url: "http://127.0.0.1:9"}}}}]
    status_page: true
    routes: [{{{{path: "/{"segment-" * 12}/{{{{id}}}}", methods: [GET]}}}}]
plans:
  free: {{{{rate: 600/m, quota: [{{{{amount: 1000, per: day}}}}], offered: true}}}}
teams:
  sales: {{{{plan: free}}}}
consumers:
  acme: {{{{plan: free, team: sales}}}}
issuers:
  - {{{{issuer: "https://id.example.com", audience: gateway}}}}
webhooks:
  github: {{{{verify: github, secret: "env:GATEWAY_SECRET_HOOK", service: crm}}}}
"""
DASHBOARD: Final = {
    "overview": "/dashboard/",
    "service": f"/dashboard/services/{LONG}/",
    "events": "/dashboard/events/",
    "requests": "/dashboard/requests/",
    "request-missing": "/dashboard/requests/nothing-with-this-id/",
    "usage": "/dashboard/usage/",
    "error-404": "/dashboard/nothing/",
    "response": "/api/v1/crm/contacts/7",
    "response-list": "/api/v1/",
}
PUBLIC: Final = {
    "status": "/status/",
    "login": "/accounts/login/",
    "error-stranger": "/nothing",
    "api-docs": "/api/docs",
}
ADMIN: Final = {
    "index": "/admin/",
    "explain": "/admin/explain/?method=GET&path=/api/v1/crm/contacts/7&caller=firebase:ada",
    "password": "/accounts/password/",
    "second-factor": "/accounts/second-factor/",
    "account": "/accounts/",
}
"""Beside the lists that the sidebar leads to, their forms, and a row of each."""


class Site(NamedTuple):
    url: str
    key: str

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", headers={"X-API-Key": self.key}, timeout=30)


def respond(handler: BaseHTTPRequestHandler) -> None:
    status = 500 if handler.path.endswith("/broken") else 200
    reply(handler, status, b'{"id": 7}', Content_Type="application/json")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        backend = stack.enter_context(web_server(respond))
        configuration = CONFIGURATION.format(backend=backend)
        environment = {"STATUS_PAGE": "on", "STAFF_SECOND_FACTOR": "optional", "GATEWAY_SECRET_HOOK": "a test"}
        directory = tmp_path_factory.mktemp("gateway")
        port, key = stack.enter_context(running_gateway(directory, configuration, **environment))
        site = Site(f"http://127.0.0.1:{port}", key)
        for path in (f"{LONG}/x", "crm/contacts/broken", "crm/contacts/7", "crm/contacts/7"):
            for _ in range(6):
                site.get(f"/api/v1/{path}")
        yield site


@pytest.fixture(scope="module")
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    """Of a member of staff."""
    opened = browser.new_context()
    sign_in(opened, site.url, "ada", PASSWORD)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    yield opened
    opened.close()


def look(page: Page, site: Site, pages: dict[str, str], screenshot: Screenshot) -> list[str]:
    found: list[str] = []
    for name, path in pages.items():
        response = page.goto(f"{site.url}{path}")
        assert response is not None
        if response.status == 500:
            found.append(f"{name}: {response.status}")
        if path == "/api/docs":
            page.wait_for_selector(".opblock")
        found += faults(page, name, screenshot)
    return found


def test_the_dashboard(page: Page, site: Site, screenshot: Screenshot) -> None:
    assert eventually(lambda: len(site.get("/metrics/requests").json()["requests"]) >= 12)
    failed = site.get("/api/v1/crm/contacts/broken").headers["X-Request-ID"]
    assert eventually(lambda: site.get(f"/metrics/requests/{failed}").status_code == 200)
    assert look(page, site, {**DASHBOARD, "request": f"/dashboard/requests/{failed}/"}, screenshot) == []


def test_pages_for_strangers(browser: Browser, site: Site, screenshot: Screenshot) -> None:
    page = browser.new_page()
    found = look(page, site, PUBLIC, screenshot)
    page.close()
    assert found == []


def test_the_status_page_renews_itself(browser: Browser, site: Site) -> None:
    page = browser.new_page()
    page.clock.install()
    page.goto(f"{site.url}/status/")
    page.route("**/status/", lambda route: route.abort())
    page.clock.fast_forward(61_000)
    expect(page.get_by_text("This page cannot be updated now.")).to_be_visible()
    page.unroute("**/status/")
    body = "<title>Later</title><main><h1>Later</h1></main>"
    page.route("**/status/", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.clock.fast_forward(61_000)
    expect(page.get_by_role("heading", name="Later")).to_be_visible()
    page.close()


def test_the_admin(page: Page, site: Site, screenshot: Screenshot) -> None:
    page.goto(f"{site.url}/admin/")
    links = page.locator("#nav-sidebar-inner a[href^='/admin/']").evaluate_all("all => all.map(each => each.pathname)")
    lists = sorted({link for link in links if re.fullmatch(r"/admin/\w+/\w+/", link)})
    assert len(lists) > 20
    pages = {f"admin-{name}": path for name, path in ADMIN.items()}
    for path in lists:
        name = path.strip("/").split("/")[-1]
        pages[f"admin-{name}-list"] = path
        page.goto(f"{site.url}{path}")
        rows = page.locator("#result_list th a, #result_list td a").evaluate_all(
            "all => all.map(each => each.pathname)"
        )
        own = [row for row in rows if row.startswith(path)]
        pages |= {f"admin-{name}-form": own[0]} if own else {}
        if not own and page.locator(f"a[href^='{path}add/']").count():
            pages[f"admin-{name}-add"] = f"{path}add/"
    assert look(page, site, pages, screenshot) == []
