"""The page of replays in Chromium, on a phone and on a wide screen, with a real gateway."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, WIDE, faults, violations
from tests.browser.conftest import Gateway, Open
from tests.processes import eventually

Screenshot = Callable[[Page, str], None]


def is_listed(page: Page, path: str) -> bool:
    page.reload()
    return page.locator("#rows tr").filter(has_text=path).count() > 0


@pytest.mark.parametrize("width", [PHONE, WIDE])
def test_a_draft_is_replayed_before_it_is_applied(
    visit: Open, screenshot: Screenshot, gateway: Gateway, width: int
) -> None:
    gateway.get(f"/api/v1/crm/status/404?replayed={width}")
    page = visit("/dashboard/requests/?service=crm&status=404", width=width)
    assert eventually(lambda: is_listed(page, "/api/v1/crm/status/404"))
    page.locator("#rows a").first.click()
    page.get_by_role("link", name="Replay").click()
    draft = page.get_by_label("Draft of the configuration file")
    expect(draft).to_be_visible()
    assert list(faults(page, "replay-draft", screenshot, width)) == []
    draft.fill(draft.input_value().replace("  crm:\n", "  crm:\n    enabled: false\n"))
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("heading", level=2).first).to_contain_text("requests would end differently")
    row = page.locator("tr").filter(has_text="/api/v1/crm/status/404").first
    expect(row).to_contain_text("503 refused")
    assert list(faults(page, "replay", screenshot, width)) == []
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("GET /api/v1/crm/status/404")


def test_a_faulty_draft_is_explained_and_kept(visit: Open) -> None:
    page = visit("/dashboard/replay/")
    page.get_by_label("Draft of the configuration file").fill("version: 1\nservices: {crm: {targets: 7}}")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("alert")).to_contain_text("targets")
    expect(page.get_by_label("Draft of the configuration file")).to_have_value(
        "version: 1\nservices: {crm: {targets: 7}}"
    )
    assert violations(page) == []
