"""The settings that hold for every service: see gateway_project/config.py for the variables that they come from."""

import msgspec

from resilience.ratelimit.policy import RatePolicy
from routing.authentication.certificates.source import CertificateSource
from routing.messages.proxies import IPNetwork
from routing.messages.staff_origin import PortalOrigin, StaffOrigin
from routing.router.hosts import ANY


class GatewayRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every service."""

    rate: RatePolicy = RatePolicy()
    max_body_bytes: int = 10 * 1024 * 1024
    trusted_proxies: tuple[IPNetwork, ...] = ()
    certificates: CertificateSource | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = (ANY,)
    staff: StaffOrigin = StaffOrigin()
    portal: PortalOrigin = PortalOrigin()
