"""The servers of an OpenAPI document as a service's target."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from routing.configuration.faults import ConfigurationError, Fault

_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")


def first_server(structure: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The address of the first server, without a slash at its end, and warnings. Raises ConfigurationError.

    Only the first: others are commonly those of other environments, among which requests must not be balanced.
    """
    servers = structure.get("servers")
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], dict):
        raise ConfigurationError([Fault(("servers",), "the document names no server to make a target of")])
    address = _address(servers[0])
    others = [str(server.get("url"))[:100] for server in servers[1:] if isinstance(server, dict)]
    warnings = (f"of the servers only the first is the target, not {', '.join(others)}",) if others else ()
    return address, warnings


def _address(server: dict[str, Any]) -> str:
    variables = server.get("variables")
    known = variables if isinstance(variables, dict) else {}

    def default(found: re.Match[str]) -> str:
        variable = known.get(found[1])
        if not isinstance(variable, dict) or variable.get("default") is None:
            raise ConfigurationError([Fault(("servers", 0, "url"), f"the variable {found[0][:60]} has no default")])
        return str(variable["default"])

    address = _VARIABLE.sub(default, str(server.get("url") or "")).rstrip("/")
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = f"{address[:100]!r} is not an address with http or https, and so no target"
        raise ConfigurationError([Fault(("servers", 0, "url"), message)])
    return address
