"""Whether what identified the caller of an open connection still does, as it would in a new request. No I/O."""

from typing import Final

import msgspec

from resilience.memo import TwoGenerationMemo
from routing.authentication.authenticator import Authenticator, Credential
from routing.authentication.certificates.callers import CertificateCallers
from routing.authentication.certificates.certificate import ClientCertificate
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.issuer_token import present_caller
from routing.authentication.proof import Proof
from routing.authentication.signatures.keys import SigningKey
from routing.authentication.token_consumers import identities
from routing.caller import Caller, TokenIdentity
from routing.consumers.table import ConsumerRecord
from routing.errors import InvalidToken
from routing.router.live import LiveConfiguration
from routing.router.table import RouteTable

REMEMBERED: Final = 4_096
"""Tokens in each of two generations: those of the connections that are open."""


class Rechecks:
    def __init__(self, live: LiveConfiguration, authenticator: Authenticator) -> None:
        self._live = live
        self._authenticator = authenticator
        self._certificates: Final = CertificateCallers()
        self._table: RouteTable | None = None
        self._known: Final[TwoGenerationMemo[Credential, tuple[Caller | None]]] = TwoGenerationMemo(REMEMBERED)
        """Callers of tokens under the configuration `_table`."""

    def current(self, caller: Caller, proof: Proof | None, now: float) -> Caller | None:
        """The caller as it is in the present configuration; None if it is refused now, or would be another one.

        `proof` is what has identified it. `now` is Unix time.
        """
        if isinstance(proof, SigningKey):
            found = self._of_signing_key(proof, now)
        elif isinstance(proof, ClientCertificate):
            found = self._of_certificate(proof)
        elif isinstance(proof, Credential) and proof.is_key:
            return self._authenticator.try_identify(proof, now)
        else:
            found = self._of_token(caller, proof, now)
        if found is None or found.id != caller.id or (found.expires is not None and found.expires <= now):
            return None
        return found

    def _of_signing_key(self, proof: SigningKey, now: float) -> Caller | None:
        """After a rotation, the replaced key is valid until its grace has ended."""
        present = self._live.table.signing_keys.find(proof.keyid, now)
        key = next((key for key in present if key.is_same(proof)), None)
        consumers = self._live.keys.consumers
        record = None if key is None else consumers.find(key.consumer)
        return key.caller(record, consumers) if key is not None and record is not None and record.enabled else None

    def _of_certificate(self, proof: ClientCertificate) -> Caller | None:
        if self._authenticator.revoked_certificates.names(proof):
            return None
        try:
            return self._certificates.caller(proof, self._live.keys.consumers)
        except InvalidCertificate:
            return None

    def _of_token(self, before: Caller, proof: Proof | None, now: float) -> Caller | None:
        """None if the token is revoked, its issuer no longer accepts it, or its consumer is another one."""
        if self._authenticator.is_revoked(before, now):
            return None
        caller = self._by_issuer(before, proof, now)
        if caller is None:
            return None
        consumers = self._live.keys.consumers
        record = consumers.by_identity(identities(caller)) if consumers.has_identities else None
        if record is None:
            return caller if before.subscription is None else None
        if not record.enabled or not _is_same_consumer(before, record):
            return None
        return msgspec.structs.replace(caller, subscription=consumers.subscribed(record))

    def _by_issuer(self, caller: Caller, proof: Proof | None, now: float) -> Caller | None:
        """The token's caller by the settings of its issuer, found once for each configuration. None if it is refused.

        No configuration changes Firebase's.
        """
        table, identity = self._live.table, caller.identity
        if identity is None or not isinstance(proof, Credential):
            return caller
        if table is not self._table:
            self._table = table
            self._known.clear()
        known = self._known.get(proof)
        if known is None:
            known = (_present_caller(caller, identity, proof, table, now),)
            self._known.put(proof, known)
        return known[0]


def _present_caller(
    caller: Caller, identity: TokenIdentity, proof: Credential, table: RouteTable, now: float
) -> Caller | None:
    issuer = next((each for each in table.issuers if each.issuer == identity.issuer and each.enabled), None)
    if issuer is None or issuer.faults:  # with faults nothing can be verified, which is no reason to refuse
        return None if issuer is None else caller
    try:
        return present_caller(proof.text, caller, issuer, table.services, now)
    except InvalidToken:
        return None


def _is_same_consumer(caller: Caller, record: ConsumerRecord) -> bool:
    return caller.subscription is not None and caller.subscription.consumer_id == record.id
