"""A failed request, as a consumer's people and staff see it."""

from typing import Final

import msgspec

from routing.observability.events import RequestFinished

KEPT: Final = 20
"""How many failures are kept for each consumer and each service, the latest ones."""
MAX_TEXT: Final = 200
"""Characters of a path, or of another text that a client chooses."""


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`at` is Unix time. `path` has no query. `status` is that of the response, whose transfer may have been cut short:
    `aborted` is why. `code` is that of the gateway's own error, empty if the response is the service's. `caller` is the
    id of the key or user. `cause` is for operators only: of a consumer's failures it is empty.
    """

    at: float
    request_id: str
    method: str
    path: str
    status: int
    code: str
    aborted: str
    service: str
    caller: str
    cause: str = ""

    @classmethod
    def of(cls, event: RequestFinished, cause: str = "") -> "Failure":
        texts = (event.request_id, event.method, event.path, event.caller)
        identifier, method, path, caller = (text[:MAX_TEXT] for text in texts)
        code = event.code or event.call
        return cls(event.at, identifier, method, path, event.status, code, event.aborted, event.service, caller, cause)


def latest(failures: list[Failure]) -> list[Failure]:
    """The latest first; each once, since an interrupted write is repeated."""
    return sorted(set(failures), key=lambda failure: failure.at, reverse=True)[:KEPT]
