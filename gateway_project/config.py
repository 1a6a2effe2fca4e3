"""The static configuration, read from the environment: the only reader of `os.environ`.

Immutable and validated; all faults are reported at once.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gateway_project.environment import (
    alerts,
    certificates,
    countries,
    firebase,
    installation,
    metering,
    portal,
    redis_server,
    server,
    telemetry,
)
from gateway_project.environment.extras import missing_extra
from gateway_project.environment.firebase import Firebase
from gateway_project.environment.generated_secrets import demonstration_secret, generated_secret, stored_secret
from gateway_project.environment.installation import default_database, directory_of
from gateway_project.environment.metering import Metering
from gateway_project.environment.portal import PortalSettings
from gateway_project.environment.redis_server import EMBEDDED
from gateway_project.environment.server import ServerSettings
from gateway_project.environment.sign_in import read_sign_in, sign_in_faults
from gateway_project.environment.telemetry import Traces
from gateway_project.environment.values import (
    Network,
    boolean,
    cookie_prefix,
    database_url,
    directory,
    file,
    integer,
    issuers,
    networks,
    one_of,
    origins,
    staff_host,
    words,
)
from metrics.alerts.settings import AlertSettings
from metrics.retention import policy as retention
from metrics.retention.policy import Retention
from metrics.sign_in.policy import SignIn
from resilience import redis_address
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.certificates.source import CertificateSource
from routing.authentication.key_form import ENVIRONMENTS
from routing.configuration.headers import FILE
from routing.configuration.secret_files import DEFAULT_DIRECTORY, NO_SOURCES, SecretDirectories, parse_sources
from routing.credentials.cipher import parse_keys
from routing.messages.staff_origin import StaffOrigin

VAR: Final = installation.default_state()
"""The default DATA_DIR: the SQLite database, and the files the gateway creates beside it."""
MIN_SECRET_KEY: Final = 32
"""The fewest characters. Sessions are signed with the key, and a short one can be guessed."""
SERVICE_VARIABLES: Final = "GATEWAY_SECRET_"
"""Variables whose names begin with this may be sent to backends in the services' headers."""
DEMONSTRATION_SECRET: Final = f"{SERVICE_VARIABLES}DEMONSTRATION"


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
    database_connections: int
    """The most connections of each worker to PostgreSQL."""
    redis_url: str | None
    redis_prefix: str
    """What all keys and channels begin with: by default one for each database."""
    firebase: Firebase
    trusted_proxies: tuple[Network, ...]
    cors_origins: tuple[str, ...]
    staff: StaffOrigin
    portal: PortalSettings
    cookie_prefix: str
    """What the names of staff's cookies begin with."""
    rate_limit: RatePolicy
    gateway_config: Path | None
    max_body_bytes: int
    hooks: bool
    """Whether deliveries of webhooks are accepted."""
    status_page: bool
    """Whether strangers see the state of services."""
    log_format: str
    traces: Traces | None
    metering: Metering
    retention: Retention
    """How long rows of growing tables are kept."""
    server: ServerSettings
    var: Path
    """DATA_DIR; by default that of the database file, so that two gateways do not share one."""
    environment: dict[str, str]
    """The whole environment, for the `env:NAME` headers of services. Never logged."""

    sign_in: SignIn | None = None
    """How staff sign in, if not by Django's login alone."""
    issuers: tuple[dict[str, Any], ...] = ()
    """Issuers of tokens, as the configuration file writes them, to be stored at the start."""
    credential_keys: tuple[str, ...] = ()
    """Keys that encrypt tokens of backends at rest: the first encrypts, all decrypt."""
    certificates: CertificateSource | None = None
    client_crl: Path | None = None
    geoip_database: Path | None = None
    """The file in which the countries of addresses are looked up."""
    environment_name: str = ""
    """GATEWAY_ENVIRONMENT: API keys bound to another environment are refused."""
    secrets_from: tuple[str, ...] = ()
    """Names of variables that services may refer to, beside those that begin with GATEWAY_SECRET_."""
    secret_directories: tuple[Path, ...] = (DEFAULT_DIRECTORY,)
    """Directories of files that services may refer to."""
    alerts: AlertSettings = AlertSettings()
    approval: bool = False
    """Whether changes of the configuration wait for another person."""
    trace_url: str = ""
    """Where staff find a trace: the address has the placeholder `{trace_id}`."""

    def __repr__(self) -> str:
        """Without any value: error pages under DEBUG show the settings."""
        return "Config(...)"

    @property
    def redis_server(self) -> str | None:
        """The URL of a running server. rungateway sets that of the embedded one before it serves."""
        return None if self.redis_url == EMBEDDED else self.redis_url

    @property
    def connect_cookie(self) -> str:
        """The cookie of a browser that connects an account: the authorization must return to the same browser."""
        return f"{self.cookie_prefix}connect"

    def secret(self, name: str) -> str | None:
        """The value of `env:NAME` or `file:PATH` in a service's headers, or None if the variable is not set.

        `name` is a variable's name, or `file:PATH`. Raises ValueError for a variable or a file that is not meant for
        services, such as SECRET_KEY, and UnresolvedSecret for a file that cannot be read.
        """
        if name.startswith(FILE):
            own = () if self.firebase.credentials is None else (self.firebase.credentials,)
            return SecretDirectories(self.secret_directories, own).read(name.removeprefix(FILE))
        if not name.startswith(SERVICE_VARIABLES) and name not in self.secrets_from:
            raise ValueError(
                f"env:{name} is not allowed: rename it {SERVICE_VARIABLES}{name}, or list it in SECRETS_FROM"
            )
        return self.environment.get(name)


