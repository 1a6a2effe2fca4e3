"""What one client says over its socket, and what is done about it: no framework, no waiting but for a token's check."""

from collections.abc import Awaitable, Callable
from typing import Final

from routing.authentication.authenticator import MAX_CREDENTIAL_BYTES, Authenticator, Credential, parse_credential
from routing.caller import Caller
from routing.errors import GatewayError, Unauthenticated
from routing.realtime import messages, topics
from routing.realtime.event_id import format_event_id, parse_event_id
from routing.realtime.hub import ConnectionLimitExceeded, Hub
from routing.realtime.limits import MAX_AUTH_MESSAGE_BYTES, MAX_MESSAGE_BYTES, SlidingWindow
from routing.realtime.messages import (
    Auth,
    FromClient,
    Ping,
    RefusedTopic,
    Resume,
    Subscribe,
    Unsubscribe,
    encode_message,
)
from routing.realtime.subscriber import Subscriber
from routing.realtime.topics import TopicRefused
from routing.router.live import LiveConfiguration

AHEAD_SECONDS: Final = 60.0
"""A last id further in the future than this was never one of ours."""


IsCached = Callable[[str, str], Awaitable[bool]]
"""Whether the cache has a good answer of this service under this key."""


class Session:
    """`clock` is Unix time, `timer` monotonic. `hear` raises nothing: what ends the connection is told to it."""

    def __init__(
        self,
        subscriber: Subscriber,
        credential: Credential | None,
        *,
        hub: Hub,
        live: LiveConfiguration,
        authenticator: Authenticator,
        clock: Callable[[], float],
        timer: Callable[[], float],
        holds: IsCached,
    ) -> None:
        self.subscriber = subscriber
        self.credential = credential
        self.last_message_at = self.began_at = self.last_heartbeat_at = timer()
        self.closing_since: float | None = None
        self._hub = hub
        self._live = live
        self._authenticator = authenticator
        self._clock = clock
        self._timer = timer
        self._holds = holds
        self._held: set[str] = set()
        self._budget = SlidingWindow(hub.limits.messages_per_minute)

    async def hear(self, text: str | bytes | None) -> None:
        """One message of the client's."""
        self.last_message_at = self._timer()
        if not self._budget.allow(self.last_message_at):
            self.subscriber.close(4429, "too many messages")
            return
        if text is None or isinstance(text, bytes):
            self._fault("bad_message", "messages are text")
            return
        if len(text) > MAX_AUTH_MESSAGE_BYTES:
            self.subscriber.close(1009, "message too big")
            return
        try:
            message = messages.decode_message(text)
        except ValueError as fault:
            self._bad(text, str(fault))
            return
        if len(text.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES and not isinstance(message, Auth):
            self.subscriber.close(1009, "message too big")
            return
        await self._dispatch(message)

    def check(self) -> None:
        """The credential's end, and whether what it may hear has changed. After every change of configuration."""
        caller = self.subscriber.caller
        if caller is None:
            return
        now = self._clock()
        if caller.expires is not None and caller.expires <= now:
            self.subscriber.close(4401, "the credential has expired")
        elif self.credential is not None and self.credential.is_key:
            self._check_key(self.credential, caller, now)
        self.review()

    def review(self) -> None:
        """Take back topics that this caller may not hear any more."""
        caller = self.subscriber.caller
        if caller is None:
            return
        for topic, heard in list(self.subscriber.topics.items()):
            try:
                keys = self._keys(topic, caller)
            except TopicRefused as refusal:
                self._hub.unsubscribe(self.subscriber, topic)
                self.subscriber.send(encode_message("unsubscribed", topics=[topic], code=refusal.code))
                continue
            if keys != heard:
                self._hub.subscribe(self.subscriber, topic, keys)

    async def find_cached(self, wanted: list[str]) -> None:
        """Look which of these resources the caller has an answer of its own of, where that decides."""
        caller = self.subscriber.caller
        if caller is None:
            return
        for topic in wanted:
            place = topics.cached_response_key(topic, caller, self._live.table)
            if place is not None and await self._holds(*place):
                self._held.add(topic)

    def subscribe(self, wanted: list[str]) -> list[RefusedTopic]:
        """Hear these topics as far as the caller may; the others are returned."""
        caller, refused = self.subscriber.caller, []
        if caller is None:
            return [RefusedTopic(topic, "unauthenticated", "authenticate first") for topic in wanted]
        for topic in wanted:
            try:
                self._subscribe(topic, caller)
            except TopicRefused as refusal:
                refused.append(RefusedTopic(topic[:100], refusal.code, refusal.detail))
        return refused

    def resume(self, last_id: str) -> None:
        """Replay what was missed, or say that it is too late."""
        place = parse_event_id(last_id)
        if place is None:
            self._fault("bad_message", "last_id is not an event's id")
        elif place[0] > (self._clock() + AHEAD_SECONDS) * 1_000 or not self.subscriber.resume(place):
            floor = format_event_id(self._hub.history.last)
            self.subscriber.send(encode_message("gap", last_id=floor, detail="what was missed is no longer kept"))

    async def authenticate(self, token: str) -> None:
        """Become a caller, or stay the same one with a fresher credential."""
        if len(token) > MAX_CREDENTIAL_BYTES or not token.isascii():
            self.subscriber.close(4401, "the credential is not valid")
            return
        credential = parse_credential(token)
        try:
            caller = await self._authenticator.identify(credential, self._clock())
            self._known(caller, credential)
        except Unauthenticated as error:
            self.subscriber.send(encode_message("error", code=error.code, detail=error.detail))
            self.subscriber.close(4401, error.detail)
        except GatewayError as error:
            self._fault(error.code, error.detail)
        except ConnectionLimitExceeded as error:
            self.subscriber.close(4429, str(error))

    def _known(self, caller: Caller, credential: Credential) -> None:
        before = self.subscriber.caller
        if before is not None and before.id != caller.id:
            self._fault("forbidden", "this connection is another caller's")
            return
        self._hub.known(self.subscriber, caller)
        self.credential = credential
        self.subscriber.send(encode_message("authenticated", caller=caller.id, expires=caller.expires))
        self.review()

    async def _dispatch(self, message: FromClient) -> None:
        match message:
            case Ping():
                self.subscriber.send(encode_message("pong", last_id=format_event_id(self._hub.history.last)))
            case Auth(token):
                await self.authenticate(token)
            case _ if self.subscriber.caller is None:
                self._fault("unauthenticated", "authenticate first")
            case Subscribe(wanted, last_id):
                await self.find_cached(wanted)
                self._subscribed(wanted, last_id)
            case Unsubscribe(wanted):
                for topic in wanted:
                    self._hub.unsubscribe(self.subscriber, topic)
                self.subscriber.send(encode_message("unsubscribed", topics=wanted))
            case Resume(last_id):
                self.resume(last_id)

    def _subscribed(self, wanted: list[str], last_id: str | None) -> None:
        heard_until = format_event_id(self._hub.history.last)
        refused = self.subscribe(wanted)
        granted = [topic for topic in wanted if topic in self.subscriber.topics]
        self.subscriber.send(
            encode_message("subscribed", topics=granted, refused=refused or None, last_id=last_id or heard_until)
        )
        if last_id is not None:
            self.resume(last_id)

    def _subscribe(self, topic: str, caller: Caller) -> None:
        if topic in self.subscriber.topics:
            return
        if len(self.subscriber.topics) >= self._hub.limits.topics:
            raise TopicRefused("too_many_topics", f"at most {self._hub.limits.topics} topics to a connection")
        self._hub.subscribe(self.subscriber, topic, self._keys(topic, caller))

    def _keys(self, topic: str, caller: Caller) -> tuple[str, ...]:
        return topics.subscription_keys(topic, caller, self._live.table, is_cached=topic in self._held)

    def _check_key(self, credential: Credential, caller: Caller, now: float) -> None:
        current = self._authenticator.try_identify(credential, now)
        if current is None:
            self.subscriber.close(4401, "the credential was revoked")
        elif current != caller:
            self.subscriber.caller = current

    def _bad(self, text: str, fault: str) -> None:
        if len(text) > MAX_MESSAGE_BYTES:
            self.subscriber.close(1009, "message too big")
        else:
            self._fault("bad_message", fault)

    def _fault(self, code: str, detail: str) -> None:
        self.subscriber.send(encode_message("error", code=code, detail=detail))
