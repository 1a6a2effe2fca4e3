"""The static configuration, read from the environment: the only reader of `os.environ`.

Immutable and validated; all faults are reported at once.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from gateway_project import telemetry
from gateway_project.environment_values import (
    Network,
    boolean,
    cookie_prefix,
    database_url,
    file,
    integer,
    limit,
    networks,
    one_of,
    origins,
    staff_host,
    words,
)
from gateway_project.telemetry import Traces
from resilience import redis_address
from resilience.ratelimit.policy import RatePolicy
from resilience.redis_address import DEFAULT_PREFIX, SCHEMES
from routing.configuration.headers import FILE
from routing.configuration.secret_files import DEFAULT_DIRECTORY, NO_SOURCES, SecretDirectories, parse_sources
from routing.messages.staff_origin import StaffOrigin

BASE_DIR: Final = Path(__file__).resolve().parent.parent
VAR: Final = BASE_DIR / "var"
"""The default state directory: the SQLite database, and the files the gateway creates beside it."""
EMBEDDED: Final = "embedded"
MIN_SECRET_KEY: Final = 32
"""Characters. Sessions are signed with the key: a short one can be found by trying."""
SERVICE_VARIABLES: Final = "GATEWAY_SECRET_"
"""Variables whose names begin so may be sent to backends, as the services' headers say."""


T = TypeVar("T")


class ConfigurationFault(Exception):
    """The environment is invalid; `faults` names each variable and what is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The static configuration. Services, routes and API keys are in the database."""

    debug: bool
    secret_key: str
    allowed_hosts: tuple[str, ...]
    database_url: str
    redis_url: str | None
    redis_prefix: str
    """Of all keys and channels: by default one for each database."""
    firebase_project: str | None
    firebase_credentials: Path | None
    firebase_emulator: str | None
    trusted_proxies: tuple[Network, ...]
    proxy_protocol: bool
    cors_origins: tuple[str, ...]
    staff: StaffOrigin
    cookie_prefix: str
    """Of the names of staff's cookies."""
    rate_limit: RatePolicy
    gateway_config: Path | None
    max_body_bytes: int
    max_connections_per_client: int
    """Of one address, for each worker; 0 for no limit."""
    log_format: str
    access_log: bool
    traces: Traces | None
    host: str
    port: int
    workers: int
    drain_seconds: int
    grace_seconds: int
    var: Path
    """The state directory: that of the database file, so that two gateways do not share one."""
    environment: dict[str, str]
    """The whole environment, for the `env:NAME` headers of services. Never logged."""

    secrets_from: tuple[str, ...] = ()
    """Names of variables that services may refer to, beside those that begin with GATEWAY_SECRET_."""
    secret_directories: tuple[Path, ...] = (DEFAULT_DIRECTORY,)
    """Directories of files that services may refer to."""

    def __repr__(self) -> str:
        """Without any value: error pages under DEBUG show the settings."""
        return "Config(...)"

    def secret(self, name: str) -> str | None:
        """The value of `env:NAME` or `file:PATH` in a service's headers, or None if the variable is not set.

        `name` is a variable's name, or `file:PATH`. Raises ValueError for a variable or a file that is not meant for
        services, such as SECRET_KEY, and UnresolvedSecret for a file that cannot be read.
        """
        if name.startswith(FILE):
            own = () if self.firebase_credentials is None else (self.firebase_credentials,)
            return SecretDirectories(self.secret_directories, own).read(name.removeprefix(FILE))
        if not name.startswith(SERVICE_VARIABLES) and name not in self.secrets_from:
            raise ValueError(
                f"env:{name} is not allowed: rename it {SERVICE_VARIABLES}{name}, or list it in SECRETS_FROM"
            )
        return self.environment.get(name)


