"""Pages for somebody who has a role for one service: every link leads somewhere, and nothing names another one."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.accessibility import Screenshot, faults
from tests.browser.pages import PASSWORD, ROOT, own_environment, reply, running_gateway, sign_in, web_server

WORD: Final = "zebra"
CONFIGURATION: Final = """
version: 1
services:
  crm:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    routes: [{{path: "/contacts/{{id}}", methods: [GET]}}]
  zebraledger:
    targets: [{{url: "http://127.0.0.1:{backend}"}}]
    routes: [{{path: "/zebras/{{id}}", methods: [GET]}}]
webhooks:
  zebrahook: {{verify: github, secret: "env:GATEWAY_SECRET_HOOK", service: zebraledger}}
plans:
  zebraplan: {{rate: 600/m, services: [zebraledger]}}
"""
CREATE: Final = """
from django.contrib.auth.models import User
from routing.models import ServiceRole
for name in ("eve", "mia"):
    user = User.objects.create_user(name, password=%r, is_staff=True)
    ServiceRole.objects.create(user=user, role="Owner", services=["crm"])
"""
ELSEWHERE: Final = """UPDATE routing_servicerole SET services = '["mail"]'
WHERE user_id = (SELECT id FROM auth_user WHERE username = 'mia')"""
TAKEN: Final = "DELETE FROM routing_servicerole WHERE user_id = (SELECT id FROM auth_user WHERE username = 'mia')"
BEGIN: Final = ("/dashboard/", "/admin/", "/admin/routing/route/add/")
NOT_FOLLOWED: Final = ("/accounts/logout", "/admin/logout", "/api/", "/static/", "/metrics")
MOST: Final = 120
"""Pages that are opened. There are fewer."""
LOOKED_AT: Final = (
    "/dashboard/",
    "/dashboard/services/crm/",
    "/dashboard/usage/",
    "/dashboard/callers/",
    "/dashboard/alerts/",
    "/admin/",
    "/admin/routing/service/",
    "/admin/routing/route/add/",
    "/admin/metrics/operation/",
)


class Site(NamedTuple):
    url: str
    console: list[str]
    database: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        reply(handler, 200, b'{"id": 7}', Content_Type="application/json")

    directory = tmp_path_factory.mktemp("gateway")
    with (
        web_server(respond) as backend,
        running_gateway(directory, CONFIGURATION.format(backend=backend), GATEWAY_SECRET_HOOK="a test") as (port, key),
    ):
        create_people(directory, port)
        for path in ("crm/contacts/7", "zebraledger/zebras/7"):
            requests.get(f"http://127.0.0.1:{port}/api/v1/{path}", headers={"X-API-Key": key}, timeout=30)
        yield Site(f"http://127.0.0.1:{port}", [], directory / "gateway.sqlite3")


def change_roles(site: Site, statement: str) -> None:
    """As a superuser would meanwhile."""
    with contextlib.closing(sqlite3.connect(site.database, timeout=30)) as database, database:
        database.execute(statement)


def create_people(directory: Path, port: int) -> None:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", CREATE % PASSWORD]
    subprocess.run(command, cwd=ROOT, env=own_environment(directory, port), check=True)


@pytest.fixture(scope="module")
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    opened = browser.new_context()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            site.console.append(f"{message.location['url']}: {message.text}")

    opened.on("console", listen)
    sign_in(opened, site.url, "eve", PASSWORD)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    site.console.clear()
    opened = context.new_page()
    yield opened
    opened.close()


def links(page: Page, site: Site) -> dict[str, str]:
    """Where the page's links lead to within the site, by their paths."""
    found: dict[str, str] = {}
    for address in page.eval_on_selector_all("a[href]", "nodes => nodes.map(node => node.href)"):
        parts = urlsplit(address)
        is_ours = f"{parts.scheme}://{parts.netloc}" == site.url
        if is_ours and not parts.path.startswith(NOT_FOLLOWED) and not parts.path.endswith(".csv"):
            found.setdefault(parts.path, f"{parts.path}?{parts.query}" if parts.query else parts.path)
    return found


def test_every_link_leads_somewhere_and_no_page_names_another_service(page: Page, site: Site) -> None:
    waiting, seen, wrong = list(BEGIN), set[str](BEGIN), []
    while waiting and len(seen) < MOST:
        path = waiting.pop(0)
        response = page.goto(f"{site.url}{path}")
        assert response is not None
        if response.status != 200:
            wrong.append(f"{path}: {response.status}")
        if WORD in page.content():
            wrong.append(f"{path}: names another service")
        new = {known: address for known, address in links(page, site).items() if known not in seen}
        seen.update(new)
        waiting += new.values()
    assert wrong == []
    assert site.console == []
    assert set(LOOKED_AT) <= seen, set(LOOKED_AT) - seen
    assert len(seen) < MOST


def test_the_pages_are_accessible_and_fit(page: Page, site: Site, screenshot: Screenshot) -> None:
    found: list[str] = []
    for path in LOOKED_AT:
        page.goto(f"{site.url}{path}")
        found += faults(page, f"limited{path.replace('/', '-')}", screenshot)
    assert found == []
    assert site.console == []


def test_a_page_says_that_its_service_is_gone_and_then_that_nothing_may_be_viewed(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    sign_in(context, site.url, "mia", PASSWORD)
    page = context.new_page()
    page.goto(f"{site.url}/dashboard/services/crm/")
    expect(page.locator("#feed")).to_have_text("Live", timeout=15_000)
    expect(page.locator("#gone")).to_be_hidden()
    change_roles(site, ELSEWHERE)
    expect(page.locator("#gone")).to_contain_text("no longer configured, or you may no longer view it", timeout=30_000)
    change_roles(site, TAKEN)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not allowed", timeout=30_000)
    context.close()
