"""A secret that the configuration contains as it is: shown nowhere, kept where it is, refused where it is new."""

import importlib
import io
import json
import logging
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from metrics.models import Operation
from routing.configuration.document import dump
from routing.configuration.reload import log_faults
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.apply import apply_document
from routing.database.loader import load, raw_document
from routing.models import ConfigurationRevision, Service
from tests.metrics.harness import Harness, ok
from tests.metrics.test_rights import VIEWED
from tests.routing.test_admin import errors

pytestmark = pytest.mark.django_db(transaction=True)

HEADERS = {"Authorization": "Bearer hunter2service", "X-Plain": "plain", "X-Custom": "sk-hunter2shape"}
ROUTE: dict[str, Any] = {"path": "/a", "headers": {"X-Api-Key": "hunter2route"}}
TARGETS = [{"url": "http://a"}]
PAGE = "/admin/routing/service/{}/change/"
ROUTE_PAGE = "/admin/routing/route/{}/change/"


def services(**more: Any) -> dict[str, Any]:
    return {"version": 1, "services": {"crm": {"targets": TARGETS, "headers": HEADERS, "routes": [ROUTE], **more}}}


@pytest.fixture
def crm(harness: Harness) -> Service:
    harness.serve(ok())
    with acting_as("command:ada"):
        apply_document(services(cost_per_call=1))
        apply_document(services())
    return Service.objects.get()


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def client_of(group: str) -> Client:
    user = User.objects.create_user(group.lower(), is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=group)[0])
    client = Client()
    client.force_login(user)
    return client


def pages(service: Service) -> dict[str, str]:
    return {"service": PAGE.format(service.pk), "route": ROUTE_PAGE.format(service.routes.get().pk)}


def form(service: Service, page: str, headers: str) -> dict[str, Any]:
    """The data of a form that is posted back with these headers."""
    if page == "route":
        return {"path": "/a", "enabled": "on", "headers": headers}
    target = service.targets.get()
    targets = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 1, "0-id": target.pk, "0-service": service.pk, "0-url": target.url}
    posted = {"name": "crm", "enabled": "on", "headers": headers}
    return posted | {
        f"targets-{name}": str(value) for name, value in (targets | {"0-weight": 1, "0-enabled": "on"}).items()
    }


