"""One credential in this worker: its token, ready to be sent, and the refresh that is running."""

import asyncio
import random
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from routing.credentials.grants import Subject
from routing.credentials.record import TokenRecord
from routing.credentials.vault import GrantName
from routing.http import Header
from routing.router.credential_policy import CredentialPolicy

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class Holder:
    """`name` is that of the shared record: another policy, or another subject, has another. `field` is the header field
    to send, and `refresh_at` when to refresh its token. `not_connected_until`: until when it is known that no account
    is connected.
    """

    __slots__ = (
        "field",
        "grant",
        "is_used",
        "name",
        "not_connected_until",
        "policy",
        "record",
        "refresh_at",
        "service",
        "subject",
        "task",
    )

    def __init__(self, service: str, policy: CredentialPolicy, subject: Subject, secret: bytes) -> None:
        self.service = service
        self.policy = policy
        self.subject = subject
        identity = [service, subject.id, msgspec.to_builtins(policy)]
        self.name = _digest(identity, secret)
        self.grant = GrantName(service, subject.id, client_digest(policy, secret))
        self.record = TokenRecord()
        self.field: Header = (b"", b"")
        self.refresh_at = 0.0
        self.is_used = False
        self.not_connected_until = 0.0
        self.task: asyncio.Task[None] | None = None

    @property
    def lease_name(self) -> str:
        """One refresh token is used by one worker at a time, whichever routes' credentials descend from it."""
        return f"{self.service}:{self.grant.client}:{self.subject.id}"

    def hold(self, record: TokenRecord) -> None:
        """Use this record from now on."""
        self.record = record
        self.refresh_at = record.refresh_at(random.random())  # noqa: S311 - spreads refreshes, protects nothing
        self.is_used = False
        policy = self.policy
        value = f"{policy.prefix} {record.access_token}" if policy.prefix else record.access_token
        self.field = (policy.header.encode(), value.encode())


class UsedCredential(NamedTuple):
    """The credential that a call is made with: `holder` obtains it, and `field` is the header field as it is sent."""

    holder: Holder
    field: Header

    @property
    def id(self) -> str:
        """Opaque and stable over refreshes: `service`, `tenant:ID` or `caller:ID`."""
        return self.holder.subject.id


def client_digest(policy: CredentialPolicy, secret: bytes) -> str:
    """What a refresh token belongs to: the client and its token endpoint."""
    return _digest([policy.token_url, policy.client_id, policy.token_object], secret)


def seed_digest(policy: CredentialPolicy, secret: bytes) -> str:
    """Identifies a configured refresh token without revealing it; empty if there is none."""
    return _digest(policy.refresh_token, secret) if policy.refresh_token else ""


def _digest(value: Any, secret: bytes) -> str:
    return blake2b(_encode(value), digest_size=16, key=secret).hexdigest()
