"""Traefik's middlewares as settings of a service or route."""

import re
from collections.abc import Callable
from typing import Any, Final

from resilience.ratelimit.policy import RatePolicy
from routing.configuration.faults import Path
from routing.imports.building import ImportedSettings, duration, rate, seconds_of
from routing.imports.cors import read_cors
from routing.imports.report import Section
from routing.networks import NetworkSet

PROTECTING: Final = ("basicAuth", "digestAuth", "forwardAuth")
"""Middlewares that refuse callers: a route that has one is never imported as open."""
_REWRITES: Final = "paths are not rewritten: what it applies to is disabled"
ELSEWHERE: Final = {
    "buffering": "set MAX_BODY_BYTES",
    "compress": "backends compress, or a proxy ahead",
    "errors": "see fallback",
    "passTLSClientCert": "set CLIENT_CERTIFICATES",
    "redirectRegex": "a proxy ahead redirects",
    "redirectScheme": "a proxy ahead redirects to https",
    "contentType": "no counterpart",
    "grpcWeb": "no counterpart",
    "replacePath": _REWRITES,
    "replacePathRegex": _REWRITES,
    "stripPrefixRegex": _REWRITES,
}
REWRITING: Final = frozenset(kind for kind, text in ELSEWHERE.items() if text == _REWRITES)
"""What makes another path of the client's: without it, requests would reach what they did not."""
MAX_DEPTH: Final = 8
_RATIO: Final = re.compile(
    r"\s*(?:NetworkErrorRatio\(\)|ResponseCodeRatio\(\s*500\s*,\s*600\s*,\s*0\s*,\s*600\s*\))\s*>=?\s*(0?\.[0-9]+)\s*"
)


class Middlewares:
    """Middlewares by name. They are read again for each router, since several may use one."""

    def __init__(self, http: Section) -> None:
        self._report = http.report
        found = http.take("middlewares", {})
        self._values: dict[str, Any] = found if isinstance(found, dict) else {}
        self._unused = set(self._values)

    def settings(self, names: list[str], path: Path) -> ImportedSettings:
        """What they set together, the first of them first."""
        settings: ImportedSettings = {}
        self._collect(names, path, settings, 0)
        return settings

    def _collect(self, names: list[str], path: Path, settings: ImportedSettings, depth: int) -> None:
        for name in names:
            if name not in self._values or depth > MAX_DEPTH:
                fault = f"the middleware {name} is not in this file" if depth <= MAX_DEPTH else "chains of chains"
                self._report.left_out((*path, "middlewares"), fault)
                settings["auth"] = "required"
                continue
            self._unused.discard(name)
            place = ("http", "middlewares", name)
            item = Section(self._values[name], place, self._report)
            chain = item.item("chain")
            names_within = [each.removesuffix("@file") for each in chain.texts("middlewares")]
            chain.finish()
            self._collect(names_within, place, settings, depth + 1)
            _read(item, settings)

    def finish(self) -> None:
        for name in sorted(self._unused):
            self._report.left_out(("http", "middlewares", name), "no router has this middleware")


def _read(item: Section, settings: ImportedSettings) -> None:
    for kind, convert in _CONVERTED.items():
        if kind in item:
            inner = item.item(kind)
            made: ImportedSettings = {}
            convert(inner, made)
            inner.finish()
            _add(settings, made, inner)
    for kind in PROTECTING:
        if kind in item:
            settings["auth"] = "required"
            item.explain(kind, "callers need a key or a token instead")
    for kind in item.names:
        if kind in REWRITING:
            settings["enabled"] = False
        elif kind not in ELSEWHERE:  # `plugin`, and what a later version adds
            settings["auth"] = "required"
        item.explain(kind, ELSEWHERE.get(kind, "it may refuse callers, who need a key or a token instead"))


def _add(settings: ImportedSettings, made: ImportedSettings, item: Section) -> None:
    """Add what a middleware sets. If another one of the router has set it too, a request passes both of them."""
    for key, value in made.items():
        first = settings.setdefault(key, value)
        if first == value:
            continue
        both = _BOTH[key](first, value) if key in _BOTH else value
        settings |= {"enabled": False} if both is None else {key: both}
        if both is None:
            item.report.left_out(item.path, "a router has two that differ: what they apply to is disabled")
        elif key not in _BOTH:
            item.report.left_out(item.path, "a router has two that differ: the last holds")


def _per_second(text: str) -> float:
    policy = RatePolicy.parse(text)
    return policy.limit / policy.window


