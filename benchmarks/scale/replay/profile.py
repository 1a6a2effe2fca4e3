"""What takes Redis's time: the commands of each part of the gateway, as Redis's slow log times them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from benchmarks.scale.accounting import part_of
from benchmarks.scale.replay.wire import READ, SCRIPTS
from resilience.cache.redis_scripts import GET, INVALIDATE, PUT

PREFIX: Final = "gw"
_NAMES: Final = {
    GET.digest.encode(): "cache: look-up",
    PUT.digest.encode(): "cache: store",
    INVALIDATE.digest.encode(): "cache: invalidation",
}
_KEPT: Final = 1_000_000
"""Commands that the log keeps: more than are run meanwhile."""
_WITHIN_SCRIPT: Final = b"?"
"""How the address of the client begins for a command that a script has run: the script's own time contains it."""

Entry = tuple[int, bytes, bytes]
"""Of the slow log: microseconds, the command with its arguments, separated by spaces, and the client's address."""


class Profile(msgspec.Struct, frozen=True):
    """Commands of each part, those that its scripts ran, and seconds of execution, in a second. The time for reading
    commands and for sending replies is not in them, but that for the log itself is: see `corrected`.
    """

    commands: dict[str, float]
    within: dict[str, float]
    seconds: dict[str, float]

    def corrected(self, scripts: float) -> "Profile":
        """The seconds without the log's own, of which each command in a script takes the same. `scripts` are the
        seconds of all scripts in a second without a log.
        """
        with_log = sum(self.seconds[part] for part in self.within)
        each = max(0.0, with_log - scripts) / (sum(self.within.values()) or 1.0)
        seconds = {part: max(0.0, took - each * self.within.get(part, 0.0)) for part, took in self.seconds.items()}
        return Profile(self.commands, self.within, seconds)


def start(client: Any) -> None:
    """Have every command timed from now on."""
    client.config_set("slowlog-max-len", _KEPT)
    client.slowlog_reset()
    client.config_set("slowlog-log-slower-than", 0)


def stop(client: Any) -> None:
    client.config_set("slowlog-log-slower-than", -1)


def read(client: Any, seconds: float) -> Profile:
    """What was timed, in so many seconds."""
    entries = client.slowlog_get(_KEPT)
    return summed([(each["duration"], each["command"], each["client_address"]) for each in entries], seconds)


def summed(entries: Sequence[Entry], seconds: float) -> Profile:
    """`entries` are the latest first. The commands of a script stand before it in time."""
    commands, within, durations = Counter[str](), Counter[str](), Counter[str]()
    pending = 0
    for duration, command, client in reversed(entries):
        if client.startswith(_WITHIN_SCRIPT):
            pending += 1
            continue
        words = command.split(b" ")
        part = _part(words)
        commands[part] += 1
        durations[part] += duration
        if words[0].upper() in SCRIPTS:
            within[part] += pending
        pending = 0
    return Profile(
        {part: number / seconds for part, number in commands.items()},
        {part: number / seconds for part, number in within.items()},
        {part: duration / 1e6 / seconds for part, duration in durations.items()},
    )


def _part(words: list[bytes]) -> str:
    if words[0].upper() == READ:
        return "feed: read"
    return _NAMES.get(words[1] if len(words) > 1 else b"") or part_of(PREFIX, words)
