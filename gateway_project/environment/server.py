"""What the server listens on, its workers, and how it ends."""

import msgspec

from gateway_project.environment.values import Get, boolean, integer, limit, listening_address


class ServerSettings(msgspec.Struct, frozen=True):
    """Times are in seconds. `max_connections_per_client` is for one address and worker; 0: no limit."""

    host: str
    port: int
    workers: int
    drain: int
    grace: int
    proxy_protocol: bool
    keep_alive: int
    """How long a connection may be idle between requests."""
    max_connections_per_client: int
    access_log: bool
    interim_responses: bool
    """Whether interim responses of backends are passed on."""
    start_timeout: int = 60
    """How long a start waits for the database."""

    @property
    def address(self) -> str:
        """The URL of this machine's own listener, for commands to paste."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104 - compared, not listened on
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def read(get: Get, *, debug: bool) -> ServerSettings:
    for name in ("TLS_CERT", "TLS_KEY"):
        get(name, None, _refuse_tls)
    return ServerSettings(
        host=get("HOST", "127.0.0.1", listening_address),
        port=get("PORT", 8000, integer(1, 65_535)),
        workers=get("WORKERS", 1, integer(1, 256)),
        drain=get("DRAIN_SECONDS", 0 if debug else 5, integer(0, 3_600)),
        grace=get("GRACE_SECONDS", 30, integer(1, 86_400)),
        proxy_protocol=get("PROXY_PROTOCOL", False, boolean),
        keep_alive=get("KEEP_ALIVE_SECONDS", 75, integer(1, 3_600)),
        max_connections_per_client=get("MAX_CONNECTIONS_PER_CLIENT", 1_000, limit),
        access_log=get("ACCESS_LOG", True, boolean),
        interim_responses=get("INTERIM_RESPONSES", True, boolean),
        start_timeout=get("START_TIMEOUT", 60, integer(0, 3_600)),
    )


def _refuse_tls(_: str) -> None:
    """A gateway that is given a certificate must not serve without it."""
    raise ValueError(
        "the gateway has no TLS listener: let a proxy ahead of it end TLS (docs/deployment.md), and unset this"
    )
