"""CORS as the imported products have it, as settings of this gateway."""

from collections.abc import Mapping
from typing import Any, Final

from routing.configuration.faults import Path
from routing.configuration.values import SUPPORTED_METHODS
from routing.imports.building import duration
from routing.imports.report import Report, Section
from routing.messages.origins import ANY, origin_pattern

MAX_AGE_SECONDS: Final = 86_400


def read_cors(item: Section, keys: Mapping[str, str], max_age: float | None) -> dict[str, Any] | None:
    """The settings; None, with notes, if no origin has a counterpart.

    `keys` has the product's names for `origins`, `methods`, `headers`, `expose` and `credentials`. No origins are all.
    `max_age` is seconds.
    """
    report, wanted = item.report, item.texts(keys["origins"]) or [ANY]
    origins = [found for each in wanted if (found := _origin(each, (*item.path, keys["origins"]), report)) is not None]
    settings: dict[str, Any] = {"origins": list(dict.fromkeys(origins))}
    settings["methods"] = _methods(item, keys["methods"])
    headers, exposed = item.texts(keys["headers"]), item.texts(keys["expose"])
    settings["headers"] = [] if ANY in headers else list(dict.fromkeys(headers))
    if ANY in exposed:
        report.left_out((*item.path, keys["expose"]), "list the fields in cors: {expose: …}")
    settings["expose"] = [each for each in dict.fromkeys(exposed) if each != ANY]
    if item.take(keys["credentials"]) is True:
        if ANY in origins:
            report.left_out((*item.path, keys["credentials"]), "only listed origins may have credentials")
        else:
            settings["credentials"] = True
    if max_age is not None:
        settings["max_age"] = duration(min(max(max_age, 0), MAX_AGE_SECONDS))
    return {key: value for key, value in settings.items() if value != []} if origins else None


def _methods(item: Section, key: str) -> list[str]:
    """The methods; empty for any."""
    listed = list(dict.fromkeys(each.upper() for each in item.texts(key)))
    for each in listed:
        if each not in (ANY, *SUPPORTED_METHODS):
            item.report.left_out((*item.path, key), f"{each[:40]} is no method here")
    return [] if ANY in listed else [each for each in listed if each in SUPPORTED_METHODS]


def _origin(text: str, path: Path, report: Report) -> str | None:
    try:
        return origin_pattern(text.removesuffix("/"))
    except ValueError:
        report.left_out(
            path, "one of the origins has no counterpart: write https://app.example.com or https://*.example.com"
        )
        return None
