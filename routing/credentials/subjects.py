"""Whose credential a caller's requests use. No I/O."""

from urllib.parse import quote

from routing.caller import Caller
from routing.credentials.grants import Subject
from routing.errors import Forbidden
from routing.router.credential_policy import CredentialPolicy, Per


def subject_of(policy: CredentialPolicy, caller: Caller | None, service: str) -> Subject:
    """Whose credential a caller's requests use. Raises Forbidden."""
    if policy.per is Per.SERVICE:
        return Subject("service")
    if policy.per is Per.TENANT:
        tenant = caller.tenant if caller else None
        if not tenant:
            raise Forbidden("the service needs a caller that belongs to a tenant", service=service)
        return Subject(f"tenant:{tenant}", tenant=tenant)
    if caller is None:
        raise Forbidden("the service needs an authenticated caller", service=service)
    return Subject(f"caller:{caller.id}", tenant=caller.tenant or "", caller=caller.id)


def credential_tag(subject: str) -> str:
    """The cache tag of responses that were fetched with this credential."""
    return f"credential:{quote(subject, safe=':@')}"