class Variables:
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

    def from_file(self, name: str, state: Path, *, is_made: bool) -> str:
        """The secret key in the state directory, made if there is none and `is_made`; "" if there is none."""
        try:
            return generated_secret(state) if is_made else stored_secret(state)
        except OSError as error:
            self._faults.append(f"{name}: {error.filename}: {error.strerror}; set DATA_DIR to a directory of your own")
            return ""


def locate(environment: Mapping[str, str]) -> tuple[Path, str]:
    """Where the gateway's files are, and the URL of its database, before the whole environment is read.

    Raises ConfigurationFault.
    """
    faults: list[str] = []
    get = Variables(environment, faults).get
    data_dir = get("DATA_DIR", None, directory)
    database = get("DATABASE_URL", default_database(data_dir or VAR), database_url)
    if faults:
        raise ConfigurationFault(faults)
    return data_dir or directory_of(database) or VAR, database


def read(environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration. Raises ConfigurationFault with all faults."""
    faults: list[str] = []
    variables = Variables(environment, faults)
    config = parse(environment, variables, telemetry.read(environment, faults))
    faults += _contradictions(config)
    if faults:
        raise ConfigurationFault(faults)
    return config


def parse(environment: Mapping[str, str], variables: Variables, traces: Traces | None) -> Config:
    """The configuration, with the default of each variable that is invalid."""
    get = variables.get
    debug = get("DEBUG", False, boolean)
    data_dir = get("DATA_DIR", None, directory)
    database = get("DATABASE_URL", default_database(data_dir or VAR), database_url)
    var = data_dir or directory_of(database) or VAR
    redis_url = get("REDIS_URL", None, redis_server.parse)
    secrets_from, secret_directories = get("SECRETS_FROM", NO_SOURCES, parse_sources)
    secret_key = environment.get("SECRET_KEY", "") or variables.from_file("SECRET_KEY", var, is_made=debug)
    staff = StaffOrigin(get("STAFF_HOST", None, staff_host), get("STAFF_PORT", None, integer(1, 65_535)))
    return Config(
        debug=debug,
        secret_key=secret_key,
        allowed_hosts=get("ALLOWED_HOSTS", (".localhost" if debug else "localhost", "127.0.0.1", "[::1]"), words),
        database_url=database,
        database_connections=get("DATABASE_CONNECTIONS", 10, integer(2, 1_000)),
        redis_url=redis_url,
        redis_prefix=get("REDIS_PREFIX", redis_server.default_prefix(redis_url), redis_address.parse_prefix),
        firebase=firebase.read(get),
        trusted_proxies=get("TRUSTED_PROXIES", (), networks),
        certificates=certificates.read(get),
        client_crl=certificates.read_revocations(get),
        geoip_database=countries.read(get),
        staff=staff,
        portal=portal.read(get, staff),
        sign_in=read_sign_in(environment, get),
        cookie_prefix=get("COOKIE_PREFIX", "", cookie_prefix(debug)),
        cors_origins=get("CORS_ORIGINS", (), origins),
        rate_limit=get("RATE_LIMIT", RatePolicy(), RatePolicy.parse),
        gateway_config=get("GATEWAY_CONFIG", None, file),
        issuers=get("ISSUERS", (), issuers),
        environment_name=get("GATEWAY_ENVIRONMENT", "", one_of(*ENVIRONMENTS)),
        credential_keys=get("CREDENTIAL_KEYS", (), parse_keys),
        secrets_from=secrets_from,
        secret_directories=secret_directories or (DEFAULT_DIRECTORY,),
        max_body_bytes=get("MAX_BODY_BYTES", 10 * 1024 * 1024, integer(0, 1 << 40)),
        hooks=get("HOOKS", True, boolean),
        status_page=get("STATUS_PAGE", False, boolean),
        approval=get("CONFIG_APPROVAL", False, boolean),
        log_format=get("LOG_FORMAT", "console" if debug else "json", one_of("json", "console")),
        traces=traces,
        trace_url=get("TRACE_URL", "", telemetry.trace_url),
        metering=metering.read(get),
        retention=get("RETENTION", Retention(), retention.parse),
        alerts=alerts.read(get),
        server=server.read(get, debug=debug),
        var=var,
        environment={DEMONSTRATION_SECRET: demonstration_secret(secret_key), **environment},
    )


def _contradictions(config: Config) -> list[str]:
    faults = firebase.faults(config.firebase, debug=config.debug)
    if not config.database_url.lower().startswith("sqlite:"):
        faults += missing_extra("DATABASE_URL", "PostgreSQL", "postgres", "psycopg")
    faults += metering.faults(config.metering, config.secret, debug=config.debug)
    if not config.debug and any(str(item["issuer"]).startswith("http://") for item in config.issuers):
        faults.append("ISSUERS: http is not allowed unless DEBUG is on")
    if not config.secret_key:
        faults.append("SECRET_KEY: must be set unless DEBUG is on")
    elif len(config.secret_key) < MIN_SECRET_KEY and not config.debug:
        faults.append(f"SECRET_KEY: must have at least {MIN_SECRET_KEY} characters unless DEBUG is on")
    if config.server.proxy_protocol and not config.trusted_proxies:
        faults.append("PROXY_PROTOCOL: requires TRUSTED_PROXIES")
    faults += sign_in_faults(config.sign_in, config.secret, debug=config.debug)
    faults += certificates.contradictions(config.certificates, config.environment, config.trusted_proxies)
    if config.staff.port == config.server.port:
        faults.append("STAFF_PORT: must not be PORT")
    faults += portal.contradictions(config.portal)
    faults += alerts.faults(config.alerts)
    if config.server.workers > 1 and config.redis_url is None:
        faults.append("WORKERS: more than one requires REDIS_URL: without it, workers share no state")
    return faults
