"""Kong's plugins as settings of a service or route."""

from collections.abc import Callable
from typing import Final

from routing.imports.building import ImportedSettings, rate
from routing.imports.cors import read_cors
from routing.imports.kong_entities import is_for_consumers
from routing.imports.report import Section

WINDOWS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
ELSEWHERE: Final = {
    "prometheus": "metrics are at /metrics",
    "correlation-id": "every request has an X-Request-ID",
    "opentelemetry": "set OTEL_EXPORTER_OTLP_ENDPOINT",
    "zipkin": "set OTEL_EXPORTER_OTLP_ENDPOINT",
    "request-size-limiting": "set MAX_BODY_BYTES",
    "acl": "access is by scopes and plans",
}
AUTHENTICATION: Final = frozenset(
    {
        "basic-auth",
        "hmac-auth",
        "jwt",
        "key-auth",
        "key-auth-enc",
        "ldap-auth",
        "ldap-auth-advanced",
        "mtls-auth",
        "oauth2",
        "oauth2-introspection",
        "openid-connect",
        "session",
    }
)
"""Plugins that refuse callers: what they protect is never imported as open."""
ANSWERING: Final = frozenset({"aws-lambda", "azure-functions", "mocking"})
"""Plugins that respond in the backend's place: without them, requests would reach what they did not."""
HARMLESS: Final = frozenset(
    {
        *ELSEWHERE.keys() - {"acl"},
        "acme",
        "bot-detection",
        "canary",
        "datadog",
        "file-log",
        "grpc-gateway",
        "grpc-web",
        "http-log",
        "jq",
        "kafka-log",
        "loggly",
        "oas-validation",
        "proxy-cache-advanced",
        "rate-limiting-advanced",
        "request-transformer-advanced",
        "request-validator",
        "response-ratelimiting",
        "response-transformer",
        "response-transformer-advanced",
        "statsd",
        "statsd-advanced",
        "syslog",
        "tcp-log",
        "udp-log",
        "upstream-timeout",
    }
)
"""Kong's own that do not ask who calls. Any other may, such as one of a company: it becomes `auth: required`."""


def read(plugins: list[Section]) -> ImportedSettings:
    """The settings of plugins that are enabled."""
    settings: ImportedSettings = {}
    for plugin in plugins:
        name = plugin.text("name")
        config = plugin.item("config")
        plugin.without_effect("id", "tags", "created_at", "updated_at", "instance_name")
        plugin.default("run_on", "first")
        plugin.default("protocols", *_PROTOCOLS)
        is_enabled = plugin.take("enabled", True) is not False
        is_for_all = not is_for_consumers(plugin)
        plugin.finish()
        if not is_enabled or not is_for_all:
            continue
        if name in AUTHENTICATION:
            _authentication(name, config, settings)
        elif (convert := _CONVERTED.get(name)) is not None:
            convert(config, settings)
            config.finish()
        elif name in ANSWERING:
            settings["enabled"] = False
            text = "it responds in the backend's place: what it applies to is disabled"
            plugin.report.left_out(plugin.path, f"the plugin {name}: {text}")
        elif name in HARMLESS:
            plugin.report.left_out(plugin.path, f"the plugin {name}: {ELSEWHERE.get(name, 'no counterpart')}")
        else:
            settings["auth"] = "required"
            text = ELSEWHERE.get(name, "it may refuse callers, who need a key or a token instead")
            plugin.report.left_out(plugin.path, f"the plugin {name}: {text}")
    return settings


_PROTOCOLS: Final = (["http", "https"], ["grpc", "grpcs", "http", "https"], ["https"], ["http"])


def _authentication(name: str, config: Section, settings: ImportedSettings) -> None:
    settings["auth"] = "required"
    report, path = config.report, config.path[:-1]
    if name == "key-auth":
        names = config.texts("key_names")
        if [each.lower() for each in names] not in ([], ["x-api-key"]):
            report.changed((*config.path, "key_names"), "keys are in X-API-Key, or in Authorization as a Bearer token")
        config.without_effect("hide_credentials", "key_in_header", "run_on_preflight")
        config.default("key_in_query", False, True)
        config.default("key_in_body", False)
        config.default("realm", "Kong")
        config.finish()
    elif name in ("jwt", "openid-connect"):
        report.left_out(
            path, f"the plugin {name}: list the issuer of the tokens in `issuers`; callers need a key until then"
        )
    else:
        report.left_out(path, f"the plugin {name}: callers need a key or a token instead")


