"""The targets of a service. No Django."""

from typing import Any

from msgspec.structs import replace

from routing.configuration.faults import Faults
from routing.configuration.sections import build
from routing.configuration.tls_section import tls
from routing.configuration.values import SecretLookup, ValueParser, boolean, integer, number, parse_mapping, string
from routing.presets.expand import PRESET
from routing.router.policy import Target
from routing.tls.policy import TlsPolicy


def target_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of a target, in canonical order."""
    return {
        "url": string,
        "weight": integer(0, 1_000),
        "canary": number(0, 100),
        "enabled": boolean,
        "always_up": boolean,
        "tls": tls(secret),
    }


def decode_target(value: object, secret: SecretLookup) -> Target:
    """One target. A disabled one gets weight 0: it stays listed, but receives no calls."""
    faults = Faults()
    settings = parse_mapping(value, target_parsers(secret), faults, null_is_default=True)
    faults.raise_if_any()
    if "url" not in settings:
        raise ValueError("a target needs a url")
    weight = settings.get("weight", 1) if settings.pop("enabled", True) else 0
    target: Target = build(Target, {**settings, "weight": weight})
    return target


def check_targets(settings: dict[str, Any], faults: Faults) -> None:
    targets = settings.get("targets", ())
    if not targets and not any(fault.path[:1] in (("targets",), (PRESET,)) for fault in faults.found):
        faults.add((), "a service needs at least one target")
    known: set[str] = set()
    for index, target in enumerate(targets):
        if target.url in known:
            faults.add(("targets", index), "duplicate target")
        known.add(target.url)


def with_tls(targets: tuple[Target, ...], base: TlsPolicy | None) -> tuple[Target, ...]:
    """The targets of a service with these settings, each with its own on top of them."""
    if base is None:
        return targets
    return tuple(
        replace(target, tls=base if target.tls is None else target.tls.over(base)) if target.is_https else target
        for target in targets
    )
