"""The pages of the request log in Chromium, on a phone and on a wide screen, with a real gateway."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, faults, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import open_from_menu
from tests.processes import eventually

Screenshot = Callable[[Page, str], None]


def lists(page: Page, *paths: str) -> bool:
    """Whether the page has requests of these paths, once it is reloaded."""
    page.reload()
    return all(page.locator("#rows tr").filter(has_text=path).count() for path in paths)


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_the_id_of_a_problem_document_leads_to_the_steps_of_its_request(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    gateway.get("/api/v1/crm/status/503?email=ada@example.com")
    unknown = f"/api/v1/nothing/{width}"
    problem = gateway.get(unknown).json()
    page = visit("/dashboard/", width=width)
    open_from_menu(page, "Requests")
    assert eventually(lambda: lists(page, "/api/v1/crm/status/503?email=***", unknown))
    assert list(faults(page, "requests", screenshot, width)) == []
    page.get_by_label("Request id").fill(problem["request_id"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"GET {unknown}")
    expect(page.locator(".steps li[data-tone=bad]")).to_contain_text("unknown_service")
    assert list(faults(page, "request-unknown", screenshot, width)) == []
    page.go_back()
    page.locator("#rows a").filter(has_text="/status/503").first.click()
    expect(page.locator(".steps")).to_contain_text("backend call, attempt 1")
    expect(page.locator("#curl")).to_contain_text("email=***")
    assert list(faults(page, "request", screenshot, width)) == []


def test_requests_are_followed_live_and_explained(visit: Open, gateway: Gateway) -> None:
    page = visit("/dashboard/requests/?service=crm&status=404")
    page.get_by_role("button", name="Live").click()
    expect(page.locator("#feed")).to_have_text("Live")
    before = page.locator("#rows tr").count()
    gateway.get("/api/v1/nothing/x")
    gateway.get("/api/v1/crm/status/404?seen=live")
    expect(page.locator("#rows tr")).to_have_count(before + 1)
    page.get_by_role("button", name="Live").click()
    expect(page.locator("#feed")).to_be_hidden()
    page.locator("#rows a").first.click()
    page.get_by_role("link", name="Explain").click()
    expect(page.locator("[name=path]")).to_have_value("/api/v1/crm/status/404?seen=***")


def test_live_on_a_page_of_earlier_requests_begins_with_the_latest(visit: Open) -> None:
    page = visit("/dashboard/requests/?status=404&before=1-0")
    page.get_by_role("button", name="Live").click()
    expect(page.locator("#feed")).to_have_text("Live")
    expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "true")
    assert page.url.endswith("/dashboard/requests/?status=404")


def test_a_wrong_search_is_explained(visit: Open) -> None:
    page = visit("/dashboard/requests/?status=abc")
    expect(page.get_by_role("alert")).to_have_text("A status is 404, or a class such as 5xx.")
    assert violations(page) == []
