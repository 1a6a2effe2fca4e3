"""Routes whose requests an earlier route gets."""

from typing import Any

import pytest

from routing.configuration.decode import decode
from routing.configuration.document import parse
from routing.configuration.unreachable_routes import unreachable_routes
from routing.presets import shipped


def unreachable(*routes: tuple[str, str], **settings: Any) -> list[int]:
    """The position of the first such route. Each has settings of its own, a path and methods."""
    listed = [
        {"path": path, "max_concurrency": 1 + index, **({"methods": methods.split()} if methods else {})}
        for index, (path, methods) in enumerate(routes)
    ]
    item = {"targets": [{"url": "http://a"}], "routes": listed, **settings}
    (service,) = decode({"version": 1, "services": {"a": item}}, lambda _: None)
    return [int(fault.path[-1]) for fault in unreachable_routes(service)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("/*", ""), ("/a", "")),
        (("/*", ""), ("/", "")),
        (("/*", ""), ("/\u00e9 b", "")),
        (("/{x}", ""), ("/me", "")),
        (("/{x}", "GET"), ("/me", "GET")),
        (("/{x}", "GET"), ("/me", "HEAD")),
        (("/a/*", ""), ("/a/{x}/*", "")),
        (("/a/*", ""), ("/a", "")),
    ],
)
def test_a_wider_route_gets_the_requests_of_a_later_one(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert unreachable(first, second) == [1]
    assert unreachable(second, first) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("/{x}", "GET"), ("/me", "")),
        (("/{x}", "GET"), ("/me", "POST")),
        (("/a/{x}", ""), ("/a/*", "")),
        (("/a/{x}/*", ""), ("/a/*", "")),
        (("/A/*", ""), ("/a/b", "")),
        (("/~", ""), ("/{x}", "")),
    ],
)
def test_a_route_that_some_request_reaches_is_none(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert unreachable(first, second) == []


def test_several_routes_may_leave_nothing() -> None:
    assert unreachable(("/*", "GET"), ("/*", "POST"), ("/y", "GET POST")) == [2]
    assert unreachable(("/A/*", ""), ("/a/b", ""), paths={"case_sensitive": False}) == [1]


def test_a_route_with_the_same_settings_is_none() -> None:
    item = {"targets": [{"url": "http://a"}], "routes": [{"path": "/*"}, {"path": "/a"}]}
    (service,) = decode({"version": 1, "services": {"a": item}}, lambda _: None)
    assert not list(unreachable_routes(service))


def test_the_warning_has_the_line_of_the_route() -> None:
    text = """version: 1
services:
  a:
    targets: [{url: http://a}]
    cache: off
    routes:
      - {path: "/*", auth: none}
      - {path: /admin/*}
"""
    document = parse(text)
    (warning,) = document.warnings(document.services(lambda _: None))
    assert str(warning).startswith("line 8: services.a.routes[1]: never reached: /* comes first")


@pytest.mark.parametrize("name", shipped.names())
def test_presets_have_none(name: str) -> None:
    item = {"preset": name, "targets": [{"url": "https://a.example"}]}
    (service,) = decode({"version": 1, "services": {"a": item}}, lambda _: "s")
    assert not list(unreachable_routes(service))
