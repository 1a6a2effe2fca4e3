"""One client's connection: handles its messages and checks its rights. Independent of the transport."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from routing.authentication.authenticator import MAX_CREDENTIAL_BYTES, Authenticator, Credential, parse_credential
from routing.authentication.proof import Proof
from routing.caller import Caller
from routing.errors import AddressNotAllowed, Forbidden, GatewayError, Unauthenticated
from routing.http import Request
from routing.networks import permits
from routing.realtime import messages, topics
from routing.realtime.close_codes import CloseCode
from routing.realtime.event_id import format_event_id, parse_event_id
from routing.realtime.hub import ConnectionLimitExceeded, Hub
from routing.realtime.limits import MAX_AUTH_MESSAGE_BYTES, MAX_MESSAGE_BYTES, MessageQuota
from routing.realtime.messages import (
    Auth,
    ClientMessage,
    Ping,
    RefusedTopic,
    Resume,
    Subscribe,
    Unsubscribe,
    encode_message,
)
from routing.realtime.subscriber import Subscriber
from routing.realtime.topic_addresses import permitted_keys
from routing.realtime.topics import TopicRefused
from routing.router.live import LiveConfiguration
from routing.router.table import Match
from routing.steps.network import PLAN_REFUSAL
from routing.steps.rechecks import Rechecks

MAX_AHEAD_SECONDS: Final = 60.0
"""An id further in the future than this was not issued by the gateway."""
MAX_TOPIC_ECHO: Final = 100
"""Characters of a refused topic that are repeated to the client."""

IsCached = Callable[[Match, Caller, Request], Awaitable[bool]]
"""Whether the cache has a successful response of this route for this caller's request."""