def _addresses_of_both(first: dict[str, list[str]], second: dict[str, list[str]]) -> dict[str, list[str]] | None:
    """Of two lists that permit addresses, the one within the other. None if neither is, or one is no list of these."""
    try:
        sets = NetworkSet(first["allow"]), NetworkSet(second["allow"])
    except ValueError:
        return None
    if sets[0].covers(sets[1]):
        return second
    return first if sets[1].covers(sets[0]) else None


_BOTH: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "headers": lambda first, second: {**first, **second},
    "prefix": lambda first, second: second + first,
    "max_concurrency": min,
    "rate_limit": lambda first, second: min(first, second, key=_per_second),
    "ip": _addresses_of_both,
    "strip": lambda _first, _second: None,
}
"""What two values of one setting amount to; None if nothing here is the same."""


def _strip(item: Section, settings: ImportedSettings) -> None:
    settings["strip"] = item.texts("prefixes")
    item.default("forceSlash", True, False)


def _add_prefix(item: Section, settings: ImportedSettings) -> None:
    settings["prefix"] = "/" + item.text("prefix").strip("/")


def _rate(item: Section, settings: ImportedSettings) -> None:
    period = seconds_of(item.take("period", "1s")) or 1
    found = rate(item.number("average", 0), period, (*item.path, "average"), item.report)
    if found is not None:
        settings["rate_limit"] = found
    if "burst" in item:
        item.take("burst")
        item.report.changed((*item.path, "burst"), "a sliding window has no burst beside its rate")
    if "sourceCriterion" in item:
        item.take("sourceCriterion")
        item.report.changed(
            (*item.path, "sourceCriterion"), "a rate is for each caller, or address; set TRUSTED_PROXIES"
        )


def _addresses(item: Section, settings: ImportedSettings) -> None:
    allowed = item.texts("sourceRange")
    if allowed:
        settings["ip"] = {"allow": allowed}
    else:
        settings["enabled"] = False
        item.report.left_out(item.path, "names no address here: what it protects is disabled")
    item.without_effect("rejectStatusCode")
    if "ipStrategy" in item:
        item.take("ipStrategy")
        item.report.changed((*item.path, "ipStrategy"), "set TRUSTED_PROXIES")


def _in_flight(item: Section, settings: ImportedSettings) -> None:
    settings["max_concurrency"] = max(item.whole("amount", 1), 1)
    item.report.changed((*item.path, "amount"), "counted for each worker, after the cache")


def _retry(item: Section, settings: ImportedSettings) -> None:
    settings["retries"] = {"attempts": min(max(item.whole("attempts", 1), 1), 10)}
    item.without_effect("initialInterval")


def _breaker(item: Section, settings: ImportedSettings) -> None:
    form = _RATIO.fullmatch(item.text("expression"))
    if form is None:
        item.report.left_out((*item.path, "expression"), "circuits open by failures and slow calls: see breaker")
        item.without_effect("checkPeriod", "fallbackDuration", "recoveryDuration", "responseCode")
        return
    breaker: ImportedSettings = {"failure_rate": float(form[1])}
    if (seconds := seconds_of(item.take("fallbackDuration"))) is not None:
        breaker["open_for"] = duration(seconds)
    item.without_effect("checkPeriod", "recoveryDuration", "responseCode")
    settings["breaker"] = breaker


def _headers(item: Section, settings: ImportedSettings) -> None:
    headers = {}
    sent = item.item("customRequestHeaders")
    for name in sent.names:
        value = sent.take(name)
        if value in (None, ""):
            item.report.left_out((*sent.path, name), "fields of clients are not removed")
        elif isinstance(value, dict | list):
            item.report.left_out((*sent.path, name), "is not a text")
        else:
            headers[name] = item.report.header((*sent.path, name), name, value)
    if headers:
        settings["headers"] = headers
    item.without_effect("addVaryHeader")
    if "accessControlAllowOriginList" in item:
        age = item.whole("accessControlMaxAge", 0) if "accessControlMaxAge" in item else None
        cors = read_cors(item, _CORS, age)
        if cors is not None:
            settings["cors"] = cors


_CORS: Final = {
    "origins": "accessControlAllowOriginList",
    "methods": "accessControlAllowMethods",
    "headers": "accessControlAllowHeaders",
    "expose": "accessControlExposeHeaders",
    "credentials": "accessControlAllowCredentials",
}
_CONVERTED: Final[dict[str, Callable[[Section, ImportedSettings], None]]] = {
    "stripPrefix": _strip,
    "addPrefix": _add_prefix,
    "rateLimit": _rate,
    "ipAllowList": _addresses,
    "ipWhiteList": _addresses,
    "inFlightReq": _in_flight,
    "retry": _retry,
    "circuitBreaker": _breaker,
    "headers": _headers,
}
