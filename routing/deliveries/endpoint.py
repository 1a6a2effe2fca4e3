"""`POST /hooks/<name>`: verifies a delivery, queues it and responds, before any of its work is done."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import msgspec

from resilience.outage import StoreUnavailable
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from routing.errors import (
    BadRequest,
    BodyTooLarge,
    GatewayError,
    MethodNotAllowed,
    RateLimited,
    ServiceDisabled,
    ServiceMisconfigured,
    Unauthenticated,
    Unavailable,
)
from routing.exchange import Exchange
from routing.http import Request, Response
from routing.messages.request_body import read_in_time
from routing.messages.validation import client_prefix
from routing.pipeline import Gateway
from routing.webhooks.content import Content, handshake, identity
from routing.webhooks.delivery import Delivery, encode, kept_headers
from routing.webhooks.policy import Verify, Webhook
from routing.webhooks.pubsub import PushTokens
from routing.webhooks.queue import Added, Queue
from routing.webhooks.verification import Refused, SignedRequest, prepare

PREFIX: Final = b"/hooks/"
MAX_BLOCKED: Final = 10_000
"""The most pairs of a webhook and an address whose refusals are remembered."""
_INTERACTIONS: Final = frozenset({"command", "payload"})
"""Fields of Slack's deliveries that come from what a person does."""
RETRY_SECONDS: Final = 5.0
"""When a provider may send again what could not be queued."""

Count = Callable[[str, str], None]
"""Takes a webhook's name and what became of a delivery, for the metrics."""


class UnknownWebhook(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_webhook"
    title = "There is no such webhook"


class WebhookEndpoint:
    """`refusals` is the limit of refused deliveries of one client address. `clock` is Unix time."""

    def __init__(
        self,
        gateway: Gateway,
        queue: Queue,
        limiter: Limiter,
        *,
        refusals: RatePolicy,
        count: Count,
        clock: Callable[[], float],
        is_enabled: bool = True,
        tokens: PushTokens | None = None,
    ) -> None:
        self._gateway = gateway
        self._queue = queue
        self._limiter = limiter
        self._refusals = refusals
        self._count = count
        self._clock = clock
        self._is_enabled = is_enabled
        self._tokens = tokens or PushTokens(clock)
        self._blocked: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def answer(self, request: Request) -> Response:
        """The response. Deliveries have no credential of the gateway, and browsers do not send them."""
        return await self._gateway.serve_anonymous(request, self._handle)

    async def _handle(self, exchange: Exchange) -> Response:
        webhook = self._find(exchange.request)
        self._check_address(exchange, webhook)
        try:
            return await self._receive(exchange.request, webhook)
        except Refused as refused:
            self._count(webhook.name, f"refused_{refused.reason}")
            await self._charge(exchange, webhook)
            raise Unauthenticated(refused.detail) from None

    def _find(self, request: Request) -> Webhook:
        """Raises UnknownWebhook, MethodNotAllowed, ServiceDisabled or ServiceMisconfigured."""
        if request.method != "POST":
            raise MethodNotAllowed("deliveries are sent with POST", allow=("POST",))
        name = unquote(request.path[len(PREFIX) :].decode("latin-1"))
        webhook = self._gateway.live.table.webhooks.get(name) if self._is_enabled else None
        if webhook is None:
            self._count("", "unknown")
            raise UnknownWebhook("there is no such webhook")
        self._count(name, "received")
        # The provider sends it again later, so that nothing is lost meanwhile.
        if not webhook.enabled:
            raise ServiceDisabled("an operator has disabled this webhook", retry_after=RETRY_SECONDS)
        if webhook.faults:
            raise ServiceMisconfigured("the webhook is out of operation until an operator corrects it")
        return webhook

    async def _receive(self, request: Request, webhook: Webhook) -> Response:
        """Raises Refused and GatewayError."""
        body = await self._verified_body(request, webhook)
        content = Content.read(webhook, request.headers, body)
        challenge = handshake(webhook, content)
        if challenge is not None:
            self._count(webhook.name, "handshake")
            return _respond(challenge)
        delivery = Delivery(
            secrets.token_hex(16),
            webhook.name,
            self._clock(),
            request.fields.get(b"host", b""),
            request.scheme,
            kept_headers(webhook, request.headers),
            body,
        )
        try:
            added = await self._queue.add(identity(webhook, content, body), encode(delivery))
        except StoreUnavailable:
            self._count(webhook.name, "unavailable")
            raise Unavailable("deliveries cannot be queued at the moment", retry_after=RETRY_SECONDS) from None
        self._count(webhook.name, added.value)
        if added is Added.FULL:
            raise Unavailable("too many deliveries are waiting", retry_after=RETRY_SECONDS)
        # Slack shows the body of a response to the user of a command, and an error for one to a dialog or a modal.
        is_empty = webhook.verify is Verify.SLACK and _is_interaction(content)
        return _respond(b"" if is_empty else msgspec.json.encode({"status": added.value}))

    async def _verified_body(self, request: Request, webhook: Webhook) -> bytes:
        """The body, read only once the header fields have been checked. Raises Refused and GatewayError."""
        length = request.fields.get(b"content-length", b"0")
        if not length.isdigit():
            raise BadRequest("Content-Length is not a number")
        target = request.path + (b"?" + request.query if request.query else b"")
        uri = b"%b://%b%b" % (request.scheme.encode(), request.fields.get(b"host", b""), target)
        signed, check = SignedRequest(request.method, uri, request.headers), None
        if webhook.verify is not Verify.GOOGLE_PUBSUB:
            check = prepare(webhook, signed, self._clock())
        elif webhook.pubsub is not None:
            await self._tokens.verify(webhook.pubsub, signed)
        body = await _read(request, int(length), webhook.max_body_bytes)
        if check is not None:
            check(body)
        return body

    def _check_address(self, exchange: Exchange, webhook: Webhook) -> None:
        """Raise RateLimited for an address that has sent too many deliveries to this webhook that were refused.

        Those to others do not count: a provider sends for all its customers from the same addresses.
        """
        blocked_until = self._blocked.get((webhook.name, client_prefix(exchange.request.client)))
        if blocked_until is not None and self._clock() < blocked_until:
            raise RateLimited("too many deliveries were refused", retry_after=blocked_until - self._clock())

    async def _charge(self, exchange: Exchange, webhook: Webhook) -> None:
        """Count a refused delivery towards its address's limit. Those that are accepted cost nothing of it."""
        sender = webhook.name, client_prefix(exchange.request.client)
        decision = await self._limiter.take(f"hooks|{self._refusals}|{'|'.join(sender)}", self._refusals)
        if not decision.granted:
            self._blocked[sender] = self._clock() + decision.reset
            self._blocked.move_to_end(sender)
            if len(self._blocked) > MAX_BLOCKED:
                self._blocked.popitem(last=False)
            raise RateLimited("too many deliveries were refused", retry_after=decision.reset)


async def _read(request: Request, length: int, limit: int) -> bytes:
    """The whole body. Raises BodyTooLarge or RequestTimeout."""
    body = await read_in_time(request.body, limit) if length <= limit else None
    if body is None:
        raise BodyTooLarge(f"a delivery may have at most {limit} bytes")
    return body


def _is_interaction(content: Content) -> bool:
    return isinstance(content.body, dict) and not _INTERACTIONS.isdisjoint(content.body)


def _respond(body: bytes) -> Response:
    return Response(200, [(b"content-type", b"application/json")] if body else [], body)
