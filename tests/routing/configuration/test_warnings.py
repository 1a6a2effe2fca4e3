"""What a valid configuration is warned of."""

from typing import Any

from routing.configuration.document import parse
from routing.configuration.url_secrets import SHOWN_IN_QUERY
from routing.configuration.warnings import CACHED_POSTS, NO_CONTENT, UNKNOWN_SCOPE

HEAD = """\
version: 1
services:
  crm:
    targets: [{url: "http://127.0.0.1:1"}]
"""


def warned(text: str) -> list[tuple[int | None, str]]:
    document = parse(HEAD + text)
    services: Any = document.services(lambda _: "")
    return [(fault.line, fault.message) for fault in document.warnings(services)]


def test_post_among_the_methods_of_all_paths_is_warned_of() -> None:
    assert warned("    cache:\n      methods: [GET, POST]\n") == [(6, CACHED_POSTS)]


def test_a_body_that_is_not_sent_is_warned_of() -> None:
    text = "    fallback:\n      status: 204\n      body: {a: 1}\n    routes: [{path: /a, fallback: {status: 304}}]\n"
    assert warned(text) == [(7, NO_CONTENT.format(204))]
    assert not warned("    fallback: {status: 204}\n")


def test_post_on_a_route_that_reads_is_not() -> None:
    assert not warned("    routes: [{path: /search, cache: {methods: [POST]}}]\n")


def test_scopes_of_certificates_that_permit_nothing_are_warned_of() -> None:
    text = "    scopes: [reports]\nconsumers:\n  shop:\n    identities:\n"
    for name, scopes in (("a", "[crm, reports, '*', debug]"), ("b", "[CRM, nope]"), ("c", "[]")):
        text += f"      - {{certificate: 'dns:{name}.example', scopes: {scopes}}}\n"
    assert warned(text) == [(10, UNKNOWN_SCOPE.format("'CRM', 'nope'"))]


def test_secrets_in_urls_are_warned_of() -> None:
    text = """\
    health: {path: "/health?token=abcdef"}
    credential:
      oauth2:
        grant: client_credentials
        token_url: "https://x.example/token?api_key=abcdef&page=1"
        client_id: c
        client_secret: "env:GATEWAY_SECRET_A"
alerts:
  - {on: [circuit.open], to: ["webhook:https://x.example/y?team=a"]}
  - on: [target.down]
    to:
      - "webhook:https://x.example/y?sig=abcdef&token=1"
"""
    expected = [(5, "token"), (9, "api_key"), (16, "sig, token")]
    assert warned(text) == [(line, SHOWN_IN_QUERY.format(names)) for line, names in expected]
