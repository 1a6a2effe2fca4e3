"""The JSON messages exchanged with clients. Unknown types and fields are errors."""

from typing import Final

import msgspec

from routing.realtime.limits import MAX_TOPICS_PER_MESSAGE

RESERVED_TYPES: Final = frozenset(
    {
        "authenticated",
        "circuit",
        "error",
        "gap",
        "heartbeat",
        "invalidated",
        "pong",
        "restart",
        "slow",
        "subscribed",
        "unsubscribed",
    }
)
"""Message types of the gateway itself, which events may not use."""


class _ClientMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Subscribe(_ClientMessage, frozen=True, tag="subscribe"):
    """With `last_id`, also replay the events since, as a `resume` right after would."""

    topics: list[str]
    last_id: str | None = None

    def __post_init__(self) -> None:
        _check_count(self.topics)


class Unsubscribe(_ClientMessage, frozen=True, tag="unsubscribe"):
    topics: list[str]

    def __post_init__(self) -> None:
        _check_count(self.topics)


class Resume(_ClientMessage, frozen=True, tag="resume"):
    last_id: str


class Ping(_ClientMessage, frozen=True, tag="ping"):
    pass


class Auth(_ClientMessage, frozen=True, tag="auth"):
    token: str

    def __repr__(self) -> str:
        return "Auth()"


ClientMessage = Subscribe | Unsubscribe | Resume | Ping | Auth
_message_decoder: Final[msgspec.json.Decoder[ClientMessage]] = msgspec.json.Decoder(ClientMessage)


class RefusedTopic(msgspec.Struct, frozen=True):
    """An entry of `refused`: a topic that was not subscribed to, and why."""

    topic: str
    code: str
    detail: str


def decode_message(text: str | bytes) -> ClientMessage:
    """Decode a client's message. Raises ValueError with a text that may be sent to the client."""
    try:
        return _message_decoder.decode(text)
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    except UnicodeError:
        raise ValueError("the message is not valid UTF-8") from None


def encode_message(kind: str, **fields: object) -> str:
    """Encode a message of the gateway. Fields that are None are omitted."""
    present = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({"type": kind, **present}).decode()


def _check_count(topics: list[str]) -> None:
    if not 1 <= len(topics) <= MAX_TOPICS_PER_MESSAGE:
        raise ValueError(f"a message must name 1 to {MAX_TOPICS_PER_MESSAGE} topics")
