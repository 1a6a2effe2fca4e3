"""Where traces go: OpenTelemetry's standard variables, as config.py hands them on. None of them set: nowhere."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from routing.messages.trace_context import Sampling

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

SPOKEN: Final = "http/protobuf"
SERVICE: Final = "intelligence-gateway"
PARENTBASED: Final = "parentbased_"
SAMPLERS: Final = ("always_on", "always_off", "traceidratio")


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """`endpoint` is the collector's whole address; `resource` says who sends."""

    endpoint: str
    sampling: Sampling
    resource: dict[str, str]


def read(environment: Mapping[str, str], faults: list[str]) -> Traces | None:
    """What the environment asks for; what is wrong with it is added to `faults`."""
    said = {name: text.strip() for name, text in environment.items() if name.startswith("OTEL_") and text.strip()}
    endpoint = said.get(TRACES_ENDPOINT) or _below(said.get(ENDPOINT, ""))
    if not endpoint or said.get(DISABLED, "").lower() == "true" or said.get(EXPORTER) == "none":
        return None
    named = TRACES_ENDPOINT if said.get(TRACES_ENDPOINT) else ENDPOINT
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        faults.append(f"{named}: must be an http:// or https:// address")
    if said.get(EXPORTER, "otlp") != "otlp":
        faults.append(f"{EXPORTER}: {said[EXPORTER]!r} is not one of otlp, none")
    asked = {name: said[name] for name in (PROTOCOL, TRACES_PROTOCOL) if name in said}
    faults += [f"{name}: {word!r} is not spoken here, {SPOKEN} is" for name, word in asked.items() if word != SPOKEN]
    if not _installed():
        faults.append(f"{named}: traces are an extra: pip install -r requirements-otel.txt")
    return Traces(endpoint=endpoint, sampling=_sampling(said, faults), resource=_resource(said, faults))


def _below(address: str) -> str:
    return f"{address.rstrip('/')}/v1/traces" if address else ""


def _installed() -> bool:
    """Whether the extra is there: looked for, not imported, since that takes a while."""
    try:
        return find_spec("opentelemetry.sdk.trace") is not None and find_spec("opentelemetry.exporter.otlp") is not None
    except ModuleNotFoundError:
        return False


def _sampling(said: Mapping[str, str], faults: list[str]) -> Sampling:
    name = said.get(SAMPLER) or f"{PARENTBASED}always_on"
    kind = name.removeprefix(PARENTBASED)
    if kind not in SAMPLERS:
        faults.append(f"{SAMPLER}: {name!r} is not one of {', '.join(SAMPLERS)}, each also after {PARENTBASED}")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind)
    if ratio is None:
        ratio = _ratio(said.get(SAMPLER_ARG, ""), faults)
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


def _resource(said: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """OTEL_RESOURCE_ATTRIBUTES is `key=value,key=value`, percent-encoded; OTEL_SERVICE_NAME wins over it."""
    pairs = [pair.partition("=") for pair in said.get(ATTRIBUTES, "").split(",") if pair.strip()]
    if any(not equals or not key.strip() for key, equals, _ in pairs):
        faults.append(f"{ATTRIBUTES}: must be key=value, with commas between")
    found = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
    return {"service.name": SERVICE} | found | ({"service.name": said[NAME]} if said.get(NAME) else {})
