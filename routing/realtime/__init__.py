"""Events for clients, on every worker. Django code calls `publish`; code on the gateway's loop, `Realtime.publish`."""

from typing import Final

from routing import runtime

PUBLISH_SECONDS: Final = 5.0


def publish(topic: str, kind: str, data: object) -> str:
    """Send an event to the subscribers of `topic` and return its id. For any thread except the gateway's event loop.

    `data` is any JSON value. Raises StoreUnavailable if the event could not be stored; then nobody receives it.
    """
    current = runtime.current()
    return current.submit(current.publish(topic, kind, data)).result(PUBLISH_SECONDS)