def _rate_limiting(config: Section, settings: ImportedSettings) -> None:
    wanted = [(name, config.take(name)) for name in WINDOWS]
    given = [(name, limit) for name, limit in wanted if isinstance(limit, int | float) and not isinstance(limit, bool)]
    for name, _ in given[1:]:
        config.report.left_out((*config.path, name), "one rate holds: quotas of plans count longer periods")
    config.explain("month", "see quotas of plans")
    config.explain("year", "see quotas of plans")
    if given:
        name, limit = given[0]
        found = rate(limit, WINDOWS[name], (*config.path, name), config.report)
        if found is not None:
            settings["rate_limit"] = found
    if config.text("limit_by", "consumer") not in ("consumer", "credential", "ip"):
        config.report.changed((*config.path, "limit_by"), "a rate is for each caller")
    config.without_effect("policy", "fault_tolerant", "hide_client_headers", "sync_rate", "error_code", "error_message")
    for key in ("redis", "redis_host", "redis_port", "redis_password", "redis_username", "redis_database"):
        config.explain(key, "set REDIS_URL")
    for key in ("redis_timeout", "redis_ssl", "redis_ssl_verify", "redis_server_name"):
        config.without_effect(key)


def _cors(config: Section, settings: ImportedSettings) -> None:
    age = config.whole("max_age", 0) if "max_age" in config else None
    cors = read_cors(config, _CORS, age)
    config.default("preflight_continue", False)
    config.default("private_network", False)
    config.default("allow_origin_absent", True)
    if cors is not None:
        settings["cors"] = cors


_CORS: Final = {
    "origins": "origins",
    "methods": "methods",
    "headers": "headers",
    "expose": "exposed_headers",
    "credentials": "credentials",
}


def _ip_restriction(config: Section, settings: ImportedSettings) -> None:
    lists = {
        key: config.texts(key) or config.texts(older) for key, older in (("allow", "whitelist"), ("deny", "blacklist"))
    }
    config.without_effect("status", "message")
    given = {key: found for key, found in lists.items() if found}
    if given:
        settings["ip"] = given
    else:
        settings["enabled"] = False
        config.report.left_out(config.path, "names no address here: what it protects is disabled")


def _proxy_cache(config: Section, settings: ImportedSettings) -> None:
    cache: ImportedSettings = {"ttl": config.whole("cache_ttl", 300)}
    vary = config.texts("vary_headers")
    if vary:
        cache["vary"] = vary
    if config.texts("request_method") not in ([], ["GET", "HEAD"], ["HEAD", "GET"], ["GET"]):
        config.report.changed((*config.path, "request_method"), "GET and HEAD are stored")
    if config.take("cache_control") is not True:
        config.report.changed((*config.path, "cache_control"), "responses that HTTP forbids to store are not stored")
    config.without_effect("strategy", "memory", "storage_ttl", "response_code", "content_type", "response_headers")
    config.default("ignore_uri_case", False)
    config.explain("vary_query_params", "see cache: {key: {query: …}}")
    settings["cache"] = cache


def _request_transformer(config: Section, settings: ImportedSettings) -> None:
    headers: dict[str, str] = {}
    for verb in ("add", "replace"):
        changes = config.item(verb)
        for index, line in enumerate(changes.texts("headers")):
            name, colon, value = line.partition(":")
            place = (*changes.path, "headers", index)
            if "$(" in value:
                config.report.left_out(place, "a value that is computed")
            elif colon:
                headers[name.strip()] = config.report.header(place, name.strip(), value.strip())
        if "uri" in changes:
            changes.take("uri")
            settings["enabled"] = False
            config.report.left_out((*changes.path, "uri"), "paths are not rewritten: what it applies to is disabled")
        changes.finish()
    if headers:
        settings["headers"] = headers


def _termination(config: Section, settings: ImportedSettings) -> None:
    settings["enabled"] = False
    config.report.left_out(config.path[:-1], "the plugin request-termination: what it ends is disabled")
    config.without_effect("status_code", "message", "body", "content_type", "echo", "trigger")


_CONVERTED: Final[dict[str, Callable[[Section, ImportedSettings], None]]] = {
    "rate-limiting": _rate_limiting,
    "cors": _cors,
    "ip-restriction": _ip_restriction,
    "proxy-cache": _proxy_cache,
    "request-transformer": _request_transformer,
    "request-termination": _termination,
}
