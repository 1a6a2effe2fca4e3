"""The admin's forms of the configuration in Chromium, on a phone and on a wide screen."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import PHONE, faults, overflows, violations
from tests.browser.conftest import Gateway, Open
from tests.browser.pages import PASSWORD
from tests.browser.test_dashboard import Screenshot

ROUTES = "/admin/routing/route/?service__name=slackIntelligence"


def shown_paths(page: Page) -> list[str]:
    found: list[str] = page.locator("#result_list .field-path").all_inner_texts()
    return found


def test_the_list_of_routes_is_accessible(visit: Open, screenshot: Screenshot) -> None:
    page = visit(ROUTES, width=PHONE)
    expect(page.locator("[data-move]").first).to_be_visible()
    assert list(faults(page, "admin-routes", screenshot)) == []


def test_routes_are_moved_by_keyboard_and_by_dragging(visit: Open) -> None:
    page = visit(ROUTES)
    first, second, *rest = shown_paths(page)
    page.locator("[data-move]").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#route-order-status")).to_have_text("Moved to position 2.")
    page.reload()
    assert shown_paths(page) == [second, first, *rest]
    handle, target = page.locator("[data-move]").nth(1), page.locator("#result_list tbody").first
    box, goal = handle.bounding_box(), target.bounding_box()
    assert box is not None
    assert goal is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 5, goal["y"] + 3, steps=5)
    page.mouse.up()
    expect(page.locator("#route-order-status")).to_have_text("Moved to position 1.")
    page.reload()
    assert shown_paths(page) == [first, second, *rest]


def service_form(page: Page) -> Page:
    page.get_by_role("link", name="crm", exact=True).first.click()
    expect(page.get_by_role("tab", name="YAML")).to_be_visible()
    return page


def test_the_forms_of_a_service_and_a_route_are_accessible(visit: Open, screenshot: Screenshot) -> None:
    page = service_form(visit("/admin/routing/service/", width=PHONE))
    page.locator("form details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    assert list(faults(page, "admin-service", screenshot)) == []
    page.get_by_role("tab", name="YAML").click()
    area = page.get_by_label("Settings as YAML")
    expect(area).to_have_value(re.compile("preset: hubspot"))
    area.fill("preset: hubspot\nretries:\n  attempts: 99\n")
    expect(page.get_by_role("list", name="Faults")).to_contain_text("must be from 1 to 10")
    assert list(faults(page, "admin-service-yaml", screenshot)) == []
    page = visit(ROUTES, width=PHONE)
    page.locator("#result_list .field-path a").first.click()
    expect(page.get_by_role("tab", name="YAML")).to_be_visible()
    assert list(faults(page, "admin-route", screenshot)) == []


def test_a_changed_field_is_shown_before_it_is_saved(visit: Open, screenshot: Screenshot) -> None:
    page = service_form(visit("/admin/routing/service/"))
    hosts = page.get_by_role("textbox", name="Hosts: add an entry")
    hosts.fill("new.example.com")
    hosts.press("Enter")
    expect(page.get_by_role("list", name="Hosts")).to_contain_text("new.example.com")
    page.get_by_role("button", name="Save and continue editing").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("crm: hosts")
    expect(dialog).to_contain_text("new.example.com")
    assert list(faults(page, "admin-preview", screenshot)) == []
    dialog.get_by_label("Comment for the history").fill("for the tests")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    page.get_by_role("button", name="Remove new.example.com").click()
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Remove new.example.com")).to_have_count(0)


def test_the_faults_of_a_form_are_listed_with_links_to_their_fields(visit: Open, screenshot: Screenshot) -> None:
    page = service_form(visit("/admin/routing/service/", width=PHONE))
    page.locator("form details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    page.locator("[name=health__path]").fill("no slash")
    page.locator("[name=labels]").fill("no colon")
    page.get_by_role("button", name="Save and continue editing").dblclick()
    expect(page.locator(".error-summary a")).to_have_text(
        ["Labels: Line 1: write a name, a colon and a value.", re.compile("^Health checks: Path: must be a path")]
    )
    expect(page.locator(".errornote")).to_be_focused()
    assert list(faults(page, "admin-faults", screenshot)) == []
    page.locator(".error-summary a").last.click()
    expect(page.locator("[name=health__path]")).to_be_focused()


def test_a_second_click_on_save_asks_nothing_anew(visit: Open) -> None:
    page = service_form(visit("/admin/routing/service/"))
    page.locator("[name=cost_per_call]").fill("0.5")
    page.get_by_role("button", name="Save and continue editing").dblclick()
    expect(page.get_by_role("dialog", name="What this will change")).to_have_count(1)
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("dialog")).to_have_count(1)
    page.get_by_role("dialog").get_by_role("button", name="Back to the form").click()


def test_keys_history_and_the_question_before_a_flush_are_accessible(visit: Open, screenshot: Screenshot) -> None:
    for name, path in (("key", "/admin/routing/apikey/add/"), ("proposals", "/admin/routing/configurationproposal/")):
        assert list(faults(visit(path), f"admin-{name}", screenshot)) == []
    page = visit("/admin/metrics/cachedservice/", width=PHONE)
    page.locator("input.action-select").first.check()
    page.locator("select[name=action]").select_option("flush")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("button", name="Flush")).to_be_visible()
    assert list(faults(page, "admin-flush", screenshot)) == []
    page = visit("/admin/routing/configurationrevision/", width=PHONE)
    assert list(faults(page, "admin-revisions", screenshot)) == []
    page.get_by_role("link", name="Undo…").first.click()
    expect(page.get_by_role("button", name="Undo revision")).to_be_visible()
    assert list(faults(page, "admin-undo", screenshot)) == []


def test_what_was_typed_is_not_lost_with_the_session(browser: Browser, gateway: Gateway, logged_in: Any) -> None:
    context = browser.new_context(storage_state=logged_in)
    page, other = context.new_page(), context.new_page()
    page.goto(f"{gateway.url}/admin/routing/plan/add/")
    page.get_by_label("Name").first.fill("kept")
    context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Save", exact=True).click()
    dialog = page.get_by_role("dialog", name="Nothing was saved")
    expect(dialog).to_contain_text("Your session has ended.")
    dialog.get_by_role("button", name="Back to the form").click()
    other.goto(page.url)
    other.fill("[name=username]", "ada")
    other.fill("[name=password]", PASSWORD)
    other.press("[name=password]", "Enter")
    expect(other.get_by_role("button", name="Save", exact=True)).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()  # with a token that the login has replaced
    page.get_by_role("dialog", name="What this will change").get_by_role("button", name="Save").click()
    page.wait_for_url("**/admin/routing/plan/")
    expect(page.get_by_role("link", name="kept").first).to_be_visible()
    context.close()


def test_a_new_key_is_copied(visit: Open) -> None:
    page = visit("/admin/routing/apikey/add/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Name").fill("copied")
    scopes = page.get_by_role("combobox", name="Scopes: add an entry")
    scopes.fill("crm")
    scopes.press("Enter")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("gw_")


@pytest.mark.parametrize("name", ["webhook", "issuer", "alertrule", "plan", "consumer"])
def test_the_forms_of_webhooks_issuers_plans_and_consumers_are_accessible(
    visit: Open, screenshot: Screenshot, name: str
) -> None:
    page = visit(f"/admin/routing/{name}/add/", width=PHONE)
    expect(page.get_by_role("tab", name="YAML")).to_be_visible()
    page.locator("form details").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    for button in page.get_by_role("button", name=re.compile("^Add a (quota|claim|recipient)$")).all():
        button.click()
    assert list(faults(page, f"admin-{name}", screenshot)) == []
    page.get_by_role("tab", name="YAML").click()
    page.get_by_label("Settings as YAML").fill("unknown: 1")
    expect(page.get_by_role("list", name="Faults")).to_contain_text("unknown key")
    assert list(faults(page, f"admin-{name}-yaml", screenshot)) == []


def test_a_plan_is_made_with_the_keyboard_and_in_german(visit: Open, screenshot: Screenshot) -> None:
    page = visit("/admin/routing/plan/")
    page.context.add_cookies([{"name": "django_language", "value": "de", "url": page.evaluate("location.origin")}])
    page.goto(page.url + "add/")
    page.locator("[name=name]").fill("partners")
    page.get_by_label("Rate", exact=True).focus()
    page.keyboard.type("60")
    for group, values in (("Dienst 1", ["crm", "GET"]), ("Kontingent 1", ["1000"])):
        page.get_by_role("group", name=group).get_by_role("textbox").first.focus()
        for value in values:
            page.keyboard.type(value)
            page.keyboard.press("Tab")
    page.keyboard.type("month")
    page.get_by_role("button", name="Kontingent hinzufügen").press("Enter")
    page.keyboard.type("50")
    page.keyboard.press("Tab")
    page.keyboard.type("hour")
    page.get_by_role("button", name="Speichern", exact=True).press("Enter")
    dialog = page.get_by_role("dialog", name="Was sich dadurch ändert")
    expect(dialog).to_contain_text("plan partners wird erstellt")
    expect(dialog).to_contain_text('"quota":[{"amount":1000,"per":"month"},{"amount":50,"per":"hour"}]')
    screenshot(page, "admin-plan-preview-german")
    assert violations(page) == []
    assert not overflows(page)
    dialog.get_by_role("button", name="Speichern").press("Enter")
    expect(page.locator("#result_list").get_by_role("link", name="partners", exact=True)).to_be_visible()


def test_a_consumer_gets_an_identity_with_scopes(visit: Open) -> None:
    page = visit("/admin/routing/consumer/add/")
    page.locator("[name=name]").fill("acme-shop")
    page.get_by_text("Add another Consumer identity").click()
    page.locator("[name=identities-0-issuer]").fill("certificate")
    page.locator("[name=identities-0-subject]").fill("dns:shop.example")
    scopes = page.locator("#id_identities-0-scopes_0_add")
    scopes.fill("crm")
    scopes.press("Enter")
    page.get_by_role("button", name="Save and continue editing").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("consumer acme-shop is created")
    expect(dialog.get_by_label("Comment for the history")).to_have_count(0)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Remove crm")).to_be_visible()
