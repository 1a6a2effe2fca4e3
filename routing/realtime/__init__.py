"""Events for clients, on every worker. For Django's code: `publish`; on the gateway's own loop: `Realtime.publish`."""

from typing import Final

from routing import runtime

PUBLISH_SECONDS: Final = 5.0


def publish(topic: str, kind: str, data: object) -> str:
    """Tell the subscribers of `topic`: the event's id. From any thread but the gateway's own loop.

    `data` is what JSON can hold. Raises StoreUnavailable when nobody could be told.
    """
    current = runtime.current()
    return current.submit(current.publish(topic, kind, data)).result(PUBLISH_SECONDS)
