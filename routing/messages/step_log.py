"""What the steps of one request have decided, and when."""

from collections.abc import Callable

from routing.messages.identifiers import Trace

Verdict = str | Callable[[], str]
"""A step's verdict, or a function that formats it: most logs are kept for requests that turn out to need none."""


class StepLog(list[tuple[str, Verdict, float]]):
    """Each step's name, verdict and end in seconds since the start: for `X-Gateway-Debug`, a trace or the request log,
    where one that is `sampled` is recorded whatever becomes of it.
    """

    shown = False
    is_readable = False
    """Whether whoever asks may see it, where nobody is authenticated."""
    trace: Trace | None = None
    sampled = False

    def entries(self) -> list[tuple[str, str, float]]:
        """The same with each verdict as a text."""
        return [(name, verdict if isinstance(verdict, str) else verdict(), at) for name, verdict, at in self]