class _Variables:
    """Parses variables, and appends what is invalid to `faults`."""

    def __init__(self, environment: Mapping[str, str], faults: list[str]) -> None:
        self._environment = environment
        self._faults = faults

    def get(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        """The parsed value; `default` if the variable is unset, empty or invalid."""
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as fault:
            self._faults.append(f"{name}: {fault}")
            return default


def read(environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration. Raises ConfigurationFault with all faults."""
    faults: list[str] = []
    get = _Variables(environment, faults).get
    debug = get("DEBUG", False, boolean)
    database = get("DATABASE_URL", f"sqlite:///{VAR / 'gateway.sqlite3'}", database_url)
    var = _state_directory(database)
    redis_url = get("REDIS_URL", None, _redis)
    secrets_from, secret_directories = get("SECRETS_FROM", NO_SOURCES, parse_sources)
    config = Config(
        debug=debug,
        secret_key=environment.get("SECRET_KEY", "") or (_generated_secret(var) if debug else ""),
        allowed_hosts=get("ALLOWED_HOSTS", (".localhost" if debug else "localhost", "127.0.0.1", "[::1]"), words),
        database_url=database,
        redis_url=redis_url,
        redis_prefix=get("REDIS_PREFIX", _default_prefix(redis_url), redis_address.parse_prefix),
        firebase_project=get("FIREBASE_PROJECT_ID", None, str),
        firebase_credentials=get("FIREBASE_CREDENTIALS", None, file),
        firebase_emulator=get("FIREBASE_AUTH_EMULATOR_HOST", None, str),
        trusted_proxies=get("TRUSTED_PROXIES", (), networks),
        proxy_protocol=get("PROXY_PROTOCOL", False, boolean),
        staff=StaffOrigin(get("STAFF_HOST", None, staff_host), get("STAFF_PORT", None, integer(1, 65_535))),
        cookie_prefix=get("COOKIE_PREFIX", "", cookie_prefix(debug)),
        cors_origins=get("CORS_ORIGINS", (), origins),
        rate_limit=get("RATE_LIMIT", RatePolicy(), RatePolicy.parse),
        gateway_config=get("GATEWAY_CONFIG", None, file),
        secrets_from=secrets_from,
        secret_directories=secret_directories or (DEFAULT_DIRECTORY,),
        max_body_bytes=get("MAX_BODY_BYTES", 10 * 1024 * 1024, integer(0, 1 << 40)),
        max_connections_per_client=get("MAX_CONNECTIONS_PER_CLIENT", 1_000, limit),
        log_format=get("LOG_FORMAT", "console" if debug else "json", one_of("json", "console")),
        access_log=get("ACCESS_LOG", True, boolean),
        traces=telemetry.read(environment, faults),
        host=get("HOST", "127.0.0.1", str),
        port=get("PORT", 8000, integer(1, 65_535)),
        workers=get("WORKERS", 1, integer(1, 256)),
        drain_seconds=get("DRAIN_SECONDS", 0 if debug else 5, integer(0, 3_600)),
        grace_seconds=get("GRACE_SECONDS", 30, integer(1, 86_400)),
        var=var,
        environment=dict(environment),
    )
    faults += _contradictions(config)
    if faults:
        raise ConfigurationFault(faults)
    return config


def _contradictions(config: Config) -> list[str]:
    faults = []
    if not config.secret_key:
        faults.append("SECRET_KEY: must be set unless DEBUG is on")
    elif len(config.secret_key) < MIN_SECRET_KEY and not config.debug:
        faults.append(f"SECRET_KEY: must have at least {MIN_SECRET_KEY} characters unless DEBUG is on")
    if config.firebase_emulator and not config.debug:
        faults.append("FIREBASE_AUTH_EMULATOR_HOST: not allowed unless DEBUG is on: the emulator accepts forged tokens")
    if config.firebase_emulator and not config.firebase_project:
        faults.append("FIREBASE_AUTH_EMULATOR_HOST: requires FIREBASE_PROJECT_ID")
    if config.proxy_protocol and not config.trusted_proxies:
        faults.append("PROXY_PROTOCOL: requires TRUSTED_PROXIES")
    if config.staff.port == config.port:
        faults.append("STAFF_PORT: must not be PORT")
    if config.workers > 1 and config.redis_url is None:
        faults.append("WORKERS: more than one requires REDIS_URL: without it, workers share no state")
    return faults


def _state_directory(database: str) -> Path:
    """The directory of a database file; VAR for any other database."""
    parts = urlsplit(database)
    is_file = parts.scheme == "sqlite" and ":memory:" not in database and len(parts.path) > 1
    return Path(unquote(parts.path[1:])).parent if is_file else VAR


def _generated_secret(var: Path) -> str:
    """A secret key generated once for this database, so that sessions survive a restart under DEBUG."""
    path = var / "secret_key"
    if not path.exists():
        var.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


def _redis(text: str) -> str:
    if text != EMBEDDED:
        if "://" not in text:
            raise ValueError(f"must be `{EMBEDDED}` or a URL with one of the schemes {', '.join(SCHEMES)}")
        redis_address.parse(text)
    return text


def _default_prefix(url: str | None) -> str:
    return DEFAULT_PREFIX if url is None or url == EMBEDDED else redis_address.parse(url).default_prefix
