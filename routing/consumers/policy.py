"""Plans, teams and consumers as the configuration defines them: frozen, without I/O."""

import re
from typing import Final

import msgspec

from resilience.ratelimit.policy import RatePolicy
from resilience.usage.policy import QuotaPolicy
from routing.consumers.price import Price
from routing.networks import Addresses

CONSUMER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
"""The name of a consumer or a team: what a company calls its customer, such as an address or a number."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one key, consumer, team or plan allows. None and an empty tuple: no limit of this kind.

    `burst` is how many requests of `rate` may come at once. `concurrency` is the number of requests in flight.
    """

    rate: RatePolicy | None = None
    burst: int | None = None
    quotas: tuple[QuotaPolicy, ...] = ()
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.burst is not None and self.rate is None:
            raise ValueError("burst needs a rate")
        if self.burst is not None and self.rate is not None and self.burst > self.rate.limit:
            raise ValueError("burst must be at most the rate's number of requests")
        if len({quota.per for quota in self.quotas}) != len(self.quotas):
            raise ValueError("quota may contain one amount for each 'per'")


NO_LIMITS: Final = Limits()


class ServiceAccess(msgspec.Struct, frozen=True):
    """A service that a plan includes. `methods`: only these, or any if it is empty."""

    name: str
    methods: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`services` are all that its consumers may call; None: whatever their credentials allow. `ip`: from where."""

    name: str
    limits: Limits = NO_LIMITS
    services: tuple[ServiceAccess, ...] | None = None
    ip: Addresses = ()
    price: Price | None = None


CERTIFICATE: Final = "certificate"
"""The issuer of identities that name client certificates."""
ANY_CERTIFICATE: Final = "*"
CERTIFICATE_SUBJECT: Final = re.compile(
    r"sha256:[0-9a-f]{64}|uri:[a-z][a-z0-9+.-]*://[!-~]+|dns:[!-@\[-~]+|subject:[^\x00-\x1f\x7f]+|\*"
)
"""Which certificates: by fingerprint, by a URI (with `/*`, all below), DNS name or subject that they have; or any."""


class UserBinding(msgspec.Struct, frozen=True, kw_only=True):
    """The users whose tokens belong to a consumer: one subject of an issuer, or all of one of its tenants.

    With both, it is that subject of that tenant. The issuer CERTIFICATE stands for client certificates; the subject is
    then of the form CERTIFICATE_SUBJECT.
    """

    issuer: str
    subject: str = ""
    tenant: str = ""

    def __post_init__(self) -> None:
        if not (self.subject or self.tenant):
            raise ValueError("an identity needs 'subject' or 'tenant'")
