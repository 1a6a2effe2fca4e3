"""The page of the configuration file's keys: what each accepts, its default, and its example.

What a key accepts is asked of its parser. Defaults are those of the policies. Examples, with their explanations, are
the lines of docs/gateway.example.yaml.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway_project.reference import defaults
from gateway_project.reference.defaults import Defaults
from gateway_project.reference.markdown import block, code, page, table, text
from gateway_project.reference.probing import Accepted, probe
from routing.alerts.policy import Alert
from routing.authentication.issuer_policy import Issuer
from routing.configuration.alerts import alert_parsers
from routing.configuration.consumers import PARSERS
from routing.configuration.decode import route_parsers, service_parsers
from routing.configuration.issuers import issuer_parsers
from routing.configuration.sections import setting_parsers
from routing.configuration.values import ValueParser
from routing.configuration.webhooks import webhook_parsers
from routing.router.policy import PathPolicy, Target
from routing.router.thresholds import Thresholds
from routing.webhooks.policy import Webhook

_INTRODUCTION: Final = """\
What every key of the [configuration file](../configuration.md) accepts, and its default. This page is written by the
file's own parsers, so it describes the version that it comes with. The examples are those of
[gateway.example.yaml](../gateway.example.yaml). A file has `version: 1` and any of the sections below. A duration that
is a number is in seconds."""
_ROUTES: Final = """\
A route has the keys of this table and all [settings of services and routes](#settings-of-services-and-routes). What it
does not set, it inherits from its service: sections such as `cache` and `timeout` key by key, anything else whole."""
_SETTINGS: Final = "Each of these may be set on a service and on any of its routes."
_TARGET: Final = {**defaults.of_record(Target), "enabled": True}
"""A disabled target is stored with weight 0."""
_ELSEWHERE: Final = {
    "cache": "caching.md",
    "breaker": "resilience.md#the-circuit",
    "cors": "browsers.md#pages-of-other-origins-cors",
    "credential": "credentials.md",
    "fallback": "resilience.md#fallback",
    "headers": "configuration.md#secrets",
    "hold_off": "resilience.md#limits-of-the-backend",
    "identity": "identities.md#what-a-backend-receives",
    "ip": "keys.md#networks",
    "labels": "configuration.md#labels",
    "outbound": "resilience.md#limits-of-the-backend",
    "outcome": "resilience.md#what-a-response-means",
    "preset": "configuration.md#presets",
    "price": "metering.md#prices",
    "request_log": "requests.md#what-is-recorded",
    "retries": "resilience.md#retries",
    "signature": "signatures.md#what-must-be-signed",
    "status_page": "status-page.md#which-services-are-listed",
    "slo": "alerts.md#service-level-objectives",
    "targets": "resilience.md#targets",
    "thresholds": "incidents.md#thresholds",
    "timeout": "resilience.md#time-limits",
}
"""The pages that describe a setting at length."""


def configuration_page(example: str) -> str:
    """`example` is the text of gateway.example.yaml."""
    shared, policy = setting_parsers(_any_secret), defaults.of_policy()
    services = {name: parser for name, parser in service_parsers(_any_secret).items() if name not in shared}
    routes = {name: parser for name, parser in route_parsers(_any_secret).items() if name not in shared}
    own = {"targets": _TARGET, "paths": PathPolicy(), "thresholds": Thresholds(), "hosts": ()}
    own |= {"enabled": True, "status_page": False}
    return page(
        "Configuration keys",
        _INTRODUCTION,
        "## Services",
        *(_setting(name, parser, own, example) for name, parser in services.items()),
        "## Routes",
        _ROUTES,
        _table(_probed(routes), {**policy, "methods": ()}),
        "## Settings of services and routes",
        _SETTINGS,
        *(_setting(name, parser, policy, example) for name, parser in shared.items()),
        *_sections(example),
    )


def _sections(example: str) -> Iterator[str]:
    """The sections of the file besides its services."""
    sections: dict[str, tuple[Mapping[str, ValueParser], Any]] = {
        "webhooks": (webhook_parsers(_any_secret), Webhook),
        "plans": (PARSERS["plans"], None),
        "teams": (PARSERS["teams"], None),
        "consumers": (PARSERS["consumers"], None),
        "issuers": (issuer_parsers(_any_secret), Issuer),
        "alerts": (alert_parsers(_any_secret), Alert),
    }
    for name, (parsers, record) in sections.items():
        yield f"## {name.capitalize()}"
        yield _table(_probed(parsers), defaults.of_record(record))
        yield block("yaml", example_lines(example, name, indent=0))


def _setting(name: str, parser: ValueParser, values: Defaults, example: str) -> str:
    accepted = probe(parser)
    default = _default(values, name, accepted)
    parts = [f"### {code(name)} {{ #{name} }}", f"Accepts {text(accepted.words)}."]
    if default:
        parts[-1] += f" Default: {code(default)}."
    if name in _ELSEWHERE:
        parts[-1] += f" See {_link(_ELSEWHERE[name])}."
    if accepted.keys:
        parts.append(_table(accepted.keys, defaults.of_record(values.get(name))))
    lines = example_lines(example, name, indent=4)
    return "\n\n".join([*parts, block("yaml", lines)] if lines else parts)


def _link(target: str) -> str:
    """A link to a page, or to a heading of one, that is named as the target is."""
    page_name, _, heading = target.partition("#")
    return f"[{(heading or page_name.removesuffix('.md')).replace('-', ' ')}](../{target})"


def _default(values: Defaults, name: str, accepted: Accepted) -> str:
    """As the file writes it, or `unset`; empty if the code has none, or one for each key of a section."""
    if name not in values or accepted.keys:
        return ""
    return defaults.display(values[name], accepted.words)


def _table(keys: Mapping[str, Accepted], values: Defaults) -> str:
    return table(("key", "accepts", "default"), _rows(keys, values, ""))


def _rows(keys: Mapping[str, Accepted], values: Defaults, prefix: str) -> Iterator[tuple[str, str, str]]:
    """A row for each key, and below it one for each key within it, such as `key.query.sort`."""
    for name, accepted in keys.items():
        yield code(prefix + name), text(accepted.words), code(_default(values, name, accepted))
        yield from _rows(accepted.keys, defaults.of_record(values.get(name)), f"{prefix}{name}.")


def _probed(parsers: Mapping[str, ValueParser]) -> dict[str, Accepted]:
    return {name: probe(parser) for name, parser in parsers.items()}


def example_lines(example: str, key: str, *, indent: int) -> str:
    """The lines of `key` where it stands at this indentation first, without the indentation; empty if it does not.

    Lines that are indented deeper belong to it. A key may be commented out.
    """
    lines = example.splitlines()
    is_key = re.compile(rf" {{{indent}}}(?:# )?{key}:").match
    first = next((number for number, line in enumerate(lines) if is_key(line)), None)
    if first is None:
        return ""
    end = next((n for n in range(first + 1, len(lines)) if not lines[n].startswith(" " * (indent + 1))), len(lines))
    return "\n".join(line[indent:] for line in lines[first:end])


def _any_secret(name: str) -> str:
    """A stand-in for every secret: the page describes the file alone."""
    return name
