"""The person named by an ID token, and whether they may sign in. No I/O.

The checks are those of OpenID Connect Core section 3.1.3.7. The signature has been verified before.
"""

import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from metrics.sign_in.policy import Provider, Role
from routing.authentication.issuer_token import MAX_NAME_LENGTH, check_audience, check_times, claim
from routing.errors import InvalidToken

TENANT_CLAIMS: Final = ("tid", "hd", "org_id")
"""The claims with the tenant of Microsoft Entra, Google Workspace and Auth0."""
MAX_GROUPS: Final = 10_000
MAX_SUBJECT_LENGTH: Final = 255
"""OpenID Connect Core section 2."""
_MAX_USERNAME: Final = 100
_NOT_IN_USERNAME: Final = re.compile(r"[^A-Za-z0-9_.@+-]+")


class Refused(Exception):
    """This person may not sign in. The text is shown to them, in their language."""

    def __init__(self, text: Promise) -> None:
        super().__init__(text)


class ProviderSession(msgspec.Struct, frozen=True):
    """Where somebody is signed in, as the ID token says. `sid` is that of their session at the provider, "" if it has
    none.
    """

    issuer: str
    subject: str
    sid: str


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who has signed in. Issuer and subject identify them (OpenID Connect Core section 5.7), and no other claim.

    `email` is "" unless the provider has verified it; `role` is None without a mapped group, and `teams` are the groups
    here that the person is to be in.
    """

    issuer: str
    subject: str
    username: str
    email: str
    first_name: str
    last_name: str
    role: Role | None
    teams: frozenset[str] = frozenset()


def verify(claims: dict[str, Any], provider: Provider, nonce: str, now: float) -> dict[str, Any]:
    """The claims. Raises InvalidToken unless the ID token is the provider's, for this client and this sign-in, now."""
    trusted = provider.trusted
    if claims.get("iss") != provider.issuer:
        raise InvalidToken("the token is of another issuer")
    check_audience(claims, trusted)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else provider.client_id) != provider.client_id:
        raise InvalidToken("the token was issued to another client")
    check_times(claims, trusted.leeway, now)
    if not isinstance(claims.get("iat"), int | float):
        raise InvalidToken("the token has no time of issue")
    sent = claims.get("nonce")
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), nonce.encode()):
        raise InvalidToken("the token is of another sign-in")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise InvalidToken("the token has no subject")
    return claims


def is_complete(claims: Mapping[str, Any], provider: Provider) -> bool:
    """Whether the claims decide who may sign in: providers may keep some for their UserInfo endpoint."""
    return claim(claims, provider.groups_claim) is not None and not (provider.domains and "email" not in claims)


def merge(claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
    """The ID token's claims and those that only UserInfo has. Raises InvalidToken for another person's (section 5.3.2).

    UserInfo is not signed: it replaces nothing. Whether an address is verified is taken from where the address is.
    """
    if userinfo.get("sub") != claims.get("sub"):
        raise InvalidToken("the provider's user information is another person's")
    source = claims if "email" in claims else userinfo
    address = {name: source[name] for name in ("email", "email_verified") if name in source}
    merged = {**userinfo, **claims}
    for name in ("email", "email_verified"):
        merged.pop(name, None)
    return merged | address


def person_of(claims: Mapping[str, Any], provider: Provider) -> Person:
    """The person whom verified claims name. Raises Refused if they may not sign in."""
    email = _verified_email(claims)
    _check_tenant(claims, provider)
    _check_domain(claims, email, provider)
    groups = _groups(claims, provider, email)
    return Person(
        issuer=provider.issuer,
        subject=claims["sub"],
        username=_username(claims, email),
        email=email,
        first_name=_text(claims, "given_name", 150),
        last_name=_text(claims, "family_name", 150),
        role=provider.role_of(groups),
        teams=provider.teams_of(groups),
    )


def provider_session(claims: Mapping[str, Any], provider: Provider) -> ProviderSession:
    """The provider's session that verified claims name."""
    return ProviderSession(provider.issuer, claims["sub"], _text(claims, "sid", MAX_NAME_LENGTH))


def _groups(claims: Mapping[str, Any], provider: Provider, email: str) -> list[str]:
    """The values of the groups claim: a list, or one text as some providers send for a single group."""
    if provider.groups_claim == "email":
        return [email] if email else []
    value = claim(claims, provider.groups_claim)
    if value is None and _has_too_many_groups(claims, provider):
        raise Refused(
            gettext_lazy(
                "You are a member of more groups than the provider puts into a token. Its administrator can assign "
                "this application fewer groups, or use app roles."
            )
        )
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > MAX_GROUPS:
        return []
    return [item for item in items if isinstance(item, str)]


def _has_too_many_groups(claims: Mapping[str, Any], provider: Provider) -> bool:
    """Entra then sends the address of a list in place of the groups."""
    names = claims.get("_claim_names")
    return claims.get("hasgroups") is True or (isinstance(names, dict) and provider.groups_claim in names)


def _check_tenant(claims: Mapping[str, Any], provider: Provider) -> None:
    if not provider.tenants:
        return
    named = {value for name in TENANT_CLAIMS if isinstance(value := claims.get(name), str)}
    if named.isdisjoint(provider.tenants):
        raise Refused(gettext_lazy("Your account belongs to an organisation that may not sign in here."))


def _check_domain(claims: Mapping[str, Any], email: str, provider: Provider) -> None:
    if not provider.domains:
        return
    if not email:
        if isinstance(claims.get("email"), str):
            text = gettext_lazy("The provider has not verified your email address, which is needed to sign in here.")
        else:
            text = gettext_lazy("The provider did not send your email address, which is needed to sign in here.")
        raise Refused(text)
    if email.rpartition("@")[2].lower() not in provider.domains:
        raise Refused(gettext_lazy("Your email address is of a domain that may not sign in here."))


def _verified_email(claims: Mapping[str, Any]) -> str:
    """The address, if the provider says that it is the person's. Some send the word as text."""
    email, verified = claims.get("email"), claims.get("email_verified")
    if (verified is not True and verified != "true") or not isinstance(email, str):
        return ""
    is_address = 2 < len(email) <= MAX_NAME_LENGTH and email.isprintable() and " " not in email
    return email if is_address and 0 < email.find("@") == email.rfind("@") < len(email) - 1 else ""


def _username(claims: Mapping[str, Any], email: str) -> str:
    """A name for the admin and the audit log. It identifies nobody: the person may have chosen it."""
    for candidate in (claims.get("preferred_username"), email, claims.get("name"), claims["sub"]):
        if isinstance(candidate, str):
            found = _NOT_IN_USERNAME.sub("-", candidate[:_MAX_USERNAME]).strip("-.")
            if found:
                return found
    return "person"


def _text(claims: Mapping[str, Any], name: str, length: int) -> str:
    value = claims.get(name)
    return value[:length] if isinstance(value, str) and value.isprintable() else ""
