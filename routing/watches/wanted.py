"""Which watches the configuration asks for, and what one of them covers. No I/O."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec

from routing.credentials.subjects import credential_tag
from routing.http import Headers
from routing.router.credential_policy import Per
from routing.router.table import RouteTable, Service
from routing.watches.record import SERVICE, Wanted, WatchRecord
from routing.watches.store import Account
from routing.webhooks.content import Content
from routing.webhooks.delivery import EVERYTHING, plan
from routing.webhooks.policy import Verify, Webhook

MAX_WATCHES: Final = 20_000
"""The most watches of one gateway. Further accounts are not watched."""
OWN_MAILBOX: Final = "me"
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def watching(table: RouteTable) -> list[Webhook]:
    """The webhooks whose watches are renewed."""
    return [hook for hook in table.webhooks.values() if hook.watch is not None and not is_paused(table, hook.name)]


def is_paused(table: RouteTable, webhook: str) -> bool:
    """Whether its watches are neither renewed nor ended: it is disabled, or its configuration or service is faulty."""
    hook = table.webhooks.get(webhook)
    if hook is None:
        return False
    service = table.services.get(hook.service)
    return not hook.enabled or bool(hook.faults) or (hook.watch is not None and (service is None or service.is_out))


def services_with_accounts(table: RouteTable) -> list[str]:
    """The services of these webhooks whose tenants or callers have credentials of their own."""
    names = {hook.service for hook in watching(table)}
    return sorted(name for name in names if (service := table.services.get(name)) and per(service) is not Per.SERVICE)


def wanted_watches(table: RouteTable, accounts: Iterable[Account], key: bytes) -> list[Wanted]:
    """`key` is of digests, since settings have the channels' token."""
    by_service: dict[str, list[Account]] = {}
    for account in accounts:
        by_service.setdefault(account.service, []).append(account)
    found = (
        Wanted(hook.name, account.subject, resource, hook.service, digest, account.connected_at, account.tenant)
        for hook in watching(table)
        for digest in (settings_digest(hook, key),)
        for account in _accounts(table.services.get(hook.service), hook.service, by_service)
        for resource in (hook.watch.resources if hook.watch else ())
    )
    return [wanted for wanted, _ in zip(found, range(MAX_WATCHES), strict=False)]


def settings_digest(webhook: Webhook, key: bytes) -> str:
    """A keyed digest of what a watch is made with, so that the database discloses nothing about the token."""
    assert webhook.watch is not None  # noqa: S101 - asked for those that have one
    watch = msgspec.structs.replace(webhook.watch, resources=(), renew_before=None)
    token = webhook.secrets[0] if webhook.secrets and webhook.verify is Verify.GOOGLE_CHANNEL else b""
    content = [webhook.service, webhook.verify.value, msgspec.to_builtins(watch), token.hex()]
    return blake2b(_encode(content), digest_size=16, key=key).hexdigest()


def per(service: Service) -> Per:
    """Whose credential calls to a service are made with."""
    return service.policy.credential.per if service.policy.credential else Per.SERVICE


def covered_tags(webhook: Webhook, service: Service | None, record: WatchRecord) -> list[str] | None:
    """The tags of what a watch covers, for a time of which notifications may have been missed; None for all of the
    service's cached responses. Empty if the webhook invalidates nothing.
    """
    if not webhook.invalidates:
        return []
    whose = per(service) if service else Per.SERVICE
    if whose is not Per.SERVICE:
        return [credential_tag(record.subject)]
    body: Any = None
    headers: Headers = [(b"x-goog-channel-id", record.channel.encode())] if record.channel else []
    if record.resource_uri:
        headers.append((b"x-goog-resource-uri", record.resource_uri.encode()))
    if webhook.verify is Verify.GOOGLE_PUBSUB and record.resource != OWN_MAILBOX:
        body = {"data": {"emailAddress": record.resource}}
    planned = plan(msgspec.structs.replace(webhook, publish=None), Content(headers, body), "")
    return None if planned.unfilled or EVERYTHING in planned.tags else list(planned.tags)


def _accounts(service: Service | None, name: str, accounts: dict[str, list[Account]]) -> Iterator[Account]:
    if service is None:
        return
    whose = per(service)
    if whose is Per.SERVICE:
        yield Account(name, SERVICE, 0.0)
        return
    for account in accounts.get(name, ()):
        if account.subject.startswith(f"{whose.value}:"):
            yield account
