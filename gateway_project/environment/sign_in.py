"""STAFF_OIDC_*, STAFF_PASSWORD_LOGIN, STAFF_SECOND_FACTOR and STAFF_SESSION_HOURS, as `SignIn`."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from gateway_project.environment.values import Get, boolean, integer, one_of, words
from metrics.sign_in.policy import Provider, Role, SecondFactor, SignIn
from routing.authentication.issuer_policy import MAX_ISSUER_LENGTH, check_url
from routing.configuration.headers import reference

_PROVIDER: Final = "STAFF_OIDC_"
_ROLES: Final = {role.lower(): role for role in Role}
_TEAM: Final = "group:"
"""What begins the name of a Django group to which a provider's group is mapped."""
MAX_GROUP_NAME: Final = 150
Mapped = tuple[tuple[str, Role | str], ...]
_DEFAULTS: Final = Provider(issuer="", client_id="")


def read_sign_in(environment: Mapping[str, str], get: Get) -> SignIn | None:
    """None if no variable changes how staff sign in."""
    chosen = {name for name in _variables(environment) if environment[name].strip()}
    if not chosen:
        return None
    has_provider = any(name.startswith(_PROVIDER) for name in chosen)
    return SignIn(
        provider=_provider(get) if has_provider else None,
        has_password_login=get("STAFF_PASSWORD_LOGIN", True, boolean),
        second_factor=SecondFactor(get("STAFF_SECOND_FACTOR", SecondFactor.OPTIONAL.value, one_of(*SecondFactor))),
        session_hours=get("STAFF_SESSION_HOURS", SignIn().session_hours, integer(1, 24 * 14)),
    )


def sign_in_faults(sign_in: SignIn | None, secret: Callable[[str], str | None], *, debug: bool) -> list[str]:
    """What is missing or contradictory among the variables."""
    if sign_in is None:
        return []
    provider = sign_in.provider
    if provider is None:
        return [] if sign_in.has_password_login else ["STAFF_PASSWORD_LOGIN: off requires STAFF_OIDC_ISSUER"]
    faults = [
        f"{_PROVIDER}{name}: must be set with the other {_PROVIDER} variables"
        for name, value in {
            "ISSUER": provider.issuer,
            "CLIENT_ID": provider.client_id,
            "ROLES": provider.roles or provider.teams,
        }.items()
        if not value
    ]
    if provider.issuer.startswith("http://") and not debug:
        faults.append("STAFF_OIDC_ISSUER: http is not allowed unless DEBUG is on")
    return faults + _secret_faults(provider.client_secret, secret)


def _variables(environment: Mapping[str, str]) -> set[str]:
    names = {"STAFF_PASSWORD_LOGIN", "STAFF_SECOND_FACTOR", "STAFF_SESSION_HOURS"}
    return {name for name in environment if name in names or name.startswith(_PROVIDER)}


def _provider(get: Get) -> Provider:
    nothing: Mapped = ()
    mapped = get("STAFF_OIDC_ROLES", nothing, roles)
    return Provider(
        issuer=get("STAFF_OIDC_ISSUER", "", _issuer),
        client_id=get("STAFF_OIDC_CLIENT_ID", "", str),
        client_secret=get("STAFF_OIDC_CLIENT_SECRET", "", str),
        name=get("STAFF_OIDC_NAME", "", _name),
        scopes=get("STAFF_OIDC_SCOPES", _DEFAULTS.scopes, _scopes),
        groups_claim=get("STAFF_OIDC_GROUPS_CLAIM", _DEFAULTS.groups_claim, str),
        roles=tuple((group, role) for group, role in mapped if isinstance(role, Role)),
        teams=tuple((group, team) for group, team in mapped if not isinstance(team, Role)),
        domains=get("STAFF_OIDC_DOMAINS", (), _domains),
        tenants=get("STAFF_OIDC_TENANTS", (), words),
    )


def roles(text: str) -> Mapped:
    """`group=Role, group=group:NAME`, or a JSON object, which group names with commas need: the role, or the name of a
    group, by the provider's group. Raises ValueError.
    """
    if text.startswith("{"):
        try:
            members = json.loads(text)
        except ValueError:
            raise ValueError("is not a JSON object of groups and roles") from None
        pairs = list(members.items())
    else:
        parts = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
        pairs = [(group.strip(), role.strip()) for group, _, role in (part.rpartition("=") for part in parts)]
    return tuple((group, _role(group, role)) for group, role in pairs)


def _role(group: str, name: object) -> Role | str:
    team = name.removeprefix(_TEAM).strip() if isinstance(name, str) and name.startswith(_TEAM) else ""
    if group and team and len(team) <= MAX_GROUP_NAME and team not in _ROLES.values():
        return team
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    if not group or role is None:
        raise ValueError(f"{group or name!r}: write group=Viewer, group=Operator, group=Owner or group=group:NAME")
    return role


def _issuer(text: str) -> str:
    check_url(text, "issuer")
    if len(text) > MAX_ISSUER_LENGTH:
        raise ValueError(f"must have at most {MAX_ISSUER_LENGTH} characters")
    return text


def _name(text: str) -> str:
    if len(text) > 60 or not text.isprintable():
        raise ValueError("must be a short printable name")
    return text


def _scopes(text: str) -> tuple[str, ...]:
    found = words(text)
    if "openid" not in found:
        raise ValueError("must contain openid")
    return found


def _domains(text: str) -> tuple[str, ...]:
    return tuple(word.lower().removeprefix("@") for word in words(text))


def _secret_faults(value: str, secret: Callable[[str], str | None]) -> list[str]:
    found = reference(value)
    if found is None:
        return []
    try:
        is_set = bool(secret(found.name))
    except ValueError as error:
        return [f"STAFF_OIDC_CLIENT_SECRET: {error}"]
    return [] if is_set else [f"STAFF_OIDC_CLIENT_SECRET: {found.source} is not set"]
