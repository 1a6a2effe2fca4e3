"""Values in the address of a page, and in what it is sent, that none of its fields takes."""

from typing import Any

import pytest
from django.contrib.admin.widgets import AutocompleteMixin
from django.forms import SplitDateTimeField
from django.test import Client
from django.urls import NoReverseMatch, reverse

from routing.models import Service
from routing.pages.site import admin_site

pytestmark = pytest.mark.django_db
VALUES = ("TEXT", "9" * 25, "1.5", "\0", "\u00b2", "2026-13-45", "9999-12-31T23:59:59-23:00", "")


def add_page(model: Any) -> str | None:
    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    except NoReverseMatch:
        return None


def doubtful_fields(form: Any) -> set[str]:
    """Those that choose a row by searching, and times."""
    return {
        name
        for name, field in form.fields.items()
        if isinstance(getattr(field.widget, "widget", field.widget), AutocompleteMixin)
        or isinstance(field, SplitDateTimeField)
    }


def test_no_page_fails_on_a_value_that_is_none_of_its_field(root: Client) -> None:
    tried: set[tuple[str, str]] = set()
    for model in admin_site()._registry:
        page = add_page(model)
        response = root.get(page) if page else None
        if page is None or response is None or response.status_code != 200 or "adminform" not in response.context:
            continue
        names = doubtful_fields(response.context["adminform"].form)
        tried.update((model.__name__, name) for name in names)
        for value in VALUES if names else ():
            given = dict.fromkeys(names, value)
            assert root.get(page, given).status_code == 200, (page, value)
            assert root.post(page, given).status_code == 200, (page, value)
    assert {("Route", "service"), ("ApiKey", "consumer"), ("ApiKey", "expires_at"), ("Consumer", "plan")} <= tried


def test_a_value_that_is_one_of_its_field_is_used(root: Client) -> None:
    service = Service.objects.create(name="crm")
    page = root.get("/admin/routing/route/add/", {"service": service.pk}).content.decode()
    assert f'<option value="{service.pk}" selected>crm' in page
    page = root.get("/admin/routing/apikey/add/", {"expires_at": "2027-01-31T12:00:00Z"}).content.decode()
    assert 'value="2027-01-31"' in page
    posted = root.post("/admin/routing/route/add/", {"service": "TEXT"}).content.decode()
    assert "Select a valid choice. That choice is not one of the available choices." in posted
