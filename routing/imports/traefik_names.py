"""Spellings of Traefik's settings, whose names it reads in any case: `loadbalancer` is `loadBalancer`."""

from typing import Any, Final

_SETTINGS: Final = (
    "accessControlAllowCredentials accessControlAllowHeaders accessControlAllowMethods accessControlAllowOriginList "
    "accessControlAllowOriginListRegex accessControlExposeHeaders accessControlMaxAge addPrefix addVaryHeader amount "
    "attempts average basicAuth buffering burst caFiles certFile certificates chain checkPeriod circuitBreaker "
    "clientAuth clientAuthType compress contentType cookie customRequestHeaders customResponseHeaders digestAuth "
    "disableHTTP2 entryPoints errors expression failover fallback fallbackDuration followRedirects forceSlash "
    "forwardAuth grpcWeb headers healthCheck http inFlightReq initialInterval insecureSkipVerify interval ipAllowList "
    "ipStrategy ipWhiteList keyFile loadBalancer maxIdleConnsPerHost middlewares mirroring mirrors mode name "
    "observability options passHostHeader passTLSClientCert path peerCertURI period plugin prefix prefixes priority "
    "rateLimit recoveryDuration redirectRegex redirectScheme rejectStatusCode replacePath replacePathRegex "
    "responseCode retry rootCAs routers rule ruleSyntax serverName servers serversTransport serversTransports service "
    "services sourceCriterion sourceRange sticky stores strategy stripPrefix stripPrefixRegex tcp timeout tls udp url "
    "weight weighted"
)
_SPELLED: Final = {name.lower(): name for name in _SETTINGS.split()}
_NAMED: Final = frozenset({"routers", "middlewares", "serversTransports", "options", "customRequestHeaders", "plugin"})
"""Mappings whose keys are names that the file's author has chosen. `services` is one where it is no list."""


def spelled(structure: dict[str, Any]) -> dict[str, Any]:
    """The file with its settings as they are documented. Of two spellings of one setting, both are kept."""
    return {name: _value(name, item) for name, item in _renamed(structure).items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [spelled(each) if isinstance(each, dict) else each for each in value]
    if not isinstance(value, dict):
        return value
    if name in _NAMED or name == "services":
        return {key: spelled(item) if isinstance(item, dict) else item for key, item in value.items()}
    return spelled(value)


def _renamed(structure: dict[str, Any]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, item in structure.items():
        name = _SPELLED.get(str(key).lower(), key)
        renamed[key if name in renamed or (name != key and name in structure) else name] = item
    return renamed
