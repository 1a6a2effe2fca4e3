"""Exchanges and events of requests, as the meter receives them."""

from types import SimpleNamespace
from typing import Any

from routing.caller import Caller
from routing.consumers.policy import Limits, Plan
from routing.consumers.price import Price
from routing.consumers.subscription import LimitedMember, Subscription
from routing.exchange import CallRecord, Exchange
from routing.http import Request
from routing.router.policy import RoutePolicy
from routing.router.resolution import CredentialState, Resolution
from routing.router.table import Match, Service
from tests.metrics.events import finished


def member(name: str, number: int = 1) -> LimitedMember:
    return LimitedMember(number, name, Limits(), 0.0)


def caller(identifier: str = "key:abcdefgh", consumer: str = "", team: str = "", price: Price | None = None) -> Caller:
    if not consumer:
        return Caller(identifier)
    subscription = Subscription(
        None, member(consumer), member(team) if team else None, Plan(name="p", price=price) if price else None
    )
    return Caller(identifier, subscription=subscription)


def exchange(
    who: Caller | None = None, service: str = "crm", route: str = "/x", price: Price | None = None
) -> Exchange:
    made = Exchange(Request("GET", b"/", b"", [], "127.0.0.1"), "id", 0.0, 0.0)
    made.caller, made.resolution = who, Resolution(CredentialState([]))
    if service:
        match = Match(Service(service, ()), RoutePolicy(price=price), b"/", pattern=route)
        made.resolution = made.resolution.rerouted(match)
    return made


def count(meter: Any, made: Exchange, **fields: Any) -> None:
    """Tell the meter of a request that has ended."""
    if "backend" in fields:
        made.call = CallRecord(seconds=fields["backend"])
    match = made.resolution.match
    usual: dict[str, Any] = {
        "caller": made.caller.id if made.caller else "",
        "service": match.service.name if match else "",
        "route": match.pattern if match else "",
    }
    meter.finished(made, finished(**{**usual, **fields}))


def progress(received: int = 0, sent: int = 0) -> Any:
    return SimpleNamespace(received=received, sent=sent)
