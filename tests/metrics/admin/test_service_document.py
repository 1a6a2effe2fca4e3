"""The admin's page for a service's OpenAPI document."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from metrics.models import Operation
from routing.database.openapi import openapi_of
from routing.models import Service
from tests.routing.openapi.documents import as_json, as_yaml, small
from tests.staff import member_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def service() -> Service:
    made = Service.objects.create(name="crm")
    made.targets.create(url="http://127.0.0.1:9")
    return made


def staff(group: str = "Owner") -> Client:
    return member_of(group)


def post(client: Client, service: Service, content: bytes, button: str, **more: Any) -> Any:
    data = {"file": SimpleUploadedFile("openapi.yaml", content), "routes": "on", button: "1", **more}
    return client.post(f"/admin/routing/service/{service.pk}/openapi/", data)


def test_changes_are_shown_before_they_are_imported(service: Service) -> None:
    client, content = staff(), as_yaml(small("GET,POST /contacts"))
    assert (
        f"/admin/routing/service/{service.pk}/document"
        in client.get(f"/admin/routing/service/{service.pk}/change/").content.decode()
    )
    shown = post(client, service, content, "preview")
    assert "added GET, POST /contacts" in shown.content.decode()
    assert (openapi_of("crm"), service.routes.count()) == (None, 0)
    done = post(client, service, content, "import")
    assert (done.status_code, done["Location"]) == (302, f"/admin/routing/service/{service.pk}/change/")
    assert [route.path for route in service.routes.all()] == ["/contacts"]
    assert Operation.objects.get(action="openapi.created").actor == "staff:ada"
    page = client.get(f"/admin/routing/service/{service.pk}/openapi/").content.decode()
    assert "Contacts 1" in page
    assert "staff:ada" in page


def test_faults_are_shown_at_the_file(service: Service) -> None:
    client = staff()
    for content, message in (
        (b'{"swagger": "2.0"}', "Swagger 2.0 is not read"),
        (as_json(small("/a//b")), "cannot be a segment"),
        (b"#" * 1_000_001, "YAML may have 1 MB"),
        (b"", "The submitted file is empty"),
    ):
        assert message in post(client, service, content, "import").content.decode()
    assert client.post(f"/admin/routing/service/{service.pk}/openapi/", {"import": "1"}).status_code == 200
    assert (openapi_of("crm"), service.routes.count()) == (None, 0)


@pytest.mark.parametrize("group", ["Viewer", "Operator"])
def test_only_owners_may_import(service: Service, group: str) -> None:
    client = staff(group)
    assert post(client, service, as_json(small("/a")), "import").status_code == 403
    assert client.get(f"/admin/routing/service/{service.pk}/openapi/").status_code == 403
    assert openapi_of("crm") is None


def test_text_of_a_document_is_escaped(service: Service) -> None:
    document = small("/a", info={"title": "<script>alert(1)</script>", "version": "1"})
    client = staff()
    assert "<script>alert(1)" not in post(client, service, as_json(document), "preview").content.decode()
    post(client, service, as_json(document), "import")
    assert "<script>alert(1)" not in client.get(f"/admin/routing/service/{service.pk}/openapi/").content.decode()
