"""The tables of 200 services and of 1,000 routes in Chromium."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, overflows, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import reply, running_gateway, web_server
from tests.browser.test_dashboard import Screenshot, expect_live

SERVICES, ROUTES = 200, 1_000
FAILING = "service-150"
CANARY = "service-020"


def respond(handler: BaseHTTPRequestHandler) -> None:
    reply(handler, 500 if "fail" in handler.path else 200, b"{}", Content_Type="application/json")


def service(number: int, port: int) -> dict[str, Any]:
    targets: list[dict[str, Any]] = [{"url": f"http://127.0.0.1:{port}"}]
    if number == 20:
        targets.append({"url": f"http://127.0.0.1:{port}/canary", "canary": 5})
    return {
        "targets": targets,
        "auth": "none",
        "cache": False,
        "labels": {"team": ("payments", "search")[number % 2]},
        "routes": [{"path": f"/items/{each}/{{id}}"} for each in range(ROUTES if number == 150 else 1)],
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with web_server(respond) as port:
        services = {f"service-{number:03}": service(number, port) for number in range(SERVICES)}
        configuration = json.dumps({"version": 1, "services": services})
        with running_gateway(tmp_path_factory.mktemp("many"), configuration) as (own, key):
            gateway = Gateway(f"http://127.0.0.1:{own}", key)
            for path in ("items/7/1", "items/7/1", "items/400/fail"):
                gateway.get(f"/api/v1/{FAILING}/{path}")
            yield gateway


def names(page: Page, key: str = "service") -> list[str]:
    rows = page.locator(f"tr[data-{key}]")
    found: list[str] = rows.evaluate_all(f"rows => rows.map((row) => row.dataset.{key})")
    return found


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_200_services_take_one_screen_and_the_worst_is_the_first(
    visit: Open, screenshot: Screenshot, width: int
) -> None:
    page = visit(width=width)
    expect_live(page)
    expect(page.locator("tr[data-service]").first).to_have_attribute("data-service", FAILING, timeout=15_000)
    box = page.locator(".table-scroll").first
    screen = page.viewport_size
    size = box.bounding_box()
    assert screen is not None
    assert size is not None
    assert size["height"] < screen["height"]
    assert len(names(page)) < SERVICES  # as many as have been scrolled to
    box.evaluate("box => box.scrollTo(0, 1e6)")
    expect(page.locator(f'tr[data-service="service-{100 if width == PHONE else 110}"]')).to_be_attached()
    if width == WIDE:
        head = page.locator(".table-scroll thead th").first.bounding_box()
        assert head is not None
        assert abs(head["y"] - size["y"]) < 2
    assert not overflows(page)
    assert violations(page) == []
    screenshot(page, f"services-200-{width}")


def test_services_are_searched_filtered_sorted_and_grouped_by_label(visit: Open, screenshot: Screenshot) -> None:
    page = visit()
    expect_live(page)
    page.get_by_role("searchbox", name="Search services").fill("service-02 search")
    expect(page.get_by_text("5 of 200 services")).to_be_visible()
    assert names(page) == [f"service-02{number}" for number in (1, 3, 5, 7, 9)]
    page.get_by_role("button", name="Service", exact=True).click()
    page.get_by_role("button", name="Service", exact=True).click()
    assert names(page)[0] == "service-029"
    expect(page.get_by_role("columnheader", name="Service")).to_have_attribute("aria-sort", "descending")
    page.reload()
    expect_live(page)
    assert names(page) == [f"service-02{number}" for number in (9, 7, 5, 3, 1)]  # the address has it all
    page.get_by_role("searchbox", name="Search services").fill("")
    page.get_by_label("State").first.select_option("idle")
    expect(page.get_by_text("199 of 200 services")).to_be_visible()
    page.get_by_label("Group by label").select_option("team")
    group = page.get_by_role("button", name="search · 100 services")
    group.press("Enter")
    expect(group).to_have_attribute("aria-expanded", "false")
    expect(group).to_be_focused()
    assert all(int(name[-3:]) % 2 == 0 for name in names(page))
    assert violations(page) == []
    screenshot(page, "services-grouped")


def test_columns_are_chosen_and_remembered(visit: Open) -> None:
    page = visit()
    expect_live(page)
    page.get_by_text("Columns").first.click()
    page.get_by_role("checkbox", name="Labels").check()
    page.get_by_role("checkbox", name="Median").uncheck()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.reload()
    expect(page.get_by_role("columnheader", name="Labels")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Median")).to_have_count(0)
    row = page.locator(f'tr[data-service="{FAILING}"]')
    expect(row).to_contain_text("team: payments")
    page.get_by_role("searchbox", name="Search services").fill(CANARY)
    expect(page.locator(f'tr[data-service="{CANARY}"]')).to_contain_text("Canary 5%")


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (WIDE, "light")])
def test_a_services_page_has_the_figures_of_1000_routes(
    visit: Open, screenshot: Screenshot, width: int, scheme: str
) -> None:
    page = visit(f"/dashboard/services/{FAILING}/", width=width, scheme=scheme)
    expect_live(page)
    expect(page.get_by_text("1000 routes, worst first")).to_be_visible()
    first, second = (page.locator("tr[data-route]").nth(number) for number in (0, 1))
    expect(first).to_contain_text("/items/400/{id}")
    expect(first).to_contain_text("100%")
    expect(second).to_contain_text("/items/7/{id}")
    page.get_by_label("Period").select_option("90d")
    page.get_by_label("State").first.select_option("used")
    expect(page.get_by_text("2 of 1000 routes")).to_be_visible()
    expect(page.locator("#targets")).to_contain_text("Up")
    assert not overflows(page)
    assert violations(page) == []
    screenshot(page, f"routes-1000-{width}")


def test_1000_routes_in_one_list_are_moved_and_say_what_they_are(visit: Open, screenshot: Screenshot) -> None:
    page = visit(f"/admin/routing/route/?service__name={FAILING}&all=")
    expect(page.get_by_role("row")).to_have_count(ROUTES + 1)
    page.locator("[data-move]").nth(ROUTES - 2).focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#route-order-status")).to_have_text(f"Moved to position {ROUTES}.")
    row = page.get_by_role("row").nth(ROUTES)
    expect(row.get_by_role("rowheader")).to_have_text(f"/items/{ROUTES - 2}/{{id}}")
    screenshot(page, "admin-routes-1000")


def test_paper_has_all_services(visit: Open) -> None:
    page = visit()
    expect_live(page)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(names(page)) == SERVICES
