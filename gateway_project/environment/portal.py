"""The portal's part of the static configuration: PORTAL, PORTAL_HOST and PORTAL_MAX_KEYS."""

import msgspec

from gateway_project.environment.values import Get, boolean, integer, staff_host
from routing.messages.staff_origin import PortalOrigin, StaffOrigin


class PortalSettings(msgspec.Struct, frozen=True):
    """`max_keys`: keys of one consumer that may be valid at a time; its members create no more then."""

    origin: PortalOrigin = PortalOrigin()
    max_keys: int = 20


def read(get: Get, staff: StaffOrigin) -> PortalSettings:
    origin = PortalOrigin(staff, get("PORTAL", True, boolean), get("PORTAL_HOST", None, staff_host))
    return PortalSettings(origin, get("PORTAL_MAX_KEYS", PortalSettings().max_keys, integer(1, 10_000)))


def contradictions(settings: PortalSettings) -> list[str]:
    host = settings.origin.host
    return ["PORTAL_HOST: must not be STAFF_HOST"] if host and host == settings.origin.staff.host else []
