"""What a step is, and the steps of each route, compiled once."""

from collections.abc import Awaitable, Callable, Iterator

from routing.exchange import Exchange
from routing.http import Response
from routing.messages.validation import METHODS
from routing.router.live import LiveConfiguration
from routing.router.table import Match

Step = Callable[[Exchange], Response | Awaitable[Response | None] | None]
"""Takes the exchange, and returns None to go on, the response, or an awaitable of either. The last one responds."""


class CompiledSteps:
    """The steps that `compile_steps` names, by policy and method, for as long as the configuration stays the same."""

    def __init__(self, live: LiveConfiguration, compile_steps: Callable[[Match, str], list[tuple[str, Step]]]) -> None:
        self._live = live
        self._compile = compile_steps
        self._table, self._keys = live.table, live.keys
        self._steps: dict[tuple[int, str], tuple[Step, ...]] = {}

    def of(self, match: Match, method: str) -> tuple[Step, ...]:
        if self._table is not self._live.table or self._keys is not self._live.keys:
            self._table, self._keys = self._live.table, self._live.keys
            self._steps.clear()
        key = id(match.policy), method if method in METHODS else ""
        steps = self._steps.get(key)
        if steps is None:
            steps = self._steps[key] = tuple([step for _, step in self._compile(match, method)])
        return steps


def advance(exchange: Exchange, remaining: Iterator[Step]) -> Response | Awaitable[Response | None]:
    """Take steps until one responds or has to wait."""
    for step in remaining:
        result = step(exchange)
        if result is not None:
            return result
    raise AssertionError("the last step responds")
