"""Hostile YAML and JSON in every form of the admin that takes any: a fault in the form, never a server error."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.forms import Form
from django.test import Client

from routing.admin.setting_fields.base import SettingField
from routing.admin.setting_fields.lists import Choices
from routing.admin.setting_fields.rows import RowsField, RowsWidget
from routing.database.apply import apply_document
from routing.models import AlertRule, ApiKey, Consumer, Issuer, Plan, Route, Service, SigningKey, Team, Webhook
from tests.metrics.harness import Harness, ok
from tests.routing.pages import browser_form

pytestmark = pytest.mark.django_db

LAUGHS: Final = "a: &a [x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefgh")
)
HOSTILE: Final = {
    "nested lists": "[" * 100 + "]" * 100,
    "nested mappings": '{"a":' * 100 + "1" + "}" * 100,
    "not closed": "[" * 5_000,
    "duplicate keys": "{a: 1, a: 2}",
    "nan": "{a: .nan, b: NaN, c: Infinity}",
    "laughs": LAUGHS,
    "merge keys": "{<<: {a: 1}, b: 2}",
    "object": "!!python/object/apply:os.system [id]",
    "null character": '{"a": "\\0"}',
    "raw null character": "{a: \0}",
    "surrogate": '{"a": "\\ud800"}',
    "raw surrogate": "{a: \udc80}",
    "byte order": "\ufeff{a: \ufffe}",
    "controls": "{a: \x1b[31m}",
    "two documents": "a: 1\n---\nb: 2",
    "large number": f"{{a: {'9' * 5_000}}}",
    "large exponent": "{a: 1e999999999}",
    "binary": "{a: !!binary x}",
    "keys": "{[a]: 1, {b: 1}: 2}",
    "list": "[1, 2]",
    "text": "just text",
}
MODELS: Final = (Service, Route, Webhook, Issuer, AlertRule, Plan, Team, Consumer)
EXAMPLE: Final[dict[str, Any]] = {
    "version": 1,
    "services": {"crm": {"targets": [{"url": "http://127.0.0.1:9"}], "routes": [{"path": "/a"}]}},
    "webhooks": {"crm": {"verify": "slack", "secret": "env:GATEWAY_SECRET_A"}},
    "issuers": [{"issuer": "https://id.example.com", "audience": "a"}],
    "alerts": [{"name": "a", "on": "circuit.open", "to": "email:a@example.com"}],
    "plans": {"free": {"rate": "1/s"}},
    "teams": {"sales": {"rate": "1/s"}},
    "consumers": {"acme": {"rate": "1/s"}},
}


@pytest.fixture
def root(harness: Harness) -> Client:
    harness.serve(ok())
    apply_document(EXAMPLE)
    client = Client(raise_request_exception=True)
    client.force_login(User.objects.create_superuser("root"))
    return client


def change_page(model: type[models.Model]) -> str:
    row = model._default_manager.get()
    return f"/admin/routing/{model._meta.model_name}/{row.pk}/change/"


def bad_texts() -> Iterator[tuple[str, str]]:
    """As a browser sends them: a lone surrogate has no UTF-8, and becomes a replacement character."""
    for name, text in HOSTILE.items():
        yield name, text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("model", MODELS)
def test_the_yaml_tab(root: Client, model: type[models.Model]) -> None:
    url = change_page(model)
    posted, before = browser_form(root.get(url)), model._default_manager.values().get()
    for name, text in bad_texts():
        fields = {**posted, "syntax": "yaml", "yaml_text": text}
        checked = root.post(url.replace("/change/", "/check/"), fields)
        assert checked.json()["faults"], name
        if name in ("laughs", "surrogate", "null character"):
            assert root.post(url, {**fields, "_preview": "1"}).json() == {"invalid": True}, name
    page = root.post(url, {**posted, "syntax": "yaml", "yaml_text": LAUGHS})
    assert "anchors and aliases are not accepted" in page.content.decode()
    assert model._default_manager.values().get() == before


@pytest.mark.parametrize("model", [*MODELS, ApiKey, SigningKey])
def test_fields(root: Client, model: type[models.Model]) -> None:
    """The same text in all controls of all fields of settings."""
    page = f"/admin/routing/{model._meta.model_name}/add/"
    url = page if model in (ApiKey, SigningKey) else change_page(model)
    response = root.get(url)
    posted, form = browser_form(response), response.context["adminform"].form
    fields = {name: field for name, field in form.fields.items() if isinstance(field, SettingField)}
    before = model._default_manager.values().first()
    for kind, text in bad_texts():
        typed = {name: value for field in fields for name, value in controls(form, field, text).items()}
        answer = root.post(url, {**posted, **typed})
        assert answer.status_code == 200, kind
        errors = answer.context["adminform"].form.errors
        assert errors.keys() & fields.keys(), kind
        if "null character" in kind:
            free = [name for name, field in fields.items() if not isinstance(field, Choices | RowsField)]
            assert kind != "raw null character" or errors.keys() >= set(free), kind
    assert model._default_manager.values().first() == before


def controls(form: Form, name: str, text: str) -> dict[str, str]:
    """What is posted with the text in each of a field's controls."""
    widget = form.fields[name].widget
    if isinstance(widget, RowsWidget):
        return {f"{name}-0-{part.name}": text for part in widget._parts}
    parts = getattr(widget, "widgets", None)
    return {f"{name}_{index}": text for index in range(len(parts))} if parts else {name: text}


@pytest.mark.parametrize("content", [b"[" * 50_000, b"a: &a [*a]", b'{"openapi": "3.0.0", "a": 1, "a": 2}', b"\xff"])
def test_an_openapi_document(root: Client, content: bytes) -> None:
    url = f"/admin/routing/service/{Service.objects.get().pk}/openapi/"
    page = root.post(url, {"file": SimpleUploadedFile("a.yaml", content), "preview": "1"})
    assert page.status_code == 200
    assert page.context["form"].errors["file"]


def test_what_is_too_long(root: Client) -> None:
    url = change_page(Webhook)
    posted = browser_form(root.get(url)) | {"syntax": "yaml"}
    long = root.post(url, {**posted, "yaml_text": "a" * 2_000_000})
    assert "at most 60000 characters" in str(long.context["adminform"].form.errors["yaml_text"])
    too_long = root.post(url, {**posted, "yaml_text": "a" * 10_000_000}, headers={"Accept": "text/html"})
    assert too_long.status_code == 400
    assert "The form is too large. Nothing was saved" in too_long.content.decode()
