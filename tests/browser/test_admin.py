"""The admin's pages in Chromium, on a phone and on a wide screen: accessibility, and the reset of a circuit."""

import re

import pytest
from playwright.sync_api import Browser, FilePayload, expect

from tests.browser.accessibility import PHONE, WIDE, faults, overflows, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import PASSWORD, sign_in
from tests.browser.test_dashboard import Screenshot, fail_five_times

CIRCUITS = "/admin/metrics/circuit/"
AUDIT_LOG = "/admin/metrics/operation/"
HISTORY = "/admin/routing/configurationrevision/"
DOCUMENT = "/admin/routing/service/1/openapi/"
OPENAPI = b"""{"openapi": "3.1.0", "info": {"title": "CRM", "version": "1"},
"paths": {"/leads/{lead-id}": {"get": {}, "delete": {}}}}"""


def operate(gateway: Gateway) -> None:
    """An invalidation and a reset, for the audit log to show."""
    headers = {"X-API-Key": gateway.key}
    gateway.get("/api/v1/crm/contacts")
    assert gateway.session.delete(f"{gateway.url}/metrics/cache/crm", headers=headers, timeout=30).status_code == 200
    reset = f"{gateway.url}/metrics/circuit-breakers/crm/reset"
    assert gateway.session.post(reset, headers=headers, timeout=30).status_code == 200


def test_signing_in_and_plain_forms_need_no_script(browser: Browser, gateway: Gateway) -> None:
    """As the dashboard says where it cannot run: the theme hides its pages until a script shows them."""
    context = browser.new_context(java_script_enabled=False)
    sign_in(context, gateway.url, "ada", PASSWORD)
    page = context.new_page()
    page.goto(f"{gateway.url}/admin/routing/service/?q=crm")
    page.get_by_role("link", name="crm", exact=True).click()
    page.locator("[name=max_concurrency]").fill("9")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    context.close()


def test_an_audit_log_entry_and_a_rollback_are_accessible(
    visit: Open, screenshot: Screenshot, gateway: Gateway
) -> None:
    operate(gateway)
    page = visit(f"{AUDIT_LOG}?action__exact=cache.invalidate", width=PHONE)
    page.locator("#result_list a[href*='/change/']").first.click()
    expect(page.get_by_text("entries: 1")).to_be_visible()
    assert list(faults(page, "admin-operation", screenshot)) == []
    page = visit(HISTORY, width=PHONE)
    page.get_by_role("link", name="Roll back…").first.click()
    expect(page.get_by_role("button", name="Roll back to revision")).to_be_visible()
    assert list(faults(page, "admin-rollback", screenshot)) == []


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_a_circuits_row_action_resets_it_after_confirmation(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    fail_five_times(gateway)
    page = visit(CIRCUITS, width=width)
    row = page.locator("#result_list tr").filter(has_text=re.compile(r"\bcrm\b"))
    expect(row).to_contain_text("Open")
    row.locator(".field-actions_holder span").first.click()
    page.get_by_role("link", name="Reset circuit").locator("visible=true").click()
    expect(page.get_by_role("heading", name="Reset the circuit")).to_be_visible()
    expect(page.locator("#dialog")).to_contain_text("crm · Open")
    screenshot(page, f"admin-reset-{width}")
    page.get_by_role("button", name="Reset", exact=True).click()
    expect(page.get_by_text("The circuit of crm is closed.")).to_be_visible(
        timeout=15_000
    )  # once the page's scripts have run
    expect(row).to_contain_text("Closed")
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


def test_an_openapi_document_is_tried_and_imported(visit: Open, screenshot: Screenshot) -> None:
    page = visit(DOCUMENT, width=PHONE, scheme="dark")
    file: FilePayload = {"name": "openapi.json", "mimeType": "application/json", "buffer": OPENAPI}
    for button, text in (("Show changes", "added GET, DELETE /leads/{lead_id}"), ("Import", "imported CRM 1 for")):
        page.locator("input[type=file]").set_input_files(file)
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text(text).first).to_be_visible()
        screenshot(page, f"admin-openapi-{button.split()[0].lower()}")
        if button == "Show changes":
            assert violations(page) == []
            assert not overflows(page)
