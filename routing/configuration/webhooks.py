"""Decodes the `webhooks` of a configuration document. No Django, no I/O."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from routing.configuration import watch_section, webhook_values
from routing.configuration.faults import ConfigurationError, Fault, Faults
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    field_name,
    integer,
    one_of,
    parse_mapping,
    preset_parser,
)
from routing.presets import shipped
from routing.presets.expand import PRESET, expand_webhook
from routing.router.policy import NAME
from routing.webhooks.delivery import EVERYTHING
from routing.webhooks.policy import (
    LARGEST_BODY_BYTES,
    Algorithm,
    Encoding,
    HmacForm,
    PubSubForm,
    TokenForm,
    Verify,
    Webhook,
)
from routing.webhooks.verification import standard_secret

_FORMS: Final[dict[str, tuple[Verify, ...]]] = {
    "header": (Verify.HMAC, Verify.SHARED_TOKEN),
    "prefix": (Verify.HMAC, Verify.SHARED_TOKEN),
    "encoding": (Verify.HMAC,),
    "algorithm": (Verify.HMAC,),
    "timestamp_header": (Verify.HMAC,),
    "template": (Verify.HMAC,),
    "audience": (Verify.GOOGLE_PUBSUB,),
    "email": (Verify.GOOGLE_PUBSUB,),
    "keys_url": (Verify.GOOGLE_PUBSUB,),
}
"""Keys that only some kinds of verification have."""


def webhook_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of a webhook, in canonical order."""
    return {
        PRESET: preset_parser(shipped.webhook_names),
        "verify": one_of(Verify),
        "secret": webhook_values.secrets(secret),
        "enabled": boolean,
        "header": field_name,
        "prefix": webhook_values.prefix,
        "algorithm": one_of(Algorithm),
        "encoding": one_of(Encoding),
        "timestamp_header": field_name,
        "template": webhook_values.signed_template,
        "audience": webhook_values.plain_text,
        "email": webhook_values.plain_text,
        "keys_url": webhook_values.keys_url,
        "id": webhook_values.identifier,
        "service": webhook_values.service,
        "invalidates": webhook_values.tags,
        "publish": webhook_values.publish,
        "forward": webhook_values.forward,
        "attempts": integer(1, 20),
        "max_body_bytes": integer(1_000, LARGEST_BODY_BYTES),
        watch_section.KEY: watch_section.parse,
    }


def decode_webhooks(items: Mapping[str, Any], secret: SecretLookup, faults: Faults) -> tuple[Webhook, ...]:
    """The webhooks of a document. Adds what is wrong to `faults`, at `webhooks.NAME`."""
    webhooks = []
    for name, item in items.items():
        with faults.at("webhooks", name):
            webhooks.append(decode_webhook(name, item, secret))
    return tuple(webhooks)


def check_services(items: Mapping[str, Any], services: Mapping[str, object]) -> list[Fault]:
    """A fault for each service that a webhook names and that is not among `services`."""
    faults = []
    for name, item in items.items():
        settings = item if isinstance(item, dict) else {}
        forward = settings.get("forward")
        named = {("service",): settings.get("service"), ("forward", "service"): _named(forward)}
        for path, service in named.items():
            if isinstance(service, str) and service and service not in services:
                faults.append(Fault(("webhooks", name, *path), f"there is no service {service!r}"))
    return faults


def named_services(settings: object) -> frozenset[str]:
    """The services that a webhook names."""
    items = settings if isinstance(settings, dict) else {}
    found = (items.get("service"), _named(items.get("forward")))
    return frozenset(service for service in found if isinstance(service, str) and service)


def decode_webhook(name: str, value: object, secret: SecretLookup) -> Webhook:
    """One webhook, its preset included. Raises ConfigurationError, with paths relative to the webhook."""
    faults = Faults()
    settings: dict[str, Any] = {}
    with faults.at():
        if NAME.fullmatch(name) is None:
            raise ValueError("a name is a letter, then letters, digits, '-' or '_', at most 63 characters")
        value = expand_webhook(value)
        settings = parse_mapping(value, webhook_parsers(secret), faults, null_is_default=True)
    given = {key for key, item in (value.items() if isinstance(value, dict) else ()) if item is not None}
    verify = settings.get("verify")
    if "verify" not in given and PRESET not in given:
        faults.add((), f"'verify' is required: {', '.join(Verify)}")
    if verify is not None:
        _check_kind(verify, given, faults)
        with faults.at("secret"):
            settings["secret"] = _keys(verify, settings.get("secret", ()))
    _check_work(settings, given, faults)
    watch_section.complete(settings, faults)
    faults.raise_if_any()
    return _build(name, settings)


def decode_each_webhook(items: Mapping[str, Any], secret: SecretLookup) -> dict[str, Webhook]:
    """The webhooks by name. One with faults refuses every delivery, and harms no other."""
    webhooks = {}
    for name, item in items.items():
        try:
            webhooks[name] = decode_webhook(name, item, secret)
        except ConfigurationError as error:
            webhooks[name] = Webhook(name=name, verify=Verify.HMAC, faults=tuple(map(str, error.faults)))
    return webhooks


def _check_kind(verify: Verify, given: set[str], faults: Faults) -> None:
    for key, kinds in _FORMS.items():
        if key in given and verify not in kinds:
            faults.add((key,), f"is for verify: {' or '.join(kinds)}")
    if verify is Verify.GOOGLE_PUBSUB:
        if "secret" in given:
            faults.add(("secret",), "google_pubsub has none: Google signs with its own keys")
        for key in sorted({"audience", "email"} - given):
            faults.add((), f"google_pubsub needs '{key}'")
    elif "secret" not in given:
        faults.add((), "'secret' is required")
    if verify is Verify.HMAC and "header" not in given:
        faults.add((), "hmac needs 'header', the field of the signature")


def _check_work(settings: dict[str, Any], given: set[str], faults: Faults) -> None:
    if EVERYTHING in settings.get("invalidates", ()) and "service" not in given:
        faults.add(("invalidates",), f"{EVERYTHING!r} needs 'service'")
    forward = settings.get("forward")
    if forward is not None and not forward.service:
        if "service" not in settings:
            faults.add(("forward",), "needs a service")
        settings["forward"] = msgspec.structs.replace(forward, service=settings.get("service", ""))
    template, header = settings.get("template", "{body}"), settings.get("timestamp_header")
    if ("{timestamp}" in template) != (header is not None):
        faults.add((), "'timestamp_header' and '{timestamp}' in 'template' need each other")


def _build(name: str, settings: dict[str, Any]) -> Webhook:
    verify: Verify = settings["verify"]
    forms = {key: settings.pop(key) for key in _FORMS if key in settings}
    kinds: dict[Verify, tuple[str, type[msgspec.Struct]]] = {
        Verify.HMAC: ("hmac", HmacForm),
        Verify.SHARED_TOKEN: ("token", TokenForm),
        Verify.GOOGLE_PUBSUB: ("pubsub", PubSubForm),
    }
    if verify in kinds:
        field, form = kinds[verify]
        settings[field] = form(**forms)
    return Webhook(name=name, secrets=settings.pop("secret", ()), **settings)


def _named(forward: object) -> object:
    return forward.get("service") if isinstance(forward, dict) else None


def _keys(verify: Verify, secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """The secrets as keys of the HMAC. An empty one, as of an empty variable, accepts no delivery."""
    if verify is Verify.STANDARD:
        return tuple(standard_secret(text) if text else b"" for text in secrets)
    return tuple(text.encode("utf-8", "surrogateescape") for text in secrets)
