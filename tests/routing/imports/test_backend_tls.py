"""TLS to backends in files of other gateways is carried over, or reported, and is never weaker here."""

import json
from typing import Any

from routing.configuration.decode import decode
from routing.imports.products import convert, product_of, read
from routing.imports.report import Imported, NoteKind
from tests.internal_ca import InternalCa

CA, OTHER_CA = InternalCa(), InternalCa("Other CA")
OWN = CA.client()
ROUTES = [{"paths": ["/"]}]


def imported(structure: dict[str, Any]) -> Imported:
    found = read(json.dumps(structure).encode())
    return convert(found, product_of(found) or "")


def notes(found: Imported, kind: NoteKind) -> list[str]:
    return [f"{note.path}: {note.text}" for note in found.notes if note.kind is kind]


def kong(service: dict[str, Any], **top: Any) -> Imported:
    own = {"name": "crm", "url": "https://crm.internal", "routes": ROUTES, **service}
    return imported({"_format_version": "3.0", "services": [own], **top})


def test_kongs_authorities_and_client_certificate() -> None:
    found = kong(
        {"ca_certificates": ["a", "b"], "client_certificate": {"id": "own"}, "tls_verify": True},
        ca_certificates=[{"id": "a", "cert": CA.pem}, {"id": "b", "cert": OTHER_CA.pem}, {"id": "c", "cert": CA.pem}],
        certificates=[{"id": "own", "cert": OWN.pem, "key": OWN.key_pem}, {"id": "server", "cert": "x", "key": "y"}],
    )
    tls = found.structure["services"]["crm"]["tls"]
    assert tls == {"ca": CA.pem + OTHER_CA.pem, "certificate": OWN.pem, "key": "env:GATEWAY_SECRET_CRM_TLS_KEY"}
    assert "PRIVATE KEY" not in str(found)
    assert notes(found, NoteKind.SECRET) == ["certificates[0].key: set GATEWAY_SECRET_CRM_TLS_KEY"]
    left = notes(found, NoteKind.LEFT_OUT)
    assert [each.partition(":")[0] for each in left] == ["certificates[1]", "ca_certificates[2]"]
    [service] = decode(found.structure, {"GATEWAY_SECRET_CRM_TLS_KEY": OWN.key_pem}.get)
    assert service.targets[0].tls is not None


def test_what_kong_has_elsewhere_is_reported() -> None:
    found = kong({"ca_certificates": ["a"], "client_certificate": "own", "tls_verify": False})
    assert "tls" not in found.structure["services"]["crm"]
    shown = "\n".join(notes(found, NoteKind.LEFT_OUT))
    assert "services[0].ca_certificates: an authority is not in this file" in shown
    assert "services[0].client_certificate: is not in this file" in shown
    assert "services[0].tls_verify: certificates of backends are always verified" in notes(found, NoteKind.CHANGED)[-1]


def test_kongs_references_stay_references() -> None:
    entity = {"id": "own", "cert": "{vault://env/crm-cert}", "key": "{vault://env/crm-key}"}
    found = kong({"client_certificate": {"id": "own"}}, certificates=[entity])
    assert found.structure["services"]["crm"]["tls"] == {
        "certificate": "env:GATEWAY_SECRET_CRM_CERT",
        "key": "env:GATEWAY_SECRET_CRM_KEY",
    }


def traefik(transport: dict[str, Any], **http: Any) -> Imported:
    balancer = {"servers": [{"url": "https://crm.internal"}], "serversTransport": "internal@file"}
    base = {
        "routers": {"crm": {"rule": "PathPrefix(`/crm`)", "service": "crm"}},
        "services": {"crm": {"loadBalancer": balancer}},
        "serversTransports": {"internal": transport},
    }
    return imported({"http": {**base, **http}})


def test_traefiks_transports() -> None:
    pair = {"certFile": "/run/secrets/gateway.pem", "keyFile": "/run/secrets/gateway.key"}
    found = traefik(
        {
            "serverName": "crm.internal.example",
            "rootCAs": ["/run/secrets/ca.pem"],
            "certificates": [pair],
            "maxIdleConnsPerHost": 7,
            "insecureSkipVerify": False,
        }
    )
    assert found.structure["services"]["crm"]["tls"] == {
        "ca": "file:/run/secrets/ca.pem",
        "certificate": "file:/run/secrets/gateway.pem",
        "key": "file:/run/secrets/gateway.key",
        "server_name": "crm.internal.example",
    }
    assert found.is_complete


def test_what_a_transport_has_and_cannot_be_carried_over_is_reported() -> None:
    found = traefik(
        {
            "insecureSkipVerify": True,
            "rootCAs": ["/a.pem", "/b.pem"],
            "certificates": [{"certFile": "a.pem", "keyFile": "/a.key"}],
            "peerCertURI": "spiffe://a",
        },
        serversTransports2={},
    )
    assert "tls" not in found.structure["services"]["crm"]
    left = "\n".join(notes(found, NoteKind.LEFT_OUT))
    for name in ("rootCAs: several files", "certificates[0].certificate: is not the absolute path", "peerCertURI"):
        assert name in left
    changed = "\n".join(notes(found, NoteKind.CHANGED))
    assert "insecureSkipVerify: certificates of backends are always verified" in changed


def test_transports_of_parts_that_differ_are_not_given_to_all_of_them() -> None:
    def balancer(name: str, **more: str) -> dict[str, Any]:
        return {"loadBalancer": {"servers": [{"url": f"https://{name}.internal"}], **more}}

    services = {
        "crm": {"weighted": {"services": [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]}},
        "a": balancer("a", serversTransport="internal"),
        "b": balancer("b"),
    }
    found = traefik({"rootCAs": [CA.pem]}, services=services)
    assert "tls" not in found.structure["services"]["crm"]
    assert "different transports" in "\n".join(notes(found, NoteKind.LEFT_OUT))
