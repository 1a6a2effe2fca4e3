"""Variables of templates that nobody has filled in."""

from typing import Any

import pytest

from routing.configuration.document import parse
from routing.configuration.placeholders import NOT_REPLACED, placeholders


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("${TENANT}", "${TENANT}"),
        ("t-${TENANT:-planted-default}", "${TENANT}"),
        ("${TENANT?must be set}", "${TENANT}"),
        ("{{ .Values.tenant }}", "{{ ... }}"),
        ("${{ secrets.TENANT }}", "{{ ... }}"),
    ],
)
def test_a_variable_that_is_not_replaced_is_found(value: str, shown: str) -> None:
    text = f'version: 1\nservices:\n  a:\n    targets: [{{url: http://a}}]\n    headers:\n      X-Tenant: "{value}"\n'
    document = parse(text)
    (warning,) = document.warnings(document.services(lambda _: None))
    assert (warning.line, warning.path) == (6, ("services", "a", "headers", "X-Tenant"))
    assert warning.message == NOT_REPLACED.format(shown)


@pytest.mark.parametrize("value", ["$TENANT", "{tenant}", "a{{b", "$ {x}", "${}", 5, None])
def test_other_texts_are_none(value: Any) -> None:
    assert not list(placeholders({"services": {"a": {"headers": {"X-A": value}}}}))


def test_the_body_of_a_fallback_is_for_clients() -> None:
    body = {"services": {"a": {"fallback": {"body": {"template": "Hello {{ name }}"}}}}}
    assert not list(placeholders(body))
