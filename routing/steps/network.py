"""Whether a client's address may call, by the lists of a service or a plan."""

from collections.abc import Callable
from typing import Final

from routing.errors import AddressNotAllowed
from routing.exchange import Exchange
from routing.networks import Addresses, described_country, name_countries, permits

PLAN_REFUSAL: Final = "the plan may not be used from this address"


def check_plan_address(exchange: Exchange, timer: Callable[[], float]) -> None:
    """Raise AddressNotAllowed unless the plan of the caller, if it has one, permits the client."""
    subscription = None if exchange.caller is None else exchange.caller.subscription
    if subscription is not None and subscription.ip:
        check_address(exchange, subscription.ip, PLAN_REFUSAL, timer)


def check_address(exchange: Exchange, policies: Addresses, refusal: str, timer: Callable[[], float]) -> None:
    """Raise AddressNotAllowed with this detail, unless every list permits the client. `timer` is monotonic seconds."""
    if not exchange.has_client:
        return
    client = exchange.request.client
    if exchange.step_log is not None and name_countries(policies):
        exchange.mark("network", described_country(client), timer())
    if not permits(policies, client):
        raise AddressNotAllowed(refusal, service=exchange.service)
