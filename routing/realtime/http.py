"""`/events`: POST publishes an event; GET is the WebSocket's stream as server-sent events."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from resilience.outage import StoreUnavailable
from routing.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    RateLimited,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from routing.exchange import Exchange, InternalEndpoint
from routing.http import Request, Response, first
from routing.messages.media_type import may_be_json
from routing.messages.request_body import read_in_time
from routing.pipeline import Gateway
from routing.realtime.event import Frame
from routing.realtime.hub import ConnectionLimitExceeded
from routing.realtime.limits import HANDSHAKE_RATE, MAX_EVENT_BYTES, MAX_TOPICS_PER_MESSAGE, PUBLISH_RATE
from routing.realtime.messages import RESERVED_TYPES, RefusedTopic
from routing.realtime.service import Realtime
from routing.realtime.session import Session
from routing.realtime.subscriber import Closed
from routing.realtime.topic_addresses import check_publisher
from routing.realtime.topics import TopicRefused, check_publishable

PATH: Final = "/events"
PUBLISH_SCOPE: Final = "events:publish"
_TYPE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PUBLISH_ENDPOINT: Final = InternalEndpoint("publish", PUBLISH_RATE)
_STREAM_ENDPOINT: Final = InternalEndpoint("events", HANDSHAKE_RATE)


class Publication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST. `data` is any JSON value."""

    topic: str
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")

    def __post_init__(self) -> None:
        if _TYPE.fullmatch(self.type) is None:
            raise ValueError("type must be 1 to 64 letters, digits, '.', '_' or '-'")
        if self.type in RESERVED_TYPES:
            raise ValueError(f"the type {self.type!r} is reserved for the gateway")


_publications: Final = msgspec.json.Decoder(Publication)


class EventsEndpoint:
    """Handles requests for `/events`, after steps 1 to 3."""

    def __init__(self, gateway: Gateway, realtime: Realtime) -> None:
        self._gateway = gateway
        self._realtime = realtime

    async def answer(self, request: Request) -> Response:
        endpoint = _PUBLISH_ENDPOINT if request.method == "POST" else _STREAM_ENDPOINT
        return await self._gateway.serve(request, endpoint, self._handle)

    async def _handle(self, exchange: Exchange) -> Response:
        match exchange.request.method:
            case "POST":
                return await self._publish(exchange)
            case "GET":
                return await self._stream(exchange)
        raise MethodNotAllowed("events are read with GET and published with POST", allow=("GET", "POST"))

    async def _publish(self, exchange: Exchange) -> Response:
        caller = exchange.caller
        if caller is None or not caller.has_scope(PUBLISH_SCOPE):
            raise Forbidden(f"publishing needs the scope {PUBLISH_SCOPE}")
        if not may_be_json((first(exchange.request.headers, b"content-type") or b"").decode("latin-1")):
            raise UnsupportedMediaType("an event is application/json")
        publication = _parse_publication(await _read_body(exchange.request))
        try:
            check_publishable(publication.topic, caller, self._realtime.live.table)
            check_publisher(publication.topic, exchange.request.client, self._realtime.live.table)
        except TopicRefused as refusal:
            raise (BadRequest if refusal.code == "bad_topic" else Forbidden)(refusal.detail) from None
        try:
            event_id = await self._realtime.publish(publication.topic, publication.type, publication.data)
        except StoreUnavailable:
            raise Unavailable("events cannot be published at the moment", retry_after=1.0) from None
        return Response(202, [(b"content-type", b"application/json")], msgspec.json.encode({"id": event_id}))

    async def _stream(self, exchange: Exchange) -> Response:
        """Raises if every topic is refused. If only some are, the stream begins with a message that lists them."""
        wanted = _parse_topics(exchange.request.query)
        session = self._open_session(exchange)
        last_id = (first(exchange.request.headers, b"last-event-id") or b"").decode("latin-1")
        try:
            await session.find_cached(wanted)
        except BaseException:
            self._realtime.leave(session)
            raise
        refused = session.subscribe(wanted)
        if len(refused) == len(wanted):
            self._realtime.leave(session)
            raise _to_error(refused[0])
        if refused:
            session.subscriber.send(msgspec.json.encode({"type": "refused", "refused": refused}).decode())
        if last_id:
            session.resume(last_id)
        if exchange.request.watch_disconnect:
            exchange.request.watch_disconnect()
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        return Response(200, headers, _EventStream(self._realtime, session))

    def _open_session(self, exchange: Exchange) -> Session:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        if self._realtime.is_closing:
            raise Unavailable("the gateway is restarting", retry_after=1.0)
        try:
            return self._realtime.open(lambda: _cancel(task), exchange.request, exchange.caller, exchange.proof)
        except ConnectionLimitExceeded as error:
            raise RateLimited(str(error), retry_after=60.0) from None