class Session:
    """`clock` is Unix time, `timer` monotonic. `handle` raises nothing: errors are sent to the client."""

    def __init__(
        self,
        subscriber: Subscriber,
        handshake: Request,
        proof: Proof | None,
        *,
        hub: Hub,
        live: LiveConfiguration,
        authenticator: Authenticator,
        rechecks: Rechecks,
        clock: Callable[[], float],
        timer: Callable[[], float],
        is_cached: IsCached,
    ) -> None:
        self.subscriber = subscriber
        self._proof = proof
        self._handshake = handshake
        self.last_message_at = self.began_at = self.last_heartbeat_at = timer()
        self.closing_since: float | None = None
        self._hub = hub
        self._live = live
        self._authenticator = authenticator
        self._rechecks = rechecks
        self._clock = clock
        self._timer = timer
        self._is_cached = is_cached
        self._cached_topics: set[str] = set()
        self._quota = MessageQuota(hub.limits.messages_per_minute)

    async def handle(self, text: str | bytes | None) -> None:
        """Handle one message of the client."""
        self.last_message_at = self._timer()
        if not self._quota.allow(self.last_message_at):
            self.subscriber.close(CloseCode.TOO_MANY_REQUESTS, "too many messages")
            return
        if text is None or isinstance(text, bytes):
            self._send_error("bad_message", "messages must be text")
            return
        if len(text) > MAX_AUTH_MESSAGE_BYTES:
            self._close_too_big()
            return
        try:
            message = messages.decode_message(text)
        except ValueError as error:
            self._reject(text, str(error))
            return
        if len(text.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES and not isinstance(message, Auth):
            self._close_too_big()
            return
        await self._dispatch(message)

    def recheck(self) -> None:
        """Check the credential and the topics again, after a change of configuration."""
        caller = self.subscriber.caller
        if caller is None:
            return
        now = self._clock()
        if caller.expires is not None and caller.expires <= now:
            self.subscriber.close(CloseCode.UNAUTHENTICATED, "the credential has expired")
        else:
            self._recheck_credential(caller, now)
        self.recheck_topics()

    def recheck_topics(self) -> None:
        """Unsubscribe from topics that the caller may no longer read."""
        caller = self.subscriber.caller
        if caller is None:
            return
        for topic, current in list(self.subscriber.topics.items()):
            try:
                keys = self._subscription_keys(topic, caller)
            except TopicRefused as refusal:
                self._hub.unsubscribe(self.subscriber, topic)
                self.subscriber.send(encode_message("unsubscribed", topics=[topic], code=refusal.code))
                continue
            if keys != current:
                self._hub.subscribe(self.subscriber, topic, keys)

    async def find_cached(self, wanted: list[str]) -> None:
        """Find the resources of which the caller has its own cached response, where that decides about its rights."""
        caller = self.subscriber.caller
        if caller is None:
            return
        for topic in wanted:
            found = topics.own_cached_response(topic, caller, self._live.table)
            if found is None:
                continue
            match, query = found
            # The client has sent its requests to the same host, with the same cookies.
            if await self._is_cached(match, caller, replace(self._handshake, query=query)):
                self._cached_topics.add(topic)

    def subscribe(self, wanted: list[str]) -> list[RefusedTopic]:
        """Subscribe to the topics that the caller may read, and return the others."""
        caller, refused = self.subscriber.caller, []
        if caller is None:
            return [RefusedTopic(topic, "unauthenticated", "authenticate first") for topic in wanted]
        for topic in wanted:
            try:
                self._subscribe(topic, caller)
            except TopicRefused as refusal:
                refused.append(RefusedTopic(topic[:MAX_TOPIC_ECHO], refusal.code, refusal.detail))
        return refused

    def resume(self, last_id: str) -> None:
        """Replay the events after `last_id`, or send a `gap` if they are no longer available."""
        event_id = parse_event_id(last_id)
        if event_id is None:
            self._send_error("bad_message", "last_id is not the id of an event")
        elif event_id[0] > (self._clock() + MAX_AHEAD_SECONDS) * 1_000 or not self.subscriber.resume(event_id):
            detail = "the missed events are no longer available"
            self.subscriber.send(encode_message("gap", last_id=self._last_id(), detail=detail))

    async def authenticate(self, token: str) -> None:
        """Identify the caller, or renew the same caller's credential."""
        if len(token) > MAX_CREDENTIAL_BYTES or not token.isascii():
            self.subscriber.close(CloseCode.UNAUTHENTICATED, "the credential is not valid")
            return
        credential = parse_credential(token)
        try:
            caller = await self._authenticator.identify(credential, self._clock())
            self._check_use(caller, credential)
            self._set_caller(caller, credential)
        except (Unauthenticated, Forbidden) as error:
            self._send_error(error.code, error.detail)
            self.subscriber.close(CloseCode.UNAUTHENTICATED, error.detail)
        except GatewayError as error:
            self._send_error(error.code, error.detail)
        except ConnectionLimitExceeded as error:
            self.subscriber.close(CloseCode.TOO_MANY_REQUESTS, str(error))

    def _set_caller(self, caller: Caller, credential: Credential) -> None:
        before = self.subscriber.caller
        if before is not None and before.id != caller.id:
            self._send_error("forbidden", "this connection belongs to another caller")
            return
        self._hub.set_caller(self.subscriber, caller)
        self._proof = credential
        self.subscriber.send(encode_message("authenticated", caller=caller.id, expires=caller.expires))
        self.recheck_topics()

    async def _dispatch(self, message: ClientMessage) -> None:
        match message:
            case Ping():
                self.subscriber.send(encode_message("pong", last_id=self._last_id()))
            case Auth(token):
                await self.authenticate(token)
            case _ if self.subscriber.caller is None:
                self._send_error("unauthenticated", "authenticate first")
            case Subscribe(wanted, last_id):
                await self.find_cached(wanted)
                self._subscribe_all(wanted, last_id)
            case Unsubscribe(wanted):
                for topic in wanted:
                    self._hub.unsubscribe(self.subscriber, topic)
                self.subscriber.send(encode_message("unsubscribed", topics=wanted))
            case Resume(last_id):
                self.resume(last_id)

    def _subscribe_all(self, wanted: list[str], last_id: str | None) -> None:
        current_id = self._last_id()
        refused = self.subscribe(wanted) or None
        granted = [topic for topic in wanted if topic in self.subscriber.topics]
        self.subscriber.send(
            encode_message("subscribed", topics=granted, refused=refused, last_id=last_id or current_id)
        )
        if last_id is not None:
            self.resume(last_id)

    def _subscribe(self, topic: str, caller: Caller) -> None:
        if topic in self.subscriber.topics:
            return
        limit = self._hub.limits.topics
        if len(self.subscriber.topics) >= limit:
            raise TopicRefused("too_many_topics", f"a connection may have at most {limit} topics")
        self._hub.subscribe(self.subscriber, topic, self._subscription_keys(topic, caller))

    def _subscription_keys(self, topic: str, caller: Caller) -> tuple[str, ...]:
        table = self._live.table
        keys = topics.subscription_keys(topic, caller, table, is_cached=topic in self._cached_topics)
        return permitted_keys(topic, keys, self._handshake.client, table)

    def _recheck_credential(self, caller: Caller, now: float) -> None:
        proof, current = self._proof, self._rechecks.current(caller, self._proof, now)
        if current is None:
            self.subscriber.close(CloseCode.UNAUTHENTICATED, "the credential was revoked")
            return
        try:
            self._check_use(current, proof)
        except Forbidden as error:
            self.subscriber.close(CloseCode.UNAUTHENTICATED, error.detail)
            return
        if current != caller:
            self.subscriber.caller = current

    def _check_use(self, caller: Caller, proof: Proof | None) -> None:
        """Raise Forbidden where the credential, or its caller's plan, may not be used from the handshake's address."""
        client, subscription = self._handshake.client, caller.subscription
        if isinstance(proof, Credential):
            self._authenticator.check(proof, client, self._handshake.method)
        if subscription is not None and not permits(subscription.ip, client):
            raise AddressNotAllowed(PLAN_REFUSAL)

    def _last_id(self) -> str:
        return format_event_id(self._hub.history.last)

    def _reject(self, text: str, detail: str) -> None:
        if len(text) > MAX_MESSAGE_BYTES:
            self._close_too_big()
        else:
            self._send_error("bad_message", detail)

    def _close_too_big(self) -> None:
        self.subscriber.close(CloseCode.MESSAGE_TOO_BIG, "message too big")

    def _send_error(self, code: str, detail: str) -> None:
        self.subscriber.send(encode_message("error", code=code, detail=detail))
