"""Prices of services, routes and plans: decimal numbers that are read and written exactly."""

import json
from decimal import Decimal
from typing import Any

import pytest

from routing.configuration import document
from routing.configuration.consumers import decode_plan
from routing.configuration.decode import decode_service
from routing.configuration.faults import ConfigurationError
from routing.consumers.price import Price
from routing.router.table import Service


def read(**settings: Any) -> Service:
    return decode_service("crm", {"targets": [{"url": "http://a"}], **settings}, lambda _: None)


def fault(**settings: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(**settings)
    [found] = caught.value.faults
    return str(found)


@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("0.002", 2_000_000),
        ('"0.002"', 2_000_000),
        ("1e-9", 1),
        ("0.000000001", 1),
        ("0.1", 100_000_000),
        ("999.999999999", 999_999_999_999),
        ("0", 0),
        ("7", 7_000_000_000),
    ],
)
def test_a_price_is_exactly_what_is_written(written: str, nanos: int) -> None:
    price = f"price: {{per_request: {written}, currency: EUR}}"
    text = f"version: 1\nservices:\n  crm:\n    targets: [{{url: 'http://a'}}]\n    {price}\n"
    parsed = document.parse(text)
    [service] = parsed.services(lambda _: None)
    assert service.policy.price is not None
    assert service.policy.price.nanos == nanos
    stored = json.loads(json.dumps(document.canonical(parsed.structure)))  # as the database does
    [again] = document.parse(document.dump(stored)).services(lambda _: None)
    assert again.policy.price == service.policy.price


def test_a_route_inherits_the_price_of_its_service_and_can_have_another_or_none() -> None:
    price = {"per_request": 0.5, "currency": "USD"}
    routes = [
        {"path": "/same"},
        {"path": "/more", "price": {"per_request": 2}},
        {"path": "/free", "price": False},
    ]
    found = [route.policy.price for route in read(price=price, routes=routes).routes]
    assert [each and (Decimal(each.per_request), each.currency) for each in found] == [
        (Decimal("0.5"), "USD"),
        (Decimal(2), "USD"),
        None,
    ]


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"per_request": 1}, "price: a price needs 'currency'"),
        ({"currency": "EUR"}, "price: a price needs 'per_request'"),
        ({"per_request": -1, "currency": "EUR"}, "price: per_request must be a number from 0 to 1000"),
        ({"per_request": 1000.1, "currency": "EUR"}, "price: per_request must be a number from 0 to 1000"),
        ({"per_request": "0.0000000001", "currency": "EUR"}, "price: per_request must be a number from 0"),
        ({"per_request": float("nan"), "currency": "EUR"}, "price.per_request: must be a number, not nan"),
        ({"per_request": True, "currency": "EUR"}, "price.per_request: must be a number, not true"),
        ({"per_request": "1,5", "currency": "EUR"}, "price.per_request: must be a number, not '1,5'"),
        ({"per_request": 1, "currency": "euro"}, "price: currency must be three capital letters"),
        ({"per_request": 1, "currency": "EUR", "vat": 1}, "price: unknown key 'vat'"),
    ],
)
def test_a_wrong_price_is_refused(price: Any, message: str) -> None:
    assert fault(price=price).startswith(message)


def test_the_price_of_a_plan() -> None:
    plan = decode_plan("pro", {"rate": "1/s", "price": {"per_request": 0.01, "currency": "EUR"}})
    assert plan.price == Price(per_request="0.01", currency="EUR")
    with pytest.raises(ConfigurationError, match="price: a price needs 'currency'"):
        decode_plan("pro", {"price": {"per_request": 1}})
