"""Fallbacks to other services, over all services of a document."""

from typing import Any

import pytest

from routing.configuration.decode import decode
from routing.configuration.document import canonical, parse
from routing.configuration.fallbacks import check
from routing.configuration.faults import ConfigurationError
from routing.router.policy import Fallback


def service(fallback: Any = None, *routes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"targets": [{"url": "http://a"}]}
    if fallback is not None:
        item["fallback"] = {"service": fallback}
    return {**item, "routes": [{"path": f"/{name}", "fallback": {"service": name}} for name in routes]}


def faults(**services: Any) -> list[str]:
    return [str(fault) for fault in check(services)]


def test_a_chain_is_accepted() -> None:
    assert faults(a=service("b"), b=service("c"), c=service()) == []


def test_each_service_of_a_cycle_has_a_fault() -> None:
    assert faults(a=service("b"), b=service(None, "c"), c=service("a"), d=service("a")) == [
        "services.a.fallback.service: the fallbacks form a cycle: a -> b -> c -> a",
        "services.b.routes[0].fallback.service: the fallbacks form a cycle: b -> c -> a -> b",
        "services.c.fallback.service: the fallbacks form a cycle: c -> a -> b -> c",
    ]


@pytest.mark.parametrize("odd", [None, 3, [], {"fallback": True}, {"fallback": {"service": 3}}, {"routes": [1, None]}])
def test_anything_that_is_not_a_service_has_no_fallback(odd: object) -> None:
    assert faults(a=odd) == []


def test_many_services_are_checked_quickly() -> None:
    chain = {f"s{number}": service(f"s{number + 1}") for number in range(300)}
    assert faults(**chain, s300=service()) == []


def test_a_long_chain_and_a_long_cycle_take_no_longer_than_they_are() -> None:
    chain = {f"s{number}": service(f"s{number + 1}") for number in range(5_000)}
    assert faults(**chain, s5000=service()) == []
    found = faults(**chain, s5000=service("s0"))
    assert len(found) == 5_001
    assert found[0].endswith("cycle: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> s8 -> s9 -> s10 -> ... -> s0")
    assert found[-1].endswith("the fallbacks form a cycle")


def decoded(text: str) -> Any:
    return parse(text).services(lambda _: None)


def test_a_fault_has_its_line() -> None:
    text = "version: 1\nservices:\n  a:\n    targets: [{url: http://a}]\n    fallback: {service: b}\n"
    with pytest.raises(ConfigurationError) as refused:
        decoded(text)
    assert str(refused.value) == "line 5: services.a.fallback.service: there is no service 'b'"


def test_a_part_of_a_configuration_may_name_services_outside_of_it() -> None:
    assert decode({"version": 1, "services": {"a": service("b")}}, lambda _: None, is_part=True)[0].name == "a"


def test_a_route_inherits_the_fallback_and_may_have_another_or_none() -> None:
    text = """
version: 1
services:
  a:
    targets: [{url: http://a}]
    fallback: {service: b}
    routes:
      - {path: /inherited}
      - {path: /other, fallback: {service: c}}
      - {path: /both, fallback: {status: 203, body: later}}
      - {path: /none, fallback: false}
  b: {targets: [{url: http://b}]}
  c: {targets: [{url: http://c}]}
"""
    only = Fallback(service="b", has_response=False)
    service = decoded(text)[0]
    assert service.policy.fallback == only
    assert [route.policy.fallback for route in service.routes] == [
        only,
        Fallback(service="c", has_response=False),
        Fallback(service="b", status=203, body="later"),
        None,
    ]


def test_the_canonical_form_keeps_it() -> None:
    structure = {"version": 1, "services": {"a": service("b"), "b": service()}}
    assert canonical(structure)["services"]["a"]["fallback"] == {"service": "b"}
