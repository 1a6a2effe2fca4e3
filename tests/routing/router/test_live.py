"""Which services a table continues with when a newer configuration is faulty."""

import msgspec
import pytest

from routing.authentication.api_keys import generate_api_key
from routing.errors import ConfigurationUnavailable, GatewayError, ServiceMisconfigured
from routing.http import Request
from routing.router.access import authorize
from routing.router.live import LiveConfiguration, LoadedConfiguration, with_last_valid
from routing.router.policy import RoutePolicy, Target
from routing.router.resolution_cache import ResolutionCache
from routing.router.table import NOT_LOADED, RouteTable, Service

CRM = Service("crm", (Target("http://a"),), ("crm.example",))
OUT = Service("crm", (), ("crm.example",), faults=("a fault",))
MAIL = Service("mail", (Target("http://b"),))


def test_a_service_with_invalid_settings_continues_as_it_was() -> None:
    table = with_last_valid(LoadedConfiguration(RouteTable([OUT, MAIL], 2), (), frozenset({"crm"})), RouteTable([CRM]))
    assert table.services == {"crm": msgspec.structs.replace(CRM, faults=("a fault",)), "mail": MAIL}
    assert not table.services["crm"].is_out
    assert table.version == 2


def test_it_gives_up_a_host_that_another_service_has_now() -> None:
    mail = msgspec.structs.replace(MAIL, hosts=("crm.example",))
    table = with_last_valid(LoadedConfiguration(RouteTable([OUT, mail]), (), frozenset({"crm"})), RouteTable([CRM]))
    assert table.by_host("crm.example") == mail


def test_one_that_was_never_valid_or_whose_secret_is_missing_is_out() -> None:
    assert with_last_valid(LoadedConfiguration(RouteTable([OUT]), (), frozenset({"crm"})), RouteTable()).services == {
        "crm": OUT
    }
    assert with_last_valid(LoadedConfiguration(RouteTable([OUT]), ()), RouteTable([CRM])).services == {"crm": OUT}


def test_a_request_for_a_service_that_is_out_is_503_unless_it_may_not_be_used_at_all() -> None:
    assert isinstance(authorize(OUT, RoutePolicy(), None), ServiceMisconfigured)
    assert authorize(CRM, RoutePolicy(), None) is None


@pytest.mark.parametrize("path", [b"/api/v1/", b"/api/v1/crm/x", b"/metrics", b"/events"])
@pytest.mark.parametrize("headers", [[], [(b"x-api-key", generate_api_key().key.encode())], [(b"x-api-key", b"junk")]])
def test_without_a_configuration_no_request_is_refused_for_its_credential(
    path: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    request = Request("GET", path, b"", [(b"host", b"crm.example"), *headers], "192.0.2.1")
    resolution = ResolutionCache(LiveConfiguration(NOT_LOADED)).of(request)
    error: GatewayError | None = resolution.routing_error
    assert isinstance(error, ConfigurationUnavailable)
    assert resolution.auth == "none"
