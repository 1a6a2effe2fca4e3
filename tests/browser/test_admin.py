"""The admin's pages in Chromium, on a phone and on a wide screen: accessibility, and the reset of a circuit."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Gateway, Open
from tests.browser.test_dashboard import PHONE, WIDE, Screenshot, fail_five_times, overflows, violations

EXPLAIN = "/admin/explain/?method=GET&path=/api/v1/crm/contacts/7&caller=firebase:ada"
CIRCUITS = "/admin/metrics/circuit/"
AUDIT_LOG = "/admin/metrics/operation/"
HISTORY = "/admin/routing/configurationrevision/"


def operate(gateway: Gateway) -> None:
    """An invalidation and a reset, for the audit log to show."""
    headers = {"X-API-Key": gateway.key}
    gateway.get("/api/v1/crm/contacts")
    assert gateway.session.delete(f"{gateway.url}/metrics/cache/crm", headers=headers, timeout=30).status_code == 200
    reset = f"{gateway.url}/metrics/circuit-breakers/crm/reset"
    assert gateway.session.post(reset, headers=headers, timeout=30).status_code == 200


def assert_accessible(page: Page) -> None:
    """No serious violations found by axe, and no horizontal overflow."""
    assert violations(page) == []
    assert not overflows(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_axe_finds_nothing_serious(
    visit: Open, screenshot: Screenshot, gateway: Gateway, scheme: str, width: int
) -> None:
    operate(gateway)
    for path, name in ((EXPLAIN, "explain"), (CIRCUITS, "circuits"), (AUDIT_LOG, "record"), (HISTORY, "history")):
        page = visit(path, width=width, scheme=scheme)
        expect(page.locator("#content, main").first).to_be_visible()
        screenshot(page, f"admin-{name}-{width}-{scheme}")
        assert_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_audit_log_entry_and_a_rollback_are_accessible_on_a_phone(
    visit: Open, screenshot: Screenshot, gateway: Gateway, scheme: str
) -> None:
    operate(gateway)
    page = visit(f"{AUDIT_LOG}?action__exact=cache.invalidate", width=PHONE, scheme=scheme)
    page.locator("#result_list a[href*='/change/']").first.click()
    expect(page.get_by_text("entries: 1")).to_be_visible()
    screenshot(page, f"admin-operation-{PHONE}-{scheme}")
    assert_accessible(page)
    page = visit(HISTORY, width=PHONE, scheme=scheme)
    page.get_by_role("link", name="Roll back…").first.click()
    expect(page.get_by_role("button", name="Roll back to revision")).to_be_visible()
    screenshot(page, f"admin-rollback-{PHONE}-{scheme}")
    assert_accessible(page)


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_a_circuits_row_action_resets_it_after_confirmation(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    fail_five_times(gateway)
    page = visit(CIRCUITS, width=width)
    row = page.locator("#result_list tr").filter(has_text=re.compile(r"\bcrm\b"))
    expect(row).to_contain_text("OPEN")
    row.locator(".field-actions_holder span").first.click()
    page.get_by_role("link", name="Reset circuit").locator("visible=true").click()
    expect(page.get_by_role("heading", name="Reset the circuit")).to_be_visible()
    expect(page.locator("#dialog")).to_contain_text("crm is OPEN")
    screenshot(page, f"admin-reset-{width}")
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.get_by_text("crm is now CLOSED.")).to_be_visible(timeout=15_000)  # once the page's scripts have run
    expect(row).to_contain_text("CLOSED")
    expect(page).to_have_url(re.compile(f"{CIRCUITS}$"))


def test_a_rows_menu_opens_and_closes_by_keyboard(visit: Open, gateway: Gateway) -> None:
    fail_five_times(gateway)
    page = visit(CIRCUITS, width=WIDE)
    row = page.locator("#result_list tr").filter(has_text=re.compile(r"\bcrm\b"))
    opener = row.get_by_role("button", name="More actions")
    row.get_by_role("checkbox").focus()
    while not opener.evaluate("it => it === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    reset = page.get_by_role("link", name="Reset circuit").locator("visible=true")
    expect(reset).to_be_focused()
    page.keyboard.press("Escape")
    expect(reset).to_be_hidden()
    expect(opener).to_be_focused()
    page.keyboard.press("Space")
    expect(reset).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Reset the circuit")).to_be_visible()
