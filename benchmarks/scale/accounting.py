"""Counts what a worker asks of Redis, by the part of the gateway that asks."""

from collections import Counter
from collections.abc import Callable, Sized
from typing import Any, Final

from resilience.redis import RedisLink

PARTS: Final = {
    "breaker": "circuits",
    "holdoffs": "circuits",
    "rate": "limits",
    "usage": "limits",
    "metrics": "counters",
    "requests": "request log",
    "events": "feed",
}
"""By the first word of a key, which may be that of its hash slot."""
OF_SERVICES: Final = {"l": "leases", "hot": "hits"}
"""By the word after a service's name, which is the hash slot of what is kept for it. Any other is the cache's."""
OTHER: Final = "link"
"""The server's clock, and scripts that are sent for the first time."""


class Traffic:
    """`calls` are commands and `sent` their bytes, by part; `messages` were received on the feed, by channel."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()

    def follow(self, link: RedisLink) -> None:
        """Count this link's commands and messages. Before its stores are made, which listen to the feed."""
        client: Any = link.client
        execute, pipeline, listen = client.execute_command, client.pipeline, link.feed.listen

        def counted(*command: Any, **options: Any) -> Any:
            self._add(link.prefix, command)
            return execute(*command, **options)

        def counted_pipeline(*arguments: Any, **options: Any) -> Any:
            made = pipeline(*arguments, **options)
            run = made.execute

            def counted_run(*more: Any, **rest: Any) -> Any:
                for command in made.command_stack:
                    self._add(link.prefix, command[0])
                return run(*more, **rest)

            made.execute = counted_run
            return made

        def counted_listen(channel: str, listener: Callable[[bytes], None]) -> None:
            def received(message: bytes) -> None:
                self.messages[channel] += 1
                listener(message)

            listen(channel, received)

        client.execute_command, client.pipeline = counted, counted_pipeline
        link.feed.listen = counted_listen  # type: ignore[method-assign] # of this worker alone

    def _add(self, prefix: str, command: Any) -> None:
        part = part_of(prefix, command)
        self.calls[part] += 1
        self.sent[part] += sum(len(word) if isinstance(word, Sized) else 8 for word in command)


def part_of(prefix: str, command: Any) -> str:
    """The part of the gateway that a command is of, by its first key."""
    for word in command[1:]:
        name = word.decode("latin-1") if isinstance(word, bytes) else str(word)
        if name.startswith(f"{prefix}:"):
            first, _, rest = name.removeprefix(f"{prefix}:").partition(":")
            known = PARTS.get(first.strip("{}"))
            return known or (OF_SERVICES.get(rest.partition(":")[0], "cache") if first.startswith("{") else OTHER)
    return OTHER
