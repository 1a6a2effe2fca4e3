"""Tracing configuration from OpenTelemetry's standard variables. Without an endpoint, tracing is off."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from gateway_project.environment.extras import missing_extra
from routing.messages.identifiers import Sampling

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARG: Final = "OTEL_TRACES_SAMPLER_ARG"
ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
NAME: Final = "OTEL_SERVICE_NAME"
DISABLED: Final = "OTEL_SDK_DISABLED"
MAX_QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
MAX_BATCH: Final = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
TRACE_ID: Final = "{trace_id}"

SUPPORTED_PROTOCOL: Final = "http/protobuf"
DEFAULT_SERVICE_NAME: Final = "intelligence-gateway"
DEFAULT_QUEUE: Final = 2_048
DEFAULT_BATCH: Final = 512
"""The SDK's default."""
PARENTBASED: Final = "parentbased_"
SAMPLERS: Final = ("always_on", "always_off", "traceidratio")


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """`endpoint` is the full URL of the collector; `resource` has the resource attributes. At most `max_waiting` spans
    are in memory.
    """

    endpoint: str
    sampling: Sampling
    resource: dict[str, str]
    max_waiting: int


def read(environment: Mapping[str, str], faults: list[str]) -> Traces | None:
    """The configuration, or None if tracing is off. Appends what is invalid to `faults`."""
    variables = {name: text.strip() for name, text in environment.items() if name.startswith("OTEL_") and text.strip()}
    endpoint = variables.get(TRACES_ENDPOINT) or _traces_url(variables.get(ENDPOINT, ""))
    if not endpoint or variables.get(DISABLED, "").lower() == "true" or variables.get(EXPORTER) == "none":
        return None
    source = TRACES_ENDPOINT if variables.get(TRACES_ENDPOINT) else ENDPOINT
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        faults.append(f"{source}: must be an http:// or https:// URL")
    if variables.get(EXPORTER, "otlp") != "otlp":
        faults.append(f"{EXPORTER}: {variables[EXPORTER]!r} is not one of otlp, none")
    protocols = {name: variables[name] for name in (PROTOCOL, TRACES_PROTOCOL) if name in variables}
    faults += [
        f"{name}: {value!r} is not supported, only {SUPPORTED_PROTOCOL}"
        for name, value in protocols.items()
        if value != SUPPORTED_PROTOCOL
    ]
    faults += missing_extra(source, "tracing", "otel", "opentelemetry.sdk.trace", "opentelemetry.exporter.otlp")
    return Traces(
        endpoint=endpoint,
        sampling=_sampling(variables, faults),
        resource=_resource(variables, faults),
        max_waiting=_max_waiting(variables, faults),
    )


def trace_url(text: str) -> str:
    """The address of a trace, with a placeholder for its id."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("must be an http:// or https:// URL without a user")
    if text.count(TRACE_ID) != 1 or TRACE_ID in parts.netloc or not text.isascii() or not text.isprintable():
        raise ValueError(f"must contain {TRACE_ID} once, in its path, query or fragment")
    return text


def _traces_url(base: str) -> str:
    return f"{base.rstrip('/')}/v1/traces" if base else ""


def _sampling(variables: Mapping[str, str], faults: list[str]) -> Sampling:
    name = variables.get(SAMPLER) or f"{PARENTBASED}always_on"
    kind = name.removeprefix(PARENTBASED)
    if kind not in SAMPLERS:
        faults.append(f"{SAMPLER}: {name!r} is not one of {', '.join(SAMPLERS)}, or one of them after {PARENTBASED}")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind)
    if ratio is None:
        ratio = _ratio(variables.get(SAMPLER_ARG, ""), faults)
    return Sampling(ratio=ratio, parent_based=name.startswith(PARENTBASED))


def _ratio(text: str, faults: list[str]) -> float:
    try:
        ratio = float(text or 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        faults.append(f"{SAMPLER_ARG}: {text!r} is not a number from 0 to 1")
        return 1.0
    return ratio


def _max_waiting(variables: Mapping[str, str], faults: list[str]) -> int:
    """The SDK refuses a batch that is larger than the queue, with an exception."""
    queue = _positive(MAX_QUEUE, DEFAULT_QUEUE, variables, faults)
    batch = _positive(MAX_BATCH, DEFAULT_BATCH, variables, faults)
    if batch > queue:
        faults.append(f"{MAX_QUEUE}: {queue} is less than {MAX_BATCH}, which is {batch}")
    return queue


def _positive(name: str, default: int, variables: Mapping[str, str], faults: list[str]) -> int:
    text = variables.get(name, str(default))
    if not text.isdecimal() or not int(text):
        faults.append(f"{name}: {text!r} is not a positive integer")
        return default
    return int(text)


def _resource(variables: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """OTEL_RESOURCE_ATTRIBUTES is `key=value,key=value`, percent-encoded; OTEL_SERVICE_NAME takes precedence."""
    pairs = [pair.partition("=") for pair in variables.get(ATTRIBUTES, "").split(",") if pair.strip()]
    if any(not equals or not key.strip() for key, equals, _ in pairs):
        faults.append(f"{ATTRIBUTES}: must be key=value pairs separated by commas")
    attributes = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
    if NAME in variables:
        attributes["service.name"] = variables[NAME]
    return {"service.name": DEFAULT_SERVICE_NAME} | attributes
