"""What a backend's limit covers: a part of the calls to a service, such as those of one route with one credential."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import product
from typing import NamedTuple


class Part(StrEnum):
    """What distinguishes calls. Without any of these, all calls of a service are in one partition."""

    SERVICE = "service"
    ROUTE = "route"
    METHOD = "method"
    PATH = "path"
    CREDENTIAL = "credential"
    MODEL = "model"


class Partition(NamedTuple):
    """The calls that have these values in common; an empty value is any. `credential` is a digest, and `model` the
    language model that the request names.
    """

    service: str
    route: str = ""
    method: str = ""
    path: str = ""
    credential: str = ""
    model: str = ""

    def __str__(self) -> str:
        """What calls it covers, for operators: without the credential, of which only a digest is known."""
        call = " ".join(value for value in (self.method, self.path or self.route) if value) or "all calls"
        model = f" of the model {self.model}" if self.model else ""
        return f"{call}{model}{' with one credential' if self.credential else ''}"

    @property
    def stored(self) -> tuple[str, ...]:
        """Its form in the shared store: without an empty model, as earlier versions write it."""
        return self if self.model else self[:-1]

    def by(self, parts: Iterable[Part]) -> "Partition":
        """The partition that a call with these values is in, where `parts` distinguish calls."""
        kept = frozenset(parts)
        return Partition(
            self.service,
            self.route if Part.ROUTE in kept else "",
            self.method if Part.METHOD in kept else "",
            self.path if Part.PATH in kept else "",
            self.credential if Part.CREDENTIAL in kept else "",
            self.model if Part.MODEL in kept else "",
        )

    def containing(self) -> Iterator["Partition"]:
        """All partitions that a call with these values is in."""
        service, *values = self
        for chosen in product(*((value, "") if value else ("",) for value in values)):
            yield Partition(service, *chosen)
