"""The static configuration, read from the environment: the only reader of `os.environ`.

Immutable and validated; all faults are reported at once.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

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
    service_secrets,
    telemetry,
)
from gateway_project.environment.extras import missing_extra
from gateway_project.environment.firebase import Firebase
from gateway_project.environment.generated_secrets import demonstration_secret
from gateway_project.environment.installation import default_database, directory_of
from gateway_project.environment.metering import Metering
from gateway_project.environment.portal import PortalSettings
from gateway_project.environment.redis_server import EMBEDDED
from gateway_project.environment.server import ServerSettings
from gateway_project.environment.service_secrets import ServiceSecrets
from gateway_project.environment.sign_in import read_sign_in, sign_in_faults
from gateway_project.environment.telemetry import Traces
from gateway_project.environment.values import (
    Get,
    IPNetwork,
    boolean,
    cookie_prefix,
    database_url,
    directory,
    file,
    hosts,
    integer,
    issuers,
    networks,
    one_of,
    origins,
    staff_host,
)
from gateway_project.environment.variables import ConfigurationFault, Variables, name_faults
from metrics.alerts.settings import AlertSettings
from metrics.retention import policy as retention
from metrics.retention.policy import Retention
from metrics.sign_in.policy import SignIn
from resilience import redis_address
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.certificates.source import CertificateSource
from routing.authentication.key_form import ENVIRONMENTS
from routing.credentials.cipher import parse_keys
from routing.messages.staff_origin import StaffOrigin

VAR: Final = installation.default_state()
"""The default DATA_DIR: the SQLite database, and the files the gateway creates beside it."""
MIN_SECRET_KEY: Final = 32
"""The fewest characters. Sessions are signed with the key, and a short one can be guessed."""


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
    trusted_proxies: tuple[IPNetwork, ...]
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
    service_secrets: ServiceSecrets = ServiceSecrets()
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
        """The secret of a service: as `ServiceSecrets.value`, but never the gateway's own credentials."""
        own = () if self.firebase.credentials is None else (self.firebase.credentials,)
        return self.service_secrets.value(name, self.environment, own)


def locate(environment: Mapping[str, str]) -> tuple[Path, str]:
    """Where the gateway's files are, and the URL of its database, before the whole environment is read.

    Raises ConfigurationFault.
    """
    faults: list[str] = []
    locations = _locations(Variables(environment, faults).get)
    if faults:
        raise ConfigurationFault(faults)
    return locations


def read(environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration. Raises ConfigurationFault with all faults."""
    faults = name_faults(environment)
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
    var, database = _locations(get)
    redis_url = get("REDIS_URL", None, redis_server.parse)
    secret_key = environment.get("SECRET_KEY", "") or variables.from_file("SECRET_KEY", var, is_made=debug)
    staff = StaffOrigin(get("STAFF_HOST", None, staff_host), get("STAFF_PORT", None, integer(1, 65_535)))
    return Config(
        debug=debug,
        secret_key=secret_key,
        allowed_hosts=get("ALLOWED_HOSTS", (".localhost" if debug else "localhost", "127.0.0.1", "[::1]"), hosts),
        database_url=database,
        database_connections=get("DATABASE_CONNECTIONS", 10, integer(2, 1_000)),
        redis_url=redis_url,
        redis_prefix=get("REDIS_PREFIX", redis_server.default_prefix(redis_url), redis_address.parse_prefix),
        trusted_proxies=get("TRUSTED_PROXIES", (), networks),
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
        max_body_bytes=get("MAX_BODY_BYTES", 10 * 1024 * 1024, integer(0, 1 << 40)),
        hooks=get("HOOKS", True, boolean),
        status_page=get("STATUS_PAGE", False, boolean),
        approval=get("CONFIG_APPROVAL", False, boolean),
        log_format=get("LOG_FORMAT", "console" if debug else "json", one_of("json", "console")),
        traces=traces,
        trace_url=get("TRACE_URL", "", telemetry.trace_url),
        var=var,
        environment={service_secrets.DEMONSTRATION: demonstration_secret(secret_key), **environment},
        **_sections(get, debug=debug),
    )


def _locations(get: Get) -> tuple[Path, str]:
    """The state directory, and the URL of the database."""
    data_dir = get("DATA_DIR", None, directory)
    database = get("DATABASE_URL", default_database(data_dir or VAR), database_url)
    return data_dir or directory_of(database) or VAR, database


def _sections(get: Get, *, debug: bool) -> dict[str, Any]:
    """The fields of Config that depend on variables of their own alone."""
    return {
        "firebase": firebase.read(get),
        "certificates": certificates.read(get),
        "client_crl": certificates.read_revocations(get),
        "geoip_database": countries.read(get),
        "service_secrets": service_secrets.read(get),
        "metering": metering.read(get),
        "retention": get("RETENTION", Retention(), retention.parse),
        "alerts": alerts.read(get),
        "server": server.read(get, debug=debug),
    }


def _contradictions(config: Config) -> list[str]:
    faults = firebase.faults(config.firebase, debug=config.debug)
    if not config.database_url.lower().startswith("sqlite:"):
        faults += missing_extra("DATABASE_URL", "PostgreSQL", "postgres", "psycopg")
    faults += metering.faults(config.metering, config.secret, debug=config.debug)
    if not config.debug and any(str(item["issuer"]).startswith("http://") for item in config.issuers):
        faults.append("ISSUERS: http is not allowed unless DEBUG is on")
    if not config.secret_key and not config.debug:
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
