"""What a REDIS_URL means: pure parsing, without a connection.

    redis://[[user]:password@]host[:port][/database]          rediss:// with TLS
    unix://[[user]:password@]/path/to/socket[?db=database]
    redis+sentinel://[[user]:password@]host[:port],.../master[/database]    rediss+sentinel:// with TLS
    redis+cluster://[[user]:password@]host[:port],...         rediss+cluster:// with TLS

Reserved characters of a user name or password are percent-encoded. Parameters follow a `?`: see PARAMETERS.
"""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
REDIS_PORT: Final = 6_379
SENTINEL_PORT: Final = 26_379
DEFAULT_PREFIX: Final = "gw"
MAX_PREFIX_LENGTH: Final = 64

_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS: Final = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL: Final = ("sentinel_username", "sentinel_password")
PARAMETERS: Final = ("db", "username", "password", "client_name", *_TLS, *_SENTINEL)
"""The parameters of a URL. The sentinels have a user and a password of their own, none by default."""
_VERIFICATION: Final = ("none", "optional", "required")
_BOOLEANS: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False} | {
    "off": False
}
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


class RedisAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where Redis is, and how to log in. `hosts` are the sentinels of a Sentinel address, and nodes of a cluster.

    `tls` are redis-py's arguments with the prefix `ssl`, empty without TLS.
    """

    kind: str
    """`single`, `sentinel` or `cluster`."""
    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    """The path of a Unix socket, instead of `hosts`."""
    master: str = ""
    """The name by which the sentinels know the master."""
    database: int = 0
    login: dict[str, Any] = {}
    """`username` and `password`, those that are given; and `client_name`."""
    sentinel_login: dict[str, Any] = {}
    tls: dict[str, Any] = {}

    @property
    def default_prefix(self) -> str:
        """What keys and channels begin with: one prefix per database, since Redis does not separate channels by
        database.
        """
        return f"{DEFAULT_PREFIX}{self.database or ''}"


def parse(url: str) -> RedisAddress:
    """Raises ValueError, whose message never contains a password."""
    parts = _split(url)
    kind, parameters = _kind(parts.scheme), _parameters(parts)
    segments = [unquote(segment) for segment in parts.path.split("/")[1:] if segment]
    is_sentinel, is_socket = kind == "sentinel", parts.scheme == "unix"
    database = parameters.get("db") or (segments[-1] if len(segments) > is_sentinel and not is_socket else "0")
    if len(segments) > 1 + is_sentinel and not is_socket:
        raise ValueError("has too many path segments")
    if not re.fullmatch(r"[0-9]{1,5}", database):
        raise ValueError(f"{database!r} is not the number of a database")
    if kind == "cluster" and int(database):
        raise ValueError("a cluster has only database 0")
    default_port = SENTINEL_PORT if is_sentinel else REDIS_PORT
    address = parts.netloc.rpartition("@")[2]
    if is_socket and not parts.path.strip("/"):
        raise ValueError("has no path of a socket")
    return RedisAddress(
        kind=kind,
        hosts=() if is_socket else tuple(_host_and_port(host, default_port) for host in _hosts(address, kind)),
        path=unquote(address + parts.path) if is_socket else None,
        master=(segments[0] if segments else "mymaster") if is_sentinel else "",
        database=int(database),
        login=_login(parts, parameters),
        sentinel_login={name[9:]: parameters[name] for name in _SENTINEL if parameters.get(name)},
        tls=_tls(parts.scheme, parameters),
    )


def parse_prefix(text: str) -> str:
    """The prefix of all keys and channels. Braces would change the slots of a cluster, and wildcards ACL patterns."""
    prefix = text.rstrip(":")
    if len(prefix) > MAX_PREFIX_LENGTH or not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"{text!r} is not a prefix: use at most {MAX_PREFIX_LENGTH} letters, digits and `.`, `_`, `-`, `:`"
        )
    return prefix


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"must be a URL with one of the schemes {', '.join(SCHEMES)}")
    if "@" in parts.path and parts.scheme != "unix":
        raise ValueError("has an `@` after a `/`; in a password, `/` and `@` must be percent-encoded")
    if parts.fragment or "#" in url:
        raise ValueError("contains a `#`, which must be percent-encoded in a password")
    return parts


def _kind(scheme: str) -> str:
    return scheme.partition("+")[2] or "single"


def _parameters(parts: SplitResult) -> dict[str, str]:
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in parameters:
        if name not in PARAMETERS:
            raise ValueError(f"has an unknown parameter {name!r}; known are {', '.join(PARAMETERS)}")
        if name in _TLS and not parts.scheme.startswith("rediss"):
            raise ValueError(f"the parameter {name} requires a rediss scheme")
        if name in _SENTINEL and _kind(parts.scheme) != "sentinel":
            raise ValueError(f"the parameter {name} requires a sentinel scheme")
    return parameters


def _login(parts: SplitResult, parameters: dict[str, str]) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    login = {"username": unquote(user), "password": unquote(password)}
    login |= {name: parameters[name] for name in ("username", "password", "client_name") if name in parameters}
    return {name: value for name, value in login.items() if value}


def _hosts(netloc: str, kind: str) -> list[str]:
    hosts = [host for host in netloc.split(",") if host]
    if kind == "single" and len(hosts) > 1:
        raise ValueError("names several hosts, which requires a sentinel or cluster scheme")
    return hosts or ["localhost"]


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]\s]+))(?::([0-9]{0,5}))?", text)
    if found is None or not 0 < int(found[3] or default) < 65_536:
        raise ValueError("has an invalid host or port; an `@`, `:` or `/` of a password must be percent-encoded")
    return unquote(found[1] or found[2]), int(found[3] or default)


def _tls(scheme: str, parameters: dict[str, str]) -> dict[str, Any]:
    if not scheme.startswith("rediss"):
        return {}
    tls: dict[str, Any] = {name: _file(name, parameters[name]) for name in _TLS_FILES if name in parameters}
    verification = parameters.get("ssl_cert_reqs", "required")
    if verification not in _VERIFICATION:
        raise ValueError(f"ssl_cert_reqs: use one of {', '.join(_VERIFICATION)}")
    checked = parameters.get("ssl_check_hostname", "off" if verification == "none" else "on").lower()
    if checked not in _BOOLEANS:
        raise ValueError("ssl_check_hostname: use on or off")
    return tls | {"ssl": True, "ssl_cert_reqs": verification, "ssl_check_hostname": _BOOLEANS[checked]}


def _file(name: str, path: str) -> str:
    if not Path(path).is_file():
        raise ValueError(f"{name}: {path!r} is not a file")
    return path
