"""Whether what identified the caller of an open connection still does, as it would in a new request. No I/O."""

from typing import Final

import msgspec

from routing.authentication.authenticator import Authenticator, Credential
from routing.authentication.certificates.callers import CertificateCallers
from routing.authentication.certificates.certificate import ClientCertificate
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.proof import Proof
from routing.authentication.signatures.keys import SigningKey
from routing.authentication.token_consumers import identities
from routing.caller import Caller
from routing.consumers.table import ConsumerRecord
from routing.router.live import LiveConfiguration


class Rechecks:
    def __init__(self, live: LiveConfiguration, authenticator: Authenticator) -> None:
        self._live = live
        self._authenticator = authenticator
        self._certificates: Final = CertificateCallers()

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
            found = self._of_token(caller, now)
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

    def _of_token(self, caller: Caller, now: float) -> Caller | None:
        """Check what the token does not say: whether it is revoked, its issuer accepted, and its consumer the same."""
        if self._authenticator.is_revoked(caller, now) or not self._is_issuer_accepted(caller):
            return None
        consumers = self._live.keys.consumers
        record = consumers.by_identity(identities(caller)) if consumers.has_identities else None
        if record is None:
            return caller if caller.subscription is None else None
        if not record.enabled or not _is_same_consumer(caller, record):
            return None
        return msgspec.structs.replace(caller, subscription=consumers.subscribed(record))

    def _is_issuer_accepted(self, caller: Caller) -> bool:
        identity = caller.identity
        return identity is None or any(
            issuer.issuer == identity.issuer and issuer.enabled for issuer in self._live.table.issuers
        )


def _is_same_consumer(caller: Caller, record: ConsumerRecord) -> bool:
    return caller.subscription is not None and caller.subscription.consumer_id == record.id
