"""What clients and the gateway say to each other over a socket: JSON, an unknown word of which is a fault."""

from typing import Final

import msgspec

from routing.realtime.limits import MAX_TOPICS_PER_MESSAGE

RESERVED: Final = frozenset(
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
"""Types that are the gateway's own to say: nobody publishes under them."""


class _FromClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Subscribe(_FromClient, frozen=True, tag="subscribe"):
    """`last_id`: and what was missed since, as `resume` right after would."""

    topics: list[str]
    last_id: str | None = None

    def __post_init__(self) -> None:
        _check(self.topics)


class Unsubscribe(_FromClient, frozen=True, tag="unsubscribe"):
    topics: list[str]

    def __post_init__(self) -> None:
        _check(self.topics)


class Resume(_FromClient, frozen=True, tag="resume"):
    last_id: str


class Ping(_FromClient, frozen=True, tag="ping"):
    pass


class Auth(_FromClient, frozen=True, tag="auth"):
    token: str

    def __repr__(self) -> str:
        return "Auth()"


FromClient = Subscribe | Unsubscribe | Resume | Ping | Auth
_decoder: Final[msgspec.json.Decoder[FromClient]] = msgspec.json.Decoder(FromClient)


class RefusedTopic(msgspec.Struct, frozen=True):
    """A topic that is not to be had, and why."""

    topic: str
    code: str
    detail: str


def decode_message(text: str | bytes) -> FromClient:
    """A client's message. Raises ValueError, whose text may be told to the client."""
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise ValueError("the message is nested too deep") from None
    except UnicodeError:
        raise ValueError("the message is not UTF-8") from None


def encode_message(kind: str, **fields: object) -> str:
    """One of the gateway's own messages; fields that are None are left out."""
    said = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({"type": kind, **said}).decode()


def _check(topics: list[str]) -> None:
    if not 1 <= len(topics) <= MAX_TOPICS_PER_MESSAGE:
        raise ValueError(f"from 1 to {MAX_TOPICS_PER_MESSAGE} topics at once")
