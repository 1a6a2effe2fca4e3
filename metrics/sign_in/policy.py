"""How people sign in: the settings of STAFF_OIDC_* and its neighbours, and the role that groups give. No I/O."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from routing.authentication.issuer_policy import Issuer


class Role(StrEnum):
    """The groups of `routing.rights`, from the least to the most."""

    VIEWER = "Viewer"
    OPERATOR = "Operator"
    OWNER = "Owner"


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


class SecondFactor(StrEnum):
    """The second factor of logins with a password. A provider checks its own."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenID provider. `client_secret` is the secret or a reference to it; empty for a public client.

    `domains` and `tenants` restrict who may sign in; empty ones do not. Of a provider's group, `roles` have the role,
    and `teams` the name of the group here whose members have roles for services.
    """

    issuer: str
    client_id: str
    client_secret: str = ""
    name: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    roles: tuple[tuple[str, Role], ...] = ()
    teams: tuple[tuple[str, str], ...] = ()
    domains: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Provider(issuer={self.issuer!r})"

    @property
    def label(self) -> str:
        """The provider's name on the button."""
        return self.name or "your company account"

    @property
    def trusted(self) -> Issuer:
        """The issuer of ID tokens, whose audience is the client."""
        return Issuer(issuer=self.issuer, audience=(self.client_id,))

    def role_of(self, groups: Iterable[str]) -> Role | None:
        """The highest role that these groups give; None if they give none."""
        present = set(groups)
        return max((role for group, role in self.roles if group in present), key=_RANK.__getitem__, default=None)

    def teams_of(self, groups: Iterable[str]) -> frozenset[str]:
        """The names of the groups here that these groups of the provider stand for."""
        present = set(groups)
        return frozenset(team for group, team in self.teams if group in present)


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """How people sign in. `session_hours` is how long a session lasts that began at the provider."""

    provider: Provider | None = None
    has_password_login: bool = True
    second_factor: SecondFactor = SecondFactor.OPTIONAL
    session_hours: int = 12