def shown(client: Client, url: str) -> dict[str, str]:
    """The headers in a form."""
    lines = client.get(url).context["adminform"].form.initial["headers"].split("\n")
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def lines_of(headers: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


@pytest.mark.parametrize("group", ["Viewer", "Operator", "Owner"])
def test_no_page_of_staff_shows_a_secret(crm: Service, group: str) -> None:
    client = client_of(group)
    history = [
        f"/admin/routing/configurationrevision/{each.pk}/change/" for each in ConfigurationRevision.objects.all()
    ]
    audit = [f"/admin/metrics/operation/{each.pk}/change/" for each in Operation.objects.all()]
    for path in (*VIEWED, *pages(crm).values(), *history, *audit):
        response = client.get(path, follow=True)
        page = unescape(b"".join(response).decode())
        assert "hunter2" not in page, path
        assert response.status_code == 200, path
    for page, masks in zip(pages(crm).values(), (2, 1), strict=True):
        text = unescape(client.get(page).content.decode())
        assert len(set(re.findall("masked:[0-9a-f]{16}", text))) == masks
        assert ("X-Plain" in text) is (masks == 2)


@pytest.mark.parametrize(
    "lookup",
    [
        "service/?headers__Authorization__startswith=Bearer h",
        "service/?headers__icontains=hunter2",
        "configurationrevision/?secrets__icontains=hunter2",
        "target/?service__headers__icontains=hunter2",
        "route/?headers__icontains=hunter2",
        "route/?service__headers__icontains=hunter2",
    ],
)
def test_a_lookup_in_the_address_confirms_no_guess(crm: Service, lookup: str) -> None:
    client = client_of("Viewer")
    right = client.get(f"/admin/routing/{lookup}")
    wrong = client.get(f"/admin/routing/{lookup.replace('hunter2', 'hunter3').replace('Bearer h', 'Bearer i')}")
    assert (right.status_code, wrong.status_code) == (400, 400)
    assert client.get("/admin/routing/configurationrevision/?q=hunter2").context["cl"].result_count == 0


def test_an_export_shows_no_secret_and_applying_it_changes_nothing(crm: Service, tmp_path: Path) -> None:
    before = raw_document()
    out, err = run("config", "export")
    assert out.count("masked:") == 3
    assert "masked" in err
    file = tmp_path / "export.yaml"
    file.write_text(out)
    assert run("config", "validate", str(file))[0].endswith("valid, 1 service\n")
    assert run("config", "diff", str(file))[0] == "no differences\n"
    assert run("config", "apply", str(file))[0] == "nothing to change\n"
    assert raw_document() == before
    file.write_text(out.replace("http://a", "http://b"))
    run("config", "apply", str(file))
    assert raw_document()["services"]["crm"]["headers"] == HEADERS
    assert raw_document()["services"]["crm"]["targets"][0]["url"] == "http://b"


def test_a_mask_of_an_earlier_secret_or_of_another_database_is_refused(crm: Service, tmp_path: Path) -> None:
    file = tmp_path / "export.yaml"
    file.write_text(run("config", "export")[0])
    Service.objects.get().routes.update(headers={"X-Api-Key": "hunter2new"})
    for command in ("validate", "diff", "apply"):
        with pytest.raises(CommandError, match=r"line \d+: services.crm.routes\[0\].headers.X-Api-Key: the value that"):
            run("config", command, str(file))
    moved = file.read_text().replace("crm:", "mail:")
    file.write_text(moved)
    with pytest.raises(CommandError, match="is not stored here"):
        run("config", "apply", "--prune", str(file))


def test_a_literal_secret_is_refused_with_its_line_unless_it_is_allowed(db: None, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(dump(services()))
    for command in ("validate", "apply"):
        with pytest.raises(CommandError) as error:
            run("config", command, str(file))
        text = str(error.value)
        assert "3 faults" in text
        assert "line 6: services.crm.headers.Authorization: a literal secret: use env:GATEWAY_SECRET_NAME" in text
        assert "hunter2" not in text
    assert not Service.objects.exists()
    out, err = _differences(file)
    assert "hunter2" not in out + err
    assert out.count("+") > 3
    for command in ("validate", "apply"):
        out, err = run("config", command, str(file), "--allow-literal-secrets")
        assert err.count("warning: line") == 3
        assert "hunter2" not in out + err
    assert raw_document()["services"]["crm"]["headers"] == HEADERS


def _differences(file: Path) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit):
        call_command("config", "diff", str(file), stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_the_history_is_masked_shows_that_a_secret_changed_and_restores_it(crm: Service) -> None:
    first = ConfigurationRevision.objects.first()
    assert first is not None
    with acting_as("command:ada"):
        apply_document({"version": 1, "services": {"crm": {"targets": TARGETS, "headers": {"Cookie": "hunter2new"}}}})
        apply_document({"version": 1}, delete=["crm"])
    for revision in ConfigurationRevision.objects.all():
        assert "hunter2" not in revision.document + revision.summary
        assert "hunter2" not in run("config", "history", str(revision.pk))[0]
    run("config", "rollback", str(first.pk))
    document = raw_document()["services"]["crm"]
    assert (document["headers"], document["routes"][0]["headers"]) == (HEADERS, ROUTE["headers"])
    assert "hunter2" not in json.dumps(list(Operation.objects.values_list("before", "after")))


def test_a_changed_secret_is_in_the_audit_log_without_its_text(crm: Service) -> None:
    count = Operation.objects.count()
    Service.objects.get().save()
    assert Operation.objects.count() == count
    crm.headers = {**HEADERS, "Authorization": "Bearer hunter2changed"}
    crm.save()
    assert Operation.objects.count() == count + 1
    assert "hunter2" not in json.dumps(list(Operation.objects.values_list("before", "after")))


def test_earlier_revisions_are_masked_by_the_migration_and_can_still_be_restored(crm: Service) -> None:
    revision = ConfigurationRevision.objects.first()
    assert revision is not None
    ConfigurationRevision.objects.filter(pk=revision.pk).update(document=dump(raw_document()), secrets=None)
    ConfigurationRevision.objects.create(actor="a", summary="damaged", document="{")
    migration = importlib.import_module("routing.migrations.0011_masked_history")
    migration.mask_revisions(apps, connection.schema_editor())
    revision.refresh_from_db()
    assert "hunter2" not in revision.document
    apply_document({"version": 1}, delete=["crm"])
    revisions.rollback(revision, "staff:ada")
    assert raw_document()["services"]["crm"]["headers"] == HEADERS
    migration.unmask_revisions(apps, connection.schema_editor())
    revision.refresh_from_db()
    assert "hunter2service" in revision.document


@pytest.mark.parametrize("page", ["service", "route"])
def test_the_form_keeps_a_secret_whose_mask_is_posted_back(crm: Service, page: str) -> None:
    client, url = client_of("Owner"), pages(crm)[page]
    headers = {**shown(client, url), "X-New": "env:GATEWAY_SECRET_NEW"}
    response = client.post(url, form(crm, page, lines_of(headers)))
    assert response.status_code == 302, errors(response.content.decode())
    after = raw_document()["services"]["crm"]
    added = {"X-New": "env:GATEWAY_SECRET_NEW"}
    assert after["headers"] == HEADERS | (added if page == "service" else {})
    assert after["routes"][0]["headers"] == ROUTE["headers"] | (added if page == "route" else {})
    assert "hunter2" not in json.dumps(list(LogEntry.objects.values_list("change_message", "object_repr")))


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Authorization": "Bearer hunter2typed"}, "Authorization: a literal secret"),
        ({"X-Other": "xoxb-hunter2"}, "X-Other: a literal secret"),
        ({"Authorization": "masked:0123456789abcdef"}, "is not stored here"),
        ({"Authorization": "masked:no-mask"}, "a literal secret"),
        ({"Authorization": "file:/etc/passwd"}, "file:/etc/passwd is not allowed"),
        ({"Authorization": "env:SECRET_KEY"}, "env:SECRET_KEY is not allowed"),
    ],
)
@pytest.mark.parametrize("page", ["service", "route"])
def test_the_form_refuses_a_new_literal_secret(crm: Service, page: str, headers: dict[str, str], error: str) -> None:
    before = raw_document()
    response = client_of("Owner").post(pages(crm)[page], form(crm, page, lines_of(headers)))
    assert error in unescape(response.content.decode())
    assert raw_document() == before


def test_a_stored_secret_is_loaded_and_its_service_has_no_fault(crm: Service, harness: Harness) -> None:
    service = load(lambda _: None).table.services["crm"]
    assert (b"authorization", b"Bearer hunter2service") in service.policy.headers
    assert service.faults == ()


def test_a_fault_of_a_field_written_without_a_space_does_not_show_its_value(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text('version: 1\nservices: {crm: {targets: [{url: "http://a"}], headers: {Authorization:hunter2}}}\n')
    with pytest.raises(CommandError, match="NAME: VALUE, with a space") as error:
        run("config", "validate", str(file))
    assert "hunter2" not in str(error.value)


def test_nothing_of_it_is_logged(crm: Service, caplog: pytest.LogCaptureFixture, harness: Harness) -> None:
    caplog.set_level(logging.DEBUG, "routing")
    Service.objects.update(headers={"Authorization": "hunter2\n"})
    log_faults(load(lambda _: None), None)
    assert "headers.Authorization: the value contains control characters" in caplog.text
    assert "hunter2" not in caplog.text