class _EventStream:
    """A response body: the session's messages as server-sent events, until either side closes."""

    def __init__(self, realtime: Realtime, session: Session) -> None:
        self._realtime = realtime
        self._session = session
        self._chunks = self._run()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        self._realtime.leave(self._session)
        await self._chunks.aclose()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        """A chunk counts as being sent until the server asks for the next one."""
        subscriber, timer = self._session.subscriber, self._realtime.timer
        yield b"retry: 3000\n\n"
        while True:
            subscriber.sending_since = None
            try:
                item = await subscriber.next()
            except Closed as closed:
                closing = {"type": "closed", "code": closed.code, "reason": closed.reason}
                yield _gateway_event(msgspec.json.encode(closing).decode())
                return
            subscriber.sending_since = timer()
            yield item.sse if isinstance(item, Frame) else _gateway_event(item)


def _gateway_event(text: str) -> bytes:
    """A message of the gateway as an event named `gateway`, which scripts that listen for `message` do not receive.

    Its `last_id`, if any, becomes the id of the event, so that a quiet stream can be resumed too.
    """
    last_id = msgspec.json.decode(text).get("last_id")
    id_line = f"id: {last_id}\n" if last_id else ""
    return f"{id_line}event: gateway\ndata: {text}\n\n".encode()


async def _read_body(request: Request) -> bytes:
    """Raises BodyTooLarge and RequestTimeout."""
    length = first(request.headers, b"content-length") or b"0"
    if not length.isdigit():
        raise BadRequest("Content-Length is not a number")
    body = await read_in_time(request.body, MAX_EVENT_BYTES) if int(length) <= MAX_EVENT_BYTES else None
    if body is None:
        raise BodyTooLarge(f"an event may have at most {MAX_EVENT_BYTES} bytes")
    return body


def _parse_publication(body: bytes) -> Publication:
    """Whitespace is removed from `data`, so that it contains no line breaks."""
    try:
        publication = _publications.decode(body)
        msgspec.json.decode(publication.data)  # the decoder skips a Raw field without validating it
        data = msgspec.Raw(msgspec.json.format(bytes(publication.data), indent=-1))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not a valid event: {error}") from None
    return Publication(publication.topic, publication.type, data)


def _parse_topics(query: bytes) -> list[str]:
    """From `?topics=a,b`, which may be repeated."""
    try:
        pairs = parse_qsl(query.decode("ascii"), max_num_fields=MAX_TOPICS_PER_MESSAGE, errors="strict")
    except ValueError:
        raise BadRequest("the query is malformed") from None
    wanted = [topic for name, value in pairs if name in ("topics", "topic") for topic in value.split(",") if topic]
    if not 1 <= len(wanted) <= MAX_TOPICS_PER_MESSAGE:
        raise BadRequest(f"?topics= must name 1 to {MAX_TOPICS_PER_MESSAGE} topics")
    return wanted


def _to_error(refused: RefusedTopic) -> GatewayError:
    if refused.code == "unauthenticated":
        return Unauthenticated(refused.detail)
    return (BadRequest if refused.code == "bad_topic" else Forbidden)(refused.detail)


def _cancel(task: "asyncio.Task[Response]") -> None:
    task.cancel()
