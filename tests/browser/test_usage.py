"""The page of usage in Chromium, on a phone and on a wide screen, with a real gateway."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, faults, overflows, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import open_from_menu

Screenshot = Callable[[Page, str], None]


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_it_shows_what_was_used_on_any_screen(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    gateway.get("/api/v1/crm/contacts")
    gateway.get("/api/v1/crm/status/404")
    page = visit("/dashboard/", width=width)
    open_from_menu(page, "Usage")
    expect(page.locator(".nav a", has_text="Usage")).to_have_attribute("aria-current", "page")
    row = page.get_by_role("row", name="crm").first
    expect(row).to_contain_text("key:")
    expect(page.locator(".usage-total")).to_contain_text("Requests")
    assert list(faults(page, "usage", screenshot, width)) == []


@pytest.mark.parametrize("width", [320, PHONE])
def test_the_labels_of_its_cells_fit_a_phone_in_german(visit: Open, gateway: Gateway, width: int) -> None:
    gateway.get("/api/v1/crm/contacts")
    page = visit("/admin/explain/", width=PHONE)
    page.set_viewport_size({"width": width, "height": 844})
    page.set_extra_http_headers({"Accept-Language": "de"})
    page.goto(f"{gateway.url}/dashboard/usage/")
    cells = page.locator("table.usage tbody td")
    expect(cells.first).to_be_visible()
    assert cells.evaluate_all("cells => cells.filter((cell) => cell.scrollWidth > cell.clientWidth).length") == 0
    assert not overflows(page)


def test_it_is_filtered_by_keyboard_and_downloaded(visit: Open, gateway: Gateway) -> None:
    gateway.get("/api/v1/crm/contacts")
    gateway.get("/api/v1/slackIntelligence/channels")
    page = visit("/dashboard/usage/")
    page.locator("[name=by]").select_option("Service")
    page.locator("[name=service]").fill("crm")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="By service")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(1)
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download CSV").click()
    text = downloaded.value.path().read_text()
    assert downloaded.value.suggested_filename.startswith("usage-")
    assert text.startswith("service,requests,errors")
    assert "\ncrm," in text


def test_a_wrong_range_is_explained(visit: Open) -> None:
    page = visit("/dashboard/usage/?start=2026-02-01&end=2026-01-01")
    expect(page.get_by_role("alert")).to_have_text("The first day must not be after the last one.")
    assert violations(page) == []


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_callers_on_any_screen(visit: Open, screenshot: Screenshot, gateway: Gateway, width: int) -> None:
    for path in ("crm/contacts", "crm/status/404", "slackIntelligence/channels", "nothing"):
        gateway.get(f"/api/v1/{path}")
    page = visit("/dashboard/usage/", width=width)
    page.get_by_role("navigation", name="Usage").get_by_role("link", name="Callers").click()
    row = page.get_by_role("row", name="key:")
    expect(row).to_contain_text("no consumer")
    assert list(faults(page, "callers", screenshot, width)) == []
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("browser")
    expect(page.get_by_role("row", name="crm").first).to_contain_text("failed")
    page.get_by_text("As a table").click()
    assert list(faults(page, "caller", screenshot, width)) == []
    page.get_by_role("link", name="4xx").first.click()
    expect(page.get_by_role("row", name="/api/v1/crm/status/404").first).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (WIDE, "light")])
def test_savings_on_any_screen_and_on_paper(
    visit: Open, screenshot: Screenshot, gateway: Gateway, scheme: str, width: int
) -> None:
    for _ in range(3):
        gateway.get("/api/v1/crm/contacts")
    page = visit("/dashboard/savings/", width=width, scheme=scheme)
    expect(page.get_by_role("row", name="crm").first).to_contain_text("%")
    assert violations(page) == []
    assert not overflows(page)
    screenshot(page, f"savings-{width}-{scheme}")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 990})  # A4 without its margins
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    expect(page.get_by_role("row", name="crm").first).to_be_visible()
    assert not overflows(page)
    screenshot(page, f"savings-print-{width}")


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (WIDE, "dark")])
def test_advice_and_a_draft_on_any_screen(
    visit: Open, screenshot: Screenshot, gateway: Gateway, scheme: str, width: int
) -> None:
    page = visit("/dashboard/advice/", width=width, scheme=scheme)
    expect(page.get_by_role("heading", name="Cache lifetimes")).to_be_visible()
    assert violations(page) == []
    assert not overflows(page)
    screenshot(page, f"advice-{width}-{scheme}")
    page.get_by_role("link", name="What would other settings have done?").click()
    page.get_by_label("Failures that open it").fill("2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row", name="Other settings, simulated").or_(page.get_by_text("No calls"))).to_be_visible()
    assert violations(page) == []
    assert not overflows(page)
    screenshot(page, f"what-if-{width}-{scheme}")
    page.goto(f"{gateway.url}/dashboard/advice/draft/?change=ttl&service=crm&value={width}s")
    expect(page.get_by_text(f"ttl: {width}s")).to_be_visible()
    assert violations(page) == []
    assert not overflows(page)
    screenshot(page, f"draft-{width}-{scheme}")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="The change is stored")).to_be_visible()
    page.go_back()
    page.reload()
    expect(page.get_by_text("Nothing changes")).to_be_visible()
