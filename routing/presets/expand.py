"""Puts the own settings of a service or webhook on top of those of its preset. Pure, apart from reading presets."""

from collections.abc import Iterable
from typing import Any, Final

from routing.presets import shipped

PRESET: Final = "preset"
_UNSET: Final[tuple[object, ...]] = (None, [], (), {})
_FIELDS: Final = "headers"
"""Its keys are names of header fields, which do not distinguish case."""
_OF_CONNECTED_ACCOUNTS: Final = frozenset({"authorize_url", "authorize_params", "revoke_url"})
"""Keys of `oauth2` for the grant of accounts that people connect."""


def expand_all(structure: dict[str, Any]) -> dict[str, Any]:
    """A valid document without presets: each service and webhook has all its settings."""
    services = {name: expand(item) for name, item in structure["services"].items()}
    webhooks = {name: expand_webhook(item) for name, item in structure.get("webhooks", {}).items()}
    return {**structure, "services": services} | ({"webhooks": webhooks} if webhooks else {})


def expand(settings: Any) -> Any:
    """A service's settings with those of its preset, without the key `preset`; as they are, where it has none.

    Mappings are merged key by key: the service's own value takes precedence, and null removes the preset's. Any other
    value is replaced. Its own routes come before the preset's; one with the path and methods of a preset's route
    is merged with it. A preset that does not exist stays as it is, to be reported when the settings are parsed.
    """
    name = settings.get(PRESET) if isinstance(settings, dict) else None
    if name not in shipped.names():
        return settings
    found = shipped.preset(name)
    base = found.service
    if found.credential is not None and isinstance(settings.get("credential"), dict):
        base = {**base, "credential": _completing(found.credential, settings["credential"])}
    own = {key: value for key, value in settings.items() if key != PRESET}
    targets, routes = (own.pop(key, None) for key in ("targets", "routes"))
    merged = _merge(base, own)
    if targets not in _UNSET:
        merged["targets"] = targets
    if routes not in _UNSET and not isinstance(routes, list | tuple):
        merged["routes"] = routes  # a fault that is reported when it is decoded
    else:
        merged["routes"] = _merge_routes(base.get("routes", ()), routes or ())
    return merged


def expand_webhook(settings: Any) -> Any:
    """A webhook's settings with those of its preset, in the same way."""
    name = settings.get(PRESET) if isinstance(settings, dict) else None
    base = shipped.preset(name).webhook if isinstance(name, str) and name in shipped.names() else None
    return settings if base is None else _merge(base, {key: item for key, item in settings.items() if key != PRESET})


def _completing(credential: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The preset's credential, as it completes a service's own: for a service account, or, where the service has a
    client without a key to sign with, for accounts that are connected.
    """
    oauth2, given = dict(credential["oauth2"]), own.get("oauth2")
    keys = given if isinstance(given, dict) else {}
    if oauth2["grant"] == "jwt_bearer" and "client_id" in keys and not {"service_account", "private_key"} & keys.keys():
        oauth2["grant"] = "refresh_token"
    if keys.get("grant", oauth2["grant"]) != "refresh_token":
        oauth2 = {key: value for key, value in oauth2.items() if key not in _OF_CONNECTED_ACCOUNTS}
    return {**credential, "oauth2": oauth2}


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        inherited = base.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            merged[key] = _merge_fields(inherited, value) if key == _FIELDS else _merge(inherited, value)
        elif value is None:
            merged.pop(key, None)
        elif value not in _UNSET or key not in base:
            merged[key] = value
    return merged


def _merge_fields(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    replaced = {name.lower() for name in own}
    kept = {name: value for name, value in base.items() if name.lower() not in replaced}
    return kept | {name: value for name, value in own.items() if value is not None}


def _merge_routes(base: Iterable[dict[str, Any]], own: Iterable[Any]) -> list[Any]:
    inherited = {_identity(route): route for route in base}
    merged = []
    for route in own:
        preset_route = inherited.pop(_identity(route), None) if isinstance(route, dict) else None
        merged.append(route if preset_route is None else _merge(preset_route, _without_defaults(route)))
    return [*merged, *inherited.values()]


def _identity(route: dict[str, Any]) -> tuple[str, frozenset[str]]:
    methods = route.get("methods")
    return str(route.get("path")), frozenset(map(str, methods)) if isinstance(methods, list | tuple) else frozenset()


def _without_defaults(route: dict[str, Any]) -> dict[str, Any]:
    """A route without the defaults that the database writes out for what is not set."""
    return {key: value for key, value in route.items() if value is not False or key != "idempotency"}
