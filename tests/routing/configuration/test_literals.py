"""Which values are secrets, and that masking leaves none."""

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.configuration import literals
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError

KEY = b"k" * 64


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "proxy-authorization", "Cookie", "X-Api-Key", "X-API-KEY", "apikey", "Api-Key", "X-Key"),
        *("X-Auth-Token", "PRIVATE-TOKEN", "X-Vault-Token", "X-Client-Secret", "X-Amz-Security-Token", "X-Auth"),
        *("Ocp-Apim-Subscription-Key", "X-AccessToken", "X_Api_Key", "X-Password", "X-Hub-Signature-256"),
    ],
)
def test_a_name_says_that_a_value_is_a_secret(name: str) -> None:
    assert literals.is_secret(name, "x")


@pytest.mark.parametrize(
    "value",
    [
        *("Bearer x1y2z3", "bearer x1y2z3", "Basic dXNlcjpwYXNz", "Token abcdef", "sk-abc123def", "sk_live_abc123def"),
        *("sk-proj-abc", "xoxb-1-2-abc", "ghp_abcdef", "gho_a", "ghu_a", "ghs_a", "ghr_a", "github_pat_11A", "glpat-x"),
        *("AIzaSyA-x", "eyJhbGciOi.eyJzdWI.x", "AKIAIOSFODNN7EXAMPLE", "hvs.CAES", "https://user:pass@host/"),
        *("key=abc", "https://host/?api_key=abc", "token: abc", "0123456789abcdef0123456789ABCDEF"),
        *("aB3" * 11, "-----BEGIN PRIVATE KEY-----", "gw_abcdefgh_secret", 'AWS4-HMAC-SHA256 Credential="a"'),
    ],
)
def test_the_form_of_a_value_says_that_it_is_a_secret(value: str) -> None:
    assert literals.is_secret("X-Custom", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "env:GATEWAY_SECRET_CRM"),
        ("Authorization", "Bearer env:GATEWAY_SECRET_CRM"),
        ("Authorization", "Bearer file:/run/secrets/crm"),
        ("Authorization", "file:///run/secrets/crm"),
        ("Authorization", "masked:0123456789abcdef"),
        ("Authorization", ""),
        ("X-Api-Version", "2023-10-16"),
        ("Accept-Language", "sk-SK,sk;q=0.9"),
        ("X-Tenant-Id", "550e8400-e29b-41d4-a716-446655440000"),
        ("User-Agent", "gateway/1.0 (+https://example.com)"),
        ("X-Key-Format", "pem"),
        ("X-Monkey", "a"),
        ("Accept", "application/json"),
    ],
)
def test_references_and_plain_values_are_no_secrets(name: str, value: str) -> None:
    assert not literals.is_secret(name, value)


def test_faults_name_each_place() -> None:
    document = {"crm": {"headers": {"Authorization": "x", "A": "b"}, "routes": [{}, {"headers": {"X-Api-Key": "y"}}]}}
    found = [str(fault) for fault in literals.literal_secrets({"services": document})]
    assert [text.partition(": ")[0] for text in found] == [
        "services.crm.headers.Authorization",
        "services.crm.routes[1].headers.X-Api-Key",
    ]


def test_a_mask_depends_on_the_secret_its_service_and_its_field_and_is_made_with_a_key() -> None:
    def mask(service: str = "crm", name: str = "Authorization", value: str = "a", key: bytes = KEY) -> str:
        masked = literals.mask({"services": {service: {"headers": {name: value}}}}, key)
        (placeholder,) = masked.secrets
        return placeholder

    masks = {mask(), mask(service="mail"), mask(name="X-Api-Key"), mask(value="b"), mask(key=b"other")}
    assert len(masks) == 5
    assert mask(name="authorization") == mask()


def test_an_unknown_mask_is_a_fault_where_it_is_and_a_mask_is_never_sent() -> None:
    text = (
        'version: 1\nservices:\n  crm:\n    targets: [{url: "http://a"}]\n    headers: {A: "masked:0123456789abcdef"}\n'
    )
    document = parse(text)
    with pytest.raises(ConfigurationError) as unknown:
        literals.unmask(document.structure, {})
    assert "is not stored here" in str(document.located(unknown.value.faults)[0])
    with pytest.raises(ConfigurationError, match=r"line 5: services.crm.headers.A: this stands for a stored value"):
        document.services(lambda _: "")


SECRETS = st.text(string.ascii_letters + string.digits, min_size=12, max_size=40).filter(
    lambda text: text not in "Authorization"  # which is a field's name
)
NAMES = st.sampled_from(["Authorization", "Cookie", "X-Api-Key", "Private-Token"])
SHAPES = st.sampled_from(["Bearer {}", "sk-{}", "xoxb-{}", "ghp_{}", "AIza{}", "eyJ{}", "https://u:{}@host/", "{}"])


@st.composite
def drawn_settings(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """Settings with literal secrets, and these."""
    secrets = draw(st.lists(SECRETS, max_size=3, unique=True))
    fields: dict[str, Any] = {"X-Plain": "plain", "X-Reference": "env:GATEWAY_SECRET_A"}
    for secret in secrets:
        shape = draw(SHAPES)
        name = draw(NAMES) if shape == "{}" or draw(st.booleans()) else f"X-Custom-{len(fields)}"
        fields[name] = shape.format(secret)
    shown = [secret for secret in secrets if any(secret in str(value) for value in fields.values())]
    as_text = draw(st.booleans()) and draw(st.integers(0, 9)) == 0
    return {"headers": list(fields.values()) if as_text else fields}, shown


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["crm", "mail", "ai"]), st.tuples(drawn_settings(), st.lists(drawn_settings(), max_size=2))
    )
)
def test_no_secret_remains_after_masking_and_all_return_after_unmasking(
    services: dict[str, tuple[tuple[dict[str, Any], list[str]], list[tuple[dict[str, Any], list[str]]]]],
) -> None:
    document: dict[str, Any] = {"version": 1, "services": {}}
    secrets: list[str] = []
    for name, ((own, found), routes) in services.items():
        listed = [{"path": f"/{index}", **route} for index, (route, _) in enumerate(routes)]
        document["services"][name] = {"targets": [{"url": "http://a"}], **own, "routes": listed}
        secrets += found + [secret for _, of_route in routes for secret in of_route]
    before = dump(document)
    masked = literals.mask(document, KEY)
    text = dump(masked.structure)
    assert not [secret for secret in secrets if secret in text]
    assert not literals.literal_secrets(masked.structure) or "headers: [" in before
    assert dump(document) == before  # not changed in place
    assert literals.mask(masked.structure, KEY).structure == masked.structure or "headers: [" in before
    if all(isinstance(field.value, str) for field in literals.fields(document)):
        assert dump(literals.unmask(parse(text).structure, masked.secrets)) == before
