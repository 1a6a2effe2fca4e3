"""Where the portal is: its host and port, apart from staff's."""

from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.test import RequestFactory, override_settings

from gateway_project import config
from gateway_project.environment.portal import PortalSettings
from gateway_project.environment.variables import ConfigurationFault
from metrics.admin.portal import _address
from routing.messages.staff_origin import PortalOrigin, StaffOrigin
from tests.metrics.portal.teams import Team

SECRET = {"SECRET_KEY": "for tests alone, and long enough to sign with"}


def configured(origin: PortalOrigin, **fields: Any) -> Any:
    changed = msgspec.structs.replace(settings.CONFIG, staff=origin.staff, portal=PortalSettings(origin), **fields)
    return override_settings(CONFIG=changed, ALLOWED_HOSTS=["*"])


@pytest.mark.django_db
def test_with_a_host_for_staff_the_portal_is_on_the_others(acme: Team) -> None:
    with configured(PortalOrigin(StaffOrigin("staff.test"))):
        assert acme.get(headers={"Host": "gateway.test"}).status_code == 200
        assert acme.get(headers={"Host": "staff.test"}).status_code == 404


@pytest.mark.django_db
def test_with_a_port_for_staff_the_portal_is_on_the_other(acme: Team) -> None:
    with configured(PortalOrigin(StaffOrigin(None, 9000))):
        assert acme.client.get("/portal/", SERVER_PORT="8000").status_code == 200
        assert acme.client.get("/portal/", SERVER_PORT="9000").status_code == 404


@pytest.mark.django_db
def test_with_a_host_of_its_own_it_is_nowhere_else(acme: Team) -> None:
    with configured(PortalOrigin(StaffOrigin("staff.test"), host="portal.test")):
        for host, status in (("portal.test", 200), ("gateway.test", 404), ("staff.test", 404)):
            assert acme.get(headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (PortalOrigin(), "gw.test:8000", "http://gw.test:8000"),
        (PortalOrigin(StaffOrigin("staff.test")), "staff.test:8443", "http://gateway.test:8443"),
        (PortalOrigin(StaffOrigin(None, 9000)), "gw.test:9000", "http://gw.test:8000"),
        (PortalOrigin(StaffOrigin("staff.test"), host="portal.test"), "staff.test:8443", "http://portal.test"),
    ],
)
def test_links_lead_to_the_portal_as_far_as_it_is_known(origin: PortalOrigin, host: str, expected: str) -> None:
    request = RequestFactory().get("/admin/", headers={"Host": host})
    with configured(origin, allowed_hosts=(".wild.test", "gateway.test")):
        assert _address(request) == expected


@pytest.mark.django_db
def test_it_can_be_switched_off(acme: Team) -> None:
    with configured(PortalOrigin(enabled=False)):
        assert acme.get().status_code == 404
        assert acme.get("login/").status_code == 404


def test_the_environment_says_where_it_is() -> None:
    read = config.read({**SECRET, "STAFF_HOST": "staff.test", "PORTAL_HOST": "Portal.test", "PORTAL_MAX_KEYS": "3"})
    assert read.portal == PortalSettings(PortalOrigin(StaffOrigin("staff.test"), True, "portal.test"), 3)
    assert not config.read({**SECRET, "PORTAL": "off"}).portal.origin.enabled


@pytest.mark.parametrize(
    "environment",
    [
        {"PORTAL_HOST": "staff.test", "STAFF_HOST": "staff.test"},
        {"PORTAL_HOST": "https://portal.test"},
        {"PORTAL_MAX_KEYS": "0"},
        {"PORTAL": "perhaps"},
    ],
)
def test_a_wrong_setting_is_a_fault(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationFault) as error:
        config.read({**SECRET, **environment})
    assert [fault.partition(":")[0] for fault in error.value.faults] == [next(iter(environment))]
