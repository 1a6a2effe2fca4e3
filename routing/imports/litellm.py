"""The LiteLLM proxy's config.yaml: https://docs.litellm.ai/docs/proxy/configs.

LiteLLM is one interface to many providers; here each provider, with its key, is a service that is called as it is.
"""

from typing import Any, Final

from routing.imports.building import Services, duration, seconds_of, target
from routing.imports.report import Imported, Report, Section

PRODUCT: Final = "LiteLLM"
PRESETS: Final = {"openai": "openai", "anthropic": "anthropic", "text-completion-openai": "openai"}
BASES: Final = {
    "cohere": "https://api.cohere.com",
    "deepseek": "https://api.deepseek.com",
    "fireworks_ai": "https://api.fireworks.ai/inference",
    "groq": "https://api.groq.com/openai",
    "mistral": "https://api.mistral.ai",
    "openrouter": "https://openrouter.ai/api",
    "perplexity": "https://api.perplexity.ai",
    "together_ai": "https://api.together.xyz",
    "xai": "https://api.x.ai",
}
"""Addresses of providers that have the form of OpenAI's API, without the version in its paths."""
FIELDS: Final = {"anthropic": ("X-Api-Key", ""), "azure": ("api-key", "")}
"""Which field has the key, and what precedes it, where it is not `Authorization: Bearer`."""
_MODELS: Final = {
    "anthropic": ("claude",),
    "cohere": ("command", "embed-english", "embed-multilingual", "rerank-"),
    "openai": ("chatgpt-", "dall-e-", "gpt-", "o1", "o3", "o4", "omni-", "text-embedding-", "tts-", "whisper-"),
}
"""Beginnings of names of models that LiteLLM knows without their provider."""
_OPERATIONS: Final = {
    "audio_speech": "audio/speech",
    "audio_transcription": "audio/transcriptions",
    "completion": "completions",
    "embedding": "embeddings",
    "image_generation": "images/generations",
    "moderation": "moderations",
    "rerank": "rerank",
    "responses": "responses",
}
"""The operation of a model's `mode`, where it is not `chat`."""


def is_litellm(structure: dict[str, Any]) -> bool:
    return "model_list" in structure


def convert(structure: dict[str, Any]) -> Imported:
    report = Report()
    top = Section(structure, (), report)
    common = _common(top)
    general = top.item("general_settings")
    if allowed := general.texts("allowed_ips"):
        common["ip"] = {"allow": allowed}
    providers = _Providers(report, common)
    for model in top.items("model_list"):
        _model(model, providers)
    general.explain("master_key", "clients have API keys of this gateway: `apikey create`")
    general.explain("database_url", "set DATABASE_URL")
    general.finish()
    top.explain("environment_variables", "set them in the gateway's environment, secrets as GATEWAY_SECRET_…")
    top.finish()
    return Imported(PRODUCT, providers.services.document(), tuple(report.notes))


def _common(top: Section) -> dict[str, Any]:
    """What all services have, of the settings of the router and of the library."""
    router, library = top.item("router_settings"), top.item("litellm_settings")
    settings: dict[str, Any] = {}
    timeout = seconds_of(router.take("timeout") or library.take("request_timeout"))
    if timeout:
        settings["timeout"] = _timeout(timeout)
    breaker: dict[str, Any] = {}
    for section in (router, library):
        if "allowed_fails" in section:
            breaker["failure_threshold"] = min(max(section.whole("allowed_fails", 3) + 1, 1), 1_000)
        if "cooldown_time" in section:
            breaker["open_for"] = duration(section.number("cooldown_time", 5))
        section.explain("num_retries", "a POST is repeated only with an Idempotency-Key: see idempotency of routes")
        section.explain("fallbacks", "another model is another request: see fallback: {service: …} for an equal API")
    if breaker:
        settings["breaker"] = breaker
    library.default("drop_params", False)
    library.default("set_verbose", False)
    for key in ("redis_host", "redis_port", "redis_password", "redis_url"):
        router.explain(key, "set REDIS_URL")
    library.explain("cache", "answers of models are stored where a route says so: see cache: {methods: [POST]}")
    library.explain("cache_params", "see cache of routes, and REDIS_URL")
    router.finish()
    library.finish()
    return settings


