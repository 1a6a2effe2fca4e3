"""The `issuers` of a configuration: parsing, canonical form, secrets and storage."""

from typing import Any

import pytest

from gateway_project.environment.values import issuers as parse_variable
from routing.configuration import literals
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.configuration.issuers import decode_issuer
from routing.database import masking
from routing.database.apply import absent_names, apply_document
from routing.database.loader import load, raw_document
from routing.database.revisions import current_document, record_revision
from routing.database.startup_file import apply_environment_issuers
from routing.models import Issuer

DOCUMENT = """
version: 1
services:
  crm: {targets: [{url: "http://127.0.0.1:1"}]}
issuers:
  - issuer: https://login.example.com/realms/a
    audience: [my-api, other]
    jwks_uri: https://keys.example.com/a
    algorithms: [RS256, ES256, EdDSA, PS256]
    leeway: 30s
    typ: at+jwt
    claims: {id: sub, tenant: org_id, scopes: [scope, scp], email: email}
    require: {email_verified: true, hd: [example.com, example.org]}
    services: [crm]
    introspection: {url: "https://login.example.com/introspect", client_id: gw, client_secret: "env:GATEWAY_SECRET_GW"}
  - {issuer: "https://b.example.com", audience: x}
"""
GOOD: dict[str, Any] = {"issuer": "https://a.example", "audience": "x"}


def no_secret(_name: str) -> str:
    return "s3cret"


def test_every_setting() -> None:
    one, two = parse(DOCUMENT).structure["issuers"]
    issuer = decode_issuer(one, no_secret)
    assert (issuer.audience, issuer.leeway, issuer.types) == (("my-api", "other"), 30.0, ("at+jwt",))
    assert issuer.require == (("email_verified", (True,)), ("hd", ("example.com", "example.org")))
    assert issuer.introspection is not None
    assert issuer.introspection.client_secret == "s3cret"
    assert decode_issuer(two, no_secret).leeway == 60.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"audience": None}, "'audience' is required"),
        ({"audience": []}, "1 to 50"),
        ({"audience": 5}, "must be a string"),
        ({"issuer": None}, "'issuer' is required"),
        ({"issuer": "http://a.example"}, "https"),
        ({"issuer": "http://169.254.169.254"}, "https"),
        ({"issuer": "https://u:p@a.example"}, "no user"),
        ({"issuer": "https://a.example?x=1"}, "no query"),
        ({"issuer": "https://"}, "host"),
        ({"issuer": "https://a.example:x"}, "not a URL"),
        ({"jwks_uri": "file:///etc/passwd"}, "https"),
        ({"algorithms": ["HS256"]}, "must be RS256, ES256, EdDSA or PS256"),
        ({"algorithms": ["none"]}, "must be RS256"),
        ({"algorithms": []}, "1 to 50"),
        ({"leeway": "1h"}, "leeway must be"),
        ({"claims": {"uid": "sub"}}, "unknown key"),
        ({"claims": {"scopes": []}}, "1 to 50"),
        ({"require": {"a": {"b": 1}}}, "must be a text"),
        ({"services": "no service"}, "not the name of a service"),
        ({"introspection": {"client_id": "x"}}, "introspection needs url"),
        ({"introspection": {"url": "http://x.example", "client_id": "x"}}, "https"),
        ({"audiences": "x"}, "did you mean 'audience'"),
    ],
)
def test_an_invalid_issuer_is_refused_with_the_reason(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        decode_issuer(GOOD | settings, no_secret)


def test_faults_have_their_lines_and_services_must_exist() -> None:
    text = "version: 1\nservices: {}\nissuers:\n  - issuer: https://a.example\n    audience: x\n    services: [crm]\n"
    with pytest.raises(ConfigurationError, match=r"line 6: issuers\[0\].services: there is no service 'crm'"):
        parse(text).services(no_secret)
    twice = f"{text}  - {{issuer: 'https://a.example', audience: y}}\n"
    with pytest.raises(ConfigurationError, match="duplicate issuer"):
        parse(twice).services(no_secret)


def test_the_variable_takes_one_issuer_a_list_or_a_file() -> None:
    (one,) = parse_variable('{"issuer": "https://a.example", "audience": "x"}')
    assert one == GOOD
    assert parse_variable("- issuer: https://a.example\n  audience: x") == (GOOD,)
    assert parse_variable("issuers:\n- {issuer: 'https://a.example', audience: x}") == (GOOD,)
    for text in ("/no/such/file", '[{"issuer": "https://a.example"}]', "[1]", "{", "issuer: https://a.example"):
        with pytest.raises(ValueError):  # noqa: PT011 - any reason
            parse_variable(text)


def test_literal_client_secrets_are_found_and_masked() -> None:
    structure = {"issuers": [GOOD | {"introspection": {"url": "https://a", "client_id": "x", "client_secret": "pw"}}]}
    (fault,) = literals.literal_secrets(structure)
    assert fault.path == ("issuers", 0, "introspection", "client_secret")
    masked = literals.mask(structure, b"key")
    assert "pw" not in dump({"version": 1, **masked.structure})
    assert literals.unmask(masked.structure, masked.secrets) == structure


@pytest.mark.django_db
def test_apply_export_and_apply_again() -> None:
    structure = parse(DOCUMENT).structure
    changes = apply_document(structure)
    assert "issuer https://b.example.com" in changes.created
    exported = current_document()
    assert not apply_document(masking.unmask(parse(exported).structure))
    assert dump(raw_document()) == exported
    assert [issuer.issuer for issuer in load(no_secret).table.issuers] == [
        "https://b.example.com",
        "https://login.example.com/realms/a",
    ]
    revision = record_revision()
    assert revision is None or "issuer https://b.example.com" in revision.summary
    del structure["issuers"][1]
    assert absent_names(structure) == ("issuer https://b.example.com",)
    assert apply_document(structure).deleted == ("issuer https://b.example.com",)


@pytest.mark.django_db
def test_a_faulty_issuer_harms_no_other() -> None:
    apply_document(parse(DOCUMENT).structure)
    Issuer.objects.filter(issuer="https://b.example.com").update(settings={"audience": 5})
    loaded = load(no_secret)
    assert [bool(issuer.faults) for issuer in loaded.table.issuers] == [True, False]
    assert any("https://b.example.com" in fault for fault in loaded.faults)
    Issuer.objects.filter(issuer="https://b.example.com").update(settings=["corrupt"])
    assert [bool(issuer.faults) for issuer in load(no_secret).table.issuers] == [True, False]


@pytest.mark.django_db
def test_the_variable_owns_what_it_has_created() -> None:
    apply_document({"version": 1, "issuers": [GOOD]})
    apply_environment_issuers([{"issuer": "https://env.example", "audience": "x"}])
    assert Issuer.objects.count() == 2
    apply_environment_issuers([])
    assert [row.issuer for row in Issuer.objects.all()] == ["https://a.example"]
