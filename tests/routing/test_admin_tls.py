"""TLS settings in the admin: fields of services, and of each target."""

import pytest
from django.test import Client

from routing.database.loader import load, raw_document
from routing.models import Service, Target
from tests.internal_ca import InternalCa
from tests.routing.test_admin import ADD, LIST, errors, form

pytestmark = pytest.mark.django_db
CA = InternalCa()
TARGET = {"url": "https://10.0.0.5", "weight": 1}


def test_fields_of_a_service_and_of_a_target(root: Client) -> None:
    posted = {
        "tls__ca": CA.pem.replace("\n", "\r\n"),
        "tls__certificate": "file:/run/secrets/gateway.pem",
        "tls__key": "file:/run/secrets/gateway.key",
        "tls__minimum": "1.3",
    }
    response = root.post(ADD, form(targets=[{**TARGET, "tls": "{server_name: a.example}"}], **posted))
    assert response.status_code == 302, errors(response.content.decode())
    crm = raw_document()["services"]["crm"]
    assert crm["tls"] == {
        "ca": CA.pem.strip(),
        "certificate": "file:/run/secrets/gateway.pem",
        "key": "file:/run/secrets/gateway.key",
        "minimum": "1.3",
    }
    assert crm["targets"] == [{**TARGET, "enabled": True, "tls": {"server_name": "a.example"}}]
    Service.objects.update(tls={"ca": CA.pem})
    [target] = load(lambda _: None).table.services["crm"].targets
    assert target.tls is not None
    assert (target.tls.ca, target.tls.server_name) == (CA.pem, "a.example")
    page = root.get(f"{LIST}{Service.objects.get().pk}/change/").content.decode()
    assert "{server_name: a.example}" in page
    assert "BEGIN CERTIFICATE" in page


@pytest.mark.parametrize(
    ("posted", "message"),
    [
        ({"tls__ca": "file:/etc/shadow"}, "file:/etc/shadow is not allowed"),
        ({"tls__key": CA.certificate.key_pem}, "a literal secret: use env:GATEWAY_SECRET_NAME"),
        ({"tls__key": "file:/run/secrets/x"}, "a key needs the certificate that it belongs to"),
        ({"tls__ca": "text"}, "must be file:/PATH, env:NAME or certificates in PEM"),
        ({"tls__ca": CA.certificate.key_pem}, "a literal secret"),
        ({"tls__server_name": "*.a"}, "must be one name that the certificate is valid for"),
        ({"syntax": "yaml", "yaml_text": "tls: {ca: 'file:/etc/shadow'}"}, "file:/etc/shadow is not allowed"),
        ({"targets": [{**TARGET, "tls": "{ca: 'file:/etc/shadow'}"}]}, "file:/etc/shadow is not allowed"),
        ({"targets": [{**TARGET, "tls": "{minimum: 1.1}"}]}, "must be 1.2 or 1.3"),
        ({"targets": [{**TARGET, "tls": "[a]"}]}, "must be a mapping"),
        ({"targets": [{**TARGET, "url": "http://a", "tls": "{minimum: 1.2}"}]}, "tls is for https targets"),
    ],
)
def test_faults_are_shown_and_nothing_is_saved(root: Client, posted: dict[str, object], message: str) -> None:
    response = root.post(ADD, form(**{"targets": [TARGET], **posted}))  # type: ignore[arg-type]
    assert response.status_code == 200
    page = errors(response.content.decode())
    assert message in page
    assert not Target.objects.exists()


def test_a_target_whose_settings_are_not_touched_keeps_them(root: Client) -> None:
    crm = Service.objects.create(name="crm")
    stored = {"minimum": 1.2, "server_name": "b.example"}
    target = Target.objects.create(service=crm, tls=stored, **TARGET)
    row = {"id": target.pk, "service": crm.pk, **TARGET}
    page = f"{LIST}{crm.pk}/change/"
    response = root.post(page, form(targets=[{**row, "weight": 2, "tls": "{minimum: 1.2, server_name: b.example}"}]))
    assert response.status_code == 302, errors(response.content.decode())
    target.refresh_from_db()
    assert (target.weight, target.tls) == (2, stored)
    assert root.post(page, form(targets=[{**row, "tls": ""}])).status_code == 302
    target.refresh_from_db()
    assert target.tls is None
