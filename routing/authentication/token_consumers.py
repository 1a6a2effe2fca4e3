"""Which consumer a token's caller belongs to."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import msgspec

from resilience.memo import TwoGenerationMemo
from routing.caller import Caller
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerTable
from routing.errors import Unauthenticated

FIREBASE: Final = "firebase"
"""The issuer of Firebase's users in the configuration, whatever the project."""
REMEMBERED: Final = 4_096


class TokenConsumers:
    """Gives callers of tokens the subscription of their consumer; the same caller object each time."""

    def __init__(self) -> None:
        self._consumers = ConsumerTable()
        self._known: TwoGenerationMemo[str, tuple[Caller, Caller]] = TwoGenerationMemo(REMEMBERED)

    def subscribed(self, caller: Caller, consumers: ConsumerTable) -> Caller:
        """The caller with its subscription, if it has one. Raises Unauthenticated if its consumer is disabled."""
        if not consumers.has_identities:
            return caller
        if consumers is not self._consumers:
            self._consumers = consumers
            self._known.clear()
        known = self._known.get(caller.id)
        if known is not None and known[0] is caller:
            return known[1]
        record = consumers.by_identity(identities(caller))
        found = caller
        if record is not None:
            if not record.enabled:
                raise Unauthenticated("the token's consumer is disabled")
            found = msgspec.structs.replace(caller, subscription=consumers.subscribed(record))
        self._known.put(caller.id, (caller, found))
        return found


def identities(caller: Caller) -> Iterator[UserBinding]:
    """What a consumer may name this caller by, the most specific first: by the issuer's own words where it has those.

    Firebase's tenants assign ids independently: a user of a tenant is not named by the id alone.
    """
    if caller.identity is not None:
        own = caller.identity
        if own.tenant:
            yield UserBinding(issuer=own.issuer, subject=own.subject, tenant=own.tenant)
        yield UserBinding(issuer=own.issuer, subject=own.subject)
        if own.tenant:
            yield UserBinding(issuer=own.issuer, tenant=own.tenant)
        return
    kind, _, subject = caller.id.partition(":")
    issuer, _, tenant = kind.partition("+")
    if issuer != FIREBASE:
        return
    if not tenant:
        yield UserBinding(issuer=FIREBASE, subject=subject)
    else:
        yield UserBinding(issuer=FIREBASE, subject=subject, tenant=unquote(tenant))
        yield UserBinding(issuer=FIREBASE, tenant=unquote(tenant))
