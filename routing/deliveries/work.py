"""The work of a delivery: cached responses are invalidated, an event is published, the delivery is forwarded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from resilience.outage import StoreUnavailable
from routing.caller import Caller
from routing.errors import CallFailed, GatewayError, Unavailable
from routing.http import Headers, Request
from routing.messages.bodies import drain
from routing.pipeline import Gateway
from routing.router.live import LiveConfiguration
from routing.router.paths import PREFIX
from routing.webhooks.content import Content
from routing.webhooks.delivery import EVERYTHING, Delivery, DeliveryWork, plan
from routing.webhooks.policy import Forward, Webhook

CALLER: Final = "webhook:"
"""The id of the caller on whose behalf deliveries are forwarded begins so."""
RETRYABLE: Final = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
STORE_CALLS: Final = 8
"""Invalidations and events at a time: a burst of deliveries must not delay the store's calls for other requests."""
_CLIENT: Final = "127.0.0.1"


class WorkFailed(Exception):
    """`done` are the parts of the work that are done. `is_final`: another try would fail too."""

    def __init__(self, error: str, done: tuple[str, ...], *, is_final: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.done = done
        self.is_final = is_final


class _StepFailed(Exception):
    def __init__(self, error: str, *, is_final: bool = False) -> None:
        super().__init__(error)
        self.is_final = is_final


class Invalidator(Protocol):
    """resilience.cache.driver.Cache."""

    async def invalidate(self, service: str, tags: list[str] | None = None) -> int: ...


class Publisher(Protocol):
    """routing.realtime.service.Realtime."""

    async def publish(self, topic: str, kind: str, data: object, once: str | None = None) -> str: ...


class Work:
    """`count` takes a webhook's name and what has happened, for the metrics."""

    def __init__(
        self,
        gateway: Gateway,
        cache: Invalidator,
        publisher: Publisher,
        live: LiveConfiguration,
        count: Callable[[str, str], None],
    ) -> None:
        self._gateway = gateway
        self._cache = cache
        self._publisher = publisher
        self._live = live
        self._count = count
        self._store_calls = asyncio.Semaphore(STORE_CALLS)

    async def run(self, delivery: Delivery) -> None:
        """Do what has not been done yet, and raise WorkFailed at the first part that fails.

        Each part may be repeated: invalidation changes nothing then, an event is published once, and a request that
        is forwarded has the same Idempotency-Key.
        """
        webhook = self._live.table.webhooks.get(delivery.webhook)
        if webhook is None:
            raise WorkFailed("the webhook is not configured any more", delivery.done, is_final=True)
        if webhook.faults:
            raise WorkFailed("the webhook's configuration cannot be loaded", delivery.done)
        headers = list(delivery.headers)
        planned = plan(webhook, Content.read(webhook, headers, delivery.body), delivery.id)
        if planned.unfilled and not delivery.tries:
            self._count(webhook.name, "unfilled")
        done = list(delivery.done)
        for name, step in (("invalidate", self._invalidate), ("publish", self._publish), ("forward", self._forward)):
            if name in done:
                continue
            try:
                await step(webhook, planned, delivery)
            except StoreUnavailable:
                raise WorkFailed(f"{name}: the store is unavailable", tuple(done)) from None
            except _StepFailed as failed:
                raise WorkFailed(f"{name}: {failed}", tuple(done), is_final=failed.is_final) from None
            done.append(name)

    async def _invalidate(self, webhook: Webhook, planned: DeliveryWork, delivery: Delivery) -> None:  # noqa: ARG002 - each step's signature
        if not planned.tags:
            return
        tags = None if EVERYTHING in planned.tags else list(planned.tags)
        for service in [webhook.service] if webhook.service else list(self._live.table.services):
            async with self._store_calls:
                await self._cache.invalidate(service, tags)

    async def _publish(self, webhook: Webhook, planned: DeliveryWork, delivery: Delivery) -> None:
        if webhook.publish is None:
            return
        for index, (topic, data) in enumerate(planned.events):
            async with self._store_calls:
                await self._publisher.publish(topic, webhook.publish.type, data, f"{delivery.id}:{index}")

    async def _forward(self, webhook: Webhook, planned: DeliveryWork, delivery: Delivery) -> None:  # noqa: ARG002 - each step's signature
        if webhook.forward is None:
            return
        request = self._request(webhook, webhook.forward, delivery)
        try:
            response = await self._gateway.refetch(request)
            await drain(response)
        except GatewayError as error:
            reason = error.reason if isinstance(error, CallFailed) else error.detail
            is_final = not isinstance(error, CallFailed | Unavailable) and error.status not in RETRYABLE
            raise _StepFailed(f"{error.code}: {reason}", is_final=is_final) from None
        if response.status >= 400:
            is_final = response.status < 500 and response.status not in RETRYABLE
            raise _StepFailed(f"the service responded with status {response.status}", is_final=is_final)

    def _request(self, webhook: Webhook, forward: Forward, delivery: Delivery) -> Request:
        """As the provider sent it, without what was for the gateway alone."""
        path, mark, query = forward.path.encode().partition(b"?")
        headers: Headers = [
            (b"host", delivery.host),
            *delivery.headers,
            (b"content-length", b"%d" % len(delivery.body)),
            (b"idempotency-key", delivery.id.encode()),
        ]
        request = Request(
            "POST",
            PREFIX + forward.service.encode() + path,
            query,
            headers,
            _CLIENT,
            delivery.scheme,
            body=_body(delivery.body) if delivery.body else None,
            caller=self._caller(webhook, forward),
        )
        request.has_empty_query = bool(mark) and not query
        return request

    def _caller(self, webhook: Webhook, forward: Forward) -> Caller:
        """With every scope that the service requires: staff have configured the webhook for it."""
        service = self._live.table.services.get(forward.service)
        policies = [service.policy, *(route.policy for route in service.routes)] if service else []
        needed = {scope for policy in policies for scope in policy.scopes}
        return Caller(f"{CALLER}{webhook.name}", scopes=frozenset({forward.service, *needed}))


async def _body(data: bytes) -> AsyncIterator[bytes]:
    yield data