def _timeout(seconds: float) -> dict[str, str]:
    limit = duration(min(max(seconds, 0.001), 3_600))
    return {"read": limit, "total": limit}


class _Providers:
    """The services, of which each provider with an address and a key is one."""

    def __init__(self, report: Report, common: dict[str, Any]) -> None:
        self.services = Services(report)
        self._report, self._common = report, common
        self._names: dict[tuple[str, str, str], str] = {}

    def service(self, item: Section, provider: str) -> tuple[str, dict[str, Any]] | None:
        """The name and the service of a deployment; None, with a note, if its address is not known."""
        base, key = item.text("api_base") or item.text("base_url"), item.text("api_key")
        place = (provider, base, key)
        if place not in self._names:
            service = self._make(item, provider, base, key)
            if service is None:
                return None
            self._names[place] = self.services.add(provider.replace("_", "-"), item.path, service)
        name = self._names[place]
        return name, self.services.found[name]

    def _make(self, item: Section, provider: str, base: str, key: str) -> dict[str, Any] | None:
        address: dict[str, Any] = {"preset": PRESETS[provider]} if provider in PRESETS else {}
        known = base or BASES.get(provider, "")
        if known:
            found = target(known.rstrip("/").removesuffix("/v1"), (*item.path, "api_base"), self._report)
            address |= {"targets": [found]} if found else {}
        if not address:
            self._report.left_out((*item.path, "model"), f"the provider {provider} has no address here: give api_base")
            return None
        service = {**address, **self._common}
        if "preset" not in address:
            service |= {"cache": False, "retries": {"attempts": 1}}
        if key:
            name, scheme = FIELDS.get(provider, ("Authorization", "Bearer "))
            service["headers"] = {
                name: self._report.secret((*item.path, "api_key"), f"{scheme}{key}", f"{provider}_API_KEY")
            }
        return service


def _model(model: Section, providers: _Providers) -> None:
    report, alias = model.report, model.text("model_name")
    item, about = model.item("litellm_params"), model.take("model_info", {})
    mode = str(about.get("mode")) if isinstance(about, dict) else ""
    provider, wanted = _provider(item)
    if not provider:
        report.left_out((*item.path, "model"), "the provider is not named: write it as PROVIDER/MODEL")
    found = providers.service(item, provider) if provider else None
    if found is not None:
        name, service = found
        call = _path(provider, wanted, mode)
        report.changed(model.path, f"the model {alias} is {wanted} at /api/v1/{name}{call}")
        limit = item.whole("rpm", 0)
        if limit > 0:
            sum_of = int(service.get("outbound", {}).get("rate", "0/m").partition("/")[0]) + limit
            service["outbound"] = {"rate": f"{sum_of}/m"}
            report.changed((*item.path, "rpm"), "calls of all models of the service are limited together")
        if "timeout" in item:
            timeout = seconds_of(item.take("timeout"))
            if timeout:
                longest = max(timeout, seconds_of(service.get("timeout", {}).get("read")) or 0)
                service["timeout"] = _timeout(longest)
            else:
                report.left_out((*item.path, "timeout"), "is not a number of seconds")
    item.explain("tpm", "tokens are not counted")
    item.explain("max_retries", "a POST is repeated only with an Idempotency-Key: see idempotency of routes")
    item.explain("api_version", "clients send it in the query")
    item.explain("organization", "set headers: {OpenAI-Organization: …}")
    item.finish()
    model.finish()


def _provider(item: Section) -> tuple[str, str]:
    """The provider and the model's name there; no provider, if the file does not tell which it is.

    A key must not be sent to another provider than its own.
    """
    text, named = item.text("model"), item.text("custom_llm_provider")
    first, slash, rest = text.partition("/")
    if named:
        return named, rest if first == named else text
    if slash:
        return first, rest
    known = (name for name, beginnings in _MODELS.items() if text.lower().startswith(beginnings))
    return next(known, "openai" if "api_base" in item or "base_url" in item else ""), text


def _path(provider: str, model: str, mode: str) -> str:
    operation = _OPERATIONS.get(mode, "chat/completions")
    if provider == "azure":
        return f"/openai/deployments/{model}/{operation}"
    return "/v1/messages" if provider == "anthropic" else f"/v1/{operation}"
