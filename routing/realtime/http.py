"""`/events`: backends publish with POST; GET is the socket's stream as server-sent events."""

import asyncio
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
)
from routing.exchange import Exchange, InternalEndpoint
from routing.http import Request, Response, first
from routing.pipeline import Gateway
from routing.realtime.event import Frame
from routing.realtime.hub import ConnectionLimitExceeded
from routing.realtime.limits import HANDSHAKE_RATE, MAX_EVENT_BYTES, MAX_TOPICS_PER_MESSAGE, PUBLISH_RATE
from routing.realtime.messages import RESERVED, RefusedTopic
from routing.realtime.service import Realtime
from routing.realtime.session import Session
from routing.realtime.subscriber import Closed
from routing.realtime.topics import TopicRefused, check_publishable

PATH: Final = "/events"
PUBLISH_SCOPE: Final = "events:publish"
_PUBLISHING: Final = InternalEndpoint("publish", PUBLISH_RATE)
_STREAM: Final = InternalEndpoint("events", HANDSHAKE_RATE)


class Publication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backend publishes: `data` is any JSON."""

    topic: str
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")

    def __post_init__(self) -> None:
        if not 1 <= len(self.type) <= 64 or not self.type.replace(".", "").replace("_", "").replace("-", "").isalnum():
            raise ValueError("type must be 1 to 64 letters, digits, '.', '_' or '-'")
        if self.type in RESERVED or not self.type.isascii():
            raise ValueError(f"{self.type!r} is the gateway's own to say")


_publications: Final = msgspec.json.Decoder(Publication)


class EventsEndpoint:
    """Answers requests for `/events`, behind steps 1 to 3 like any other."""

    def __init__(self, gateway: Gateway, realtime: Realtime) -> None:
        self._gateway = gateway
        self._realtime = realtime

    async def answer(self, request: Request) -> Response:
        own = _PUBLISHING if request.method == "POST" else _STREAM
        return await self._gateway.serve(request, own, self._answer)

    async def _answer(self, exchange: Exchange) -> Response:
        match exchange.request.method:
            case "POST":
                return await self._publish(exchange)
            case "GET":
                return await self._stream(exchange)
        raise MethodNotAllowed("events are read with GET and published with POST", allow=("GET", "POST"))

    async def _publish(self, exchange: Exchange) -> Response:
        caller = exchange.caller
        if caller is None or not caller.holds(PUBLISH_SCOPE):
            raise Forbidden(f"publishing needs the scope {PUBLISH_SCOPE}")
        publication = _publication(await _body(exchange.request))
        try:
            check_publishable(publication.topic, caller, self._realtime.live.table)
        except TopicRefused as refusal:
            raise (BadRequest if refusal.code == "bad_topic" else Forbidden)(refusal.detail) from None
        try:
            identifier = await self._realtime.publish(publication.topic, publication.type, publication.data)
        except StoreUnavailable:
            raise Unavailable("events cannot be passed on now", retry_after=1.0) from None
        return Response(202, [(b"content-type", b"application/json")], msgspec.json.encode({"id": identifier}))

    async def _stream(self, exchange: Exchange) -> Response:
        """Refuses the whole where no topic is to be had; says of single ones that they were refused."""
        wanted = _topics(exchange.request.query)
        session = self._opened(exchange)
        last_id = (first(exchange.request.headers, b"last-event-id") or b"").decode("latin-1")
        try:
            await session.find_cached(wanted)
        except BaseException:
            self._realtime.leave(session)
            raise
        refused = session.subscribe(wanted)
        if len(refused) == len(wanted):
            self._realtime.leave(session)
            raise _refusal(refused[0])
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
        return Response(200, headers, _Stream(self._realtime, session))

    def _opened(self, exchange: Exchange) -> Session:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        if self._realtime.closing:
            raise Unavailable("the gateway restarts", retry_after=1.0)
        try:
            return self._realtime.open(
                lambda: _cut(task), exchange.request.client, exchange.caller, exchange.credential
            )
        except ConnectionLimitExceeded as error:
            raise RateLimited(str(error), retry_after=60.0) from None


class _Stream:
    """A session's queue as the body of an answer: what is there goes out together."""

    def __init__(self, realtime: Realtime, session: Session) -> None:
        self._realtime = realtime
        self._session = session
        self._items = self._run()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._items)

    async def aclose(self) -> None:
        self._realtime.leave(self._session)
        await self._items.aclose()

    async def _run(self) -> AsyncGenerator[bytes, None]:
        """A chunk that the server has not taken yet is one being sent: between two of them, time runs."""
        subscriber, timer = self._session.subscriber, self._realtime.timer
        yield b"retry: 3000\n\n"
        while True:
            subscriber.sending_since = None
            try:
                item = await subscriber.next()
            except Closed as end:
                yield _said(msgspec.json.encode({"type": "closed", "code": end.code, "reason": end.reason}).decode())
                return
            subscriber.sending_since = timer()
            yield item.sse if isinstance(item, Frame) else _said(item)


def _said(text: str) -> bytes:
    """The gateway's own word, as an event of the name `gateway`: scripts that listen for messages do not see it.

    A last id in it becomes the stream's, so that a quiet stream resumes from there too.
    """
    last_id = msgspec.json.decode(text).get("last_id")
    place = f"id: {last_id}\n" if last_id else ""
    return f"{place}event: gateway\ndata: {text}\n\n".encode()


async def _body(request: Request) -> bytes:
    pieces, size = [], 0
    length = first(request.headers, b"content-length") or b"0"
    if not length.isdigit():
        raise BadRequest("Content-Length is not a number")
    if int(length) <= MAX_EVENT_BYTES and request.body is not None:
        async for piece in request.body:
            size += len(piece)
            if size > MAX_EVENT_BYTES:
                break
            pieces.append(piece)
    if max(size, int(length)) > MAX_EVENT_BYTES:
        raise BodyTooLarge(f"an event is at most {MAX_EVENT_BYTES} bytes")
    return b"".join(pieces)


def _publication(body: bytes) -> Publication:
    """Its data without line breaks, whatever whitespace it came with."""
    try:
        said = _publications.decode(body)
        msgspec.json.decode(said.data)  # the raw part is skipped over, not checked, by the decoder
        data = msgspec.Raw(msgspec.json.format(bytes(said.data), indent=-1))
    except (ValueError, RecursionError) as fault:
        raise BadRequest(f"not an event: {fault}") from None
    return Publication(said.topic, said.type, data)


def _topics(query: bytes) -> list[str]:
    """`?topics=a,b` or several of them."""
    try:
        pairs = parse_qsl(query.decode("ascii"), max_num_fields=MAX_TOPICS_PER_MESSAGE, errors="strict")
    except ValueError:
        raise BadRequest("the query cannot be read") from None
    wanted = [topic for name, value in pairs if name in ("topics", "topic") for topic in value.split(",") if topic]
    if not 1 <= len(wanted) <= MAX_TOPICS_PER_MESSAGE:
        raise BadRequest(f"?topics= must name from 1 to {MAX_TOPICS_PER_MESSAGE} topics")
    return wanted


def _refusal(refused: RefusedTopic) -> GatewayError:
    if refused.code == "unauthenticated":
        return Unauthenticated(refused.detail)
    return (BadRequest if refused.code == "bad_topic" else Forbidden)(refused.detail)


def _cut(task: "asyncio.Task[Response]") -> None:
    task.cancel()
