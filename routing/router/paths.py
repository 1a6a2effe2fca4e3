"""The gateway's own paths, `/api/v1/<service>/<rest>`: the one place that takes them apart."""

from typing import Final, NamedTuple

PREFIX: Final = b"/api/v1/"


class ServicePath(NamedTuple):
    """`rest` is the path within the service: empty, or with its leading slash."""

    service: str
    rest: bytes


def split(path: bytes) -> ServicePath | None:
    """`path` without its query, as sent by the client. None if it is not under the prefix."""
    if not path.startswith(PREFIX):
        return None
    name, slash, rest = path[len(PREFIX) :].partition(b"/")
    return ServicePath(name.decode("latin-1"), slash + rest)


def is_index(path: bytes) -> bool:
    """Whether `path` is the list of services."""
    return path in (PREFIX, PREFIX[:-1])


def contains(path: str) -> bool:
    """Whether `path` is the list of services, or under the prefix."""
    return path.startswith("/api/v1/") or path == "/api/v1"
