"""What a valid configuration is warned of."""

from typing import Any

from routing.configuration.document import parse
from routing.configuration.warnings import CACHED_POSTS, NO_CONTENT

HEAD = """\
version: 1
services:
  crm:
    targets: [{url: "http://127.0.0.1:1"}]
"""


def warned(text: str) -> list[tuple[int | None, str]]:
    document = parse(HEAD + text)
    services: Any = document.services(lambda _: None)
    return [(fault.line, fault.message) for fault in document.warnings(services)]


def test_post_among_the_methods_of_all_paths_is_warned_of() -> None:
    assert warned("    cache:\n      methods: [GET, POST]\n") == [(6, CACHED_POSTS)]


def test_a_body_that_is_not_sent_is_warned_of() -> None:
    text = "    fallback:\n      status: 204\n      body: {a: 1}\n    routes: [{path: /a, fallback: {status: 304}}]\n"
    assert warned(text) == [(7, NO_CONTENT.format(204))]
    assert not warned("    fallback: {status: 204}\n")


def test_post_on_a_route_that_reads_is_not() -> None:
    assert not warned("    routes: [{path: /search, cache: {methods: [POST]}}]\n")
