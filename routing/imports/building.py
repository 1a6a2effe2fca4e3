"""The parts of this gateway's configuration that all imports make: services, targets, patterns, rates."""

import re
from fractions import Fraction
from math import gcd, lcm
from typing import Any, Final
from urllib.parse import urlsplit

from routing.configuration.decode import RESERVED, VERSION
from routing.configuration.faults import ConfigurationError, Path
from routing.configuration.values import SUPPORTED_METHODS, host_name, pattern
from routing.imports.report import Report
from routing.router.policy import HOST, NAME

MAX_WEIGHT: Final = 1_000
DAY_SECONDS: Final = 86_400
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]+")

ImportedSettings = dict[str, Any]


class Services:
    """The services of the new configuration, by name."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.found: dict[str, ImportedSettings] = {}

    def add(self, wanted: str, path: Path, service: ImportedSettings) -> str:
        """The name that it has got: letters, digits, `-` and `_`, and unique."""
        stem = _OTHER.sub("-", wanted).strip("-_")[:60]
        stem = stem if stem[:1].isalpha() else f"service-{stem}".strip("-")
        name, number = stem, 2
        while name in self.found or name in RESERVED or NAME.fullmatch(name) is None:
            name, number = f"{stem[:55]}-{number}", number + 1
        if name != wanted:
            self._report.changed(path, f"the service is called {name}")
        self.found[name] = service
        return name

    def document(self) -> dict[str, Any]:
        return {"version": VERSION, "services": {name: compact(item) for name, item in self.found.items()}}


def compact(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without empty ones. None is a value: it stands for `off`."""
    return {key: value for key, value in settings.items() if value not in ({}, [], ())}


def target(url: str, path: Path, report: Report, prefix: str = "") -> dict[str, Any] | None:
    """A target, or None with a note if the address is none. A password in it is left out."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    name = parts.hostname or ""
    if parts.scheme not in ("http", "https") or HOST.fullmatch(name) is None or "{" in url or "$" in url:
        report.left_out(path, "is no address with http or https")
        return None
    if parts.username is not None or parts.password is not None:
        report.left_out(path, "the address has a user and a password: set headers: {Authorization: …} of the service")
    if parts.query or parts.fragment:
        report.left_out(path, "the address has a query, which a target cannot have")
    host = f"[{name}]" if ":" in name else name
    place = host if port is None else f"{host}:{port}"
    return {"url": f"{parts.scheme}://{place}{parts.path.rstrip('/')}{prefix.rstrip('/')}"}


def weighted(targets: list[tuple[dict[str, Any], float]]) -> list[dict[str, Any]]:
    """Targets with weights in the smallest whole numbers of the same ratio, up to 1000. Each is listed once."""
    sums: dict[str, float] = {}
    for found, weight in targets:
        sums[found["url"]] = sums.get(found["url"], 0) + weight
    targets = [({"url": url}, weight) for url, weight in sums.items()]
    weights = [Fraction(max(weight, 0)).limit_denominator(MAX_WEIGHT) for _, weight in targets]
    common = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * common) for weight in weights]
    divisor = gcd(*whole) or 1
    largest = max(whole, default=0)
    if largest // divisor > MAX_WEIGHT:
        shares = [max(1, round(number * MAX_WEIGHT / largest)) if number else 0 for number in whole]
    else:
        shares = [number // divisor for number in whole]
    if len(set(shares)) <= 1:
        return [found for found, _ in targets]
    return [{**found, "weight": share} for (found, _), share in zip(targets, shares, strict=True)]


def rate(requests: float, seconds: float, path: Path, report: Report) -> str | None:
    """`100/m`; None, with a note, if it is no rate that this gateway knows."""
    if requests <= 0 or seconds <= 0:
        return None
    if requests != int(requests):
        scaled = Fraction(requests).limit_denominator(1_000)
        requests, seconds = scaled.numerator, seconds * scaled.denominator
    units = {1: "s", 60: "m", 3_600: "h", DAY_SECONDS: "d"}
    if seconds > DAY_SECONDS:
        report.left_out(path, "a rate's window is at most a day; for longer ones see quotas of plans")
        return None
    if seconds in units:
        return f"{int(requests)}/{units[int(seconds)]}"
    if seconds == int(seconds) and seconds < 10_000:
        return f"{int(requests)}/{int(seconds)}s"
    report.left_out(path, "a rate's window is in whole seconds")
    return None


def route_pattern(path_text: str, path: Path, report: Report, *, is_prefix: bool = False) -> str | None:
    """A route's pattern; None, with a note, if this gateway has none for it."""
    text = path_text.rstrip("/") or "/"
    if is_prefix:
        text = "/*" if text == "/" else f"{text}/*"
    try:
        return str(pattern(text))
    except ValueError as fault:
        report.left_out(path, f"no pattern of a route: {fault}")
        return None


def methods(names: list[str], path: Path, report: Report) -> list[str] | None:
    """A route's methods, none for any; None, with a note, if none of those that are listed is supported."""
    listed = list(dict.fromkeys(name.upper() for name in names))
    supported = [name for name in listed if name in SUPPORTED_METHODS]
    if supported != listed:
        report.left_out(path, "methods that are not supported here")
    return supported if supported or not listed else None


def host(name: str, path: Path, report: Report) -> str | None:
    """A service's host; None, with a note, for a wildcard and the like."""
    try:
        return host_name(name.rpartition(":")[0] if name.count(":") == 1 else name)
    except (ValueError, ConfigurationError):
        report.left_out(path, "a service's host is one name, without a wildcard")
        return None


def seconds_of(text: object) -> float | None:
    """The seconds of a duration as Go writes it, `1m30s`, or of a number of seconds; None for anything else."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str):
        return None
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return float(text)
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * units[unit] for number, unit in parts)


def duration(seconds: float) -> str:
    """A duration of the configuration."""
    number, unit = (seconds, "s") if seconds >= 1 or seconds == 0 else (seconds * 1_000, "ms")
    return f"{number:.6f}".rstrip("0").rstrip(".") + unit
