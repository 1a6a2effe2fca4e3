"""The fields of the settings of webhooks, issuers and alerts."""

from collections.abc import Callable, Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import Choice, SettingField, Text, Whole
from routing.admin.setting_fields.items import Claims, Recipients
from routing.admin.setting_fields.lists import Choices, Named, Words
from routing.admin.setting_fields.measures import Duration
from routing.admin.setting_fields.section import Section, key
from routing.admin.setting_fields.suggestions import service_names, tag_names
from routing.authentication.issuer_policy import Algorithm as TokenAlgorithm
from routing.configuration.issuers import EVERY_SERVICE
from routing.presets import shipped
from routing.webhooks.policy import Algorithm, Encoding, Verify

_OFF: Final = ("off",)
_SECRET: Final = _("env:GATEWAY_SECRET_NAME or file:/run/secrets/name")
Plain = Mapping[str, Callable[[], SettingField]]

WEBHOOK: Final[Plain] = {
    "preset": lambda: Choice(
        label=_("Preset"),
        choose_from=shipped.webhook_names,
        unset=_("none"),
        help_text=_("settings for a well-known provider, which the settings below are put on top of"),
    ),
    "verify": lambda: Choice(
        label=_("Verification"), choices=Verify, unset=_("as the preset"), help_text=_("of the provider's signature")
    ),
    "secret": lambda: Words(
        label=_("Secret"),
        help_text=_(
            "env:GATEWAY_SECRET_NAME or file:/run/secrets/name, not the secret itself; two while one replaces the other"
        ),
    ),
    "header": lambda: Text(label=_("Header field"), help_text=_("of the signature or the token")),
    "prefix": lambda: Text(label=_("Prefix"), can_be_empty=True, help_text=_("before the signature, such as sha256=")),
    "algorithm": lambda: Choice(label=_("Algorithm"), choices=Algorithm, help_text=_("of hmac")),
    "encoding": lambda: Choice(label=_("Encoding"), choices=Encoding, help_text=_("of hmac's signature")),
    "timestamp_header": lambda: Text(label=_("Header field of the time"), help_text=_("of hmac")),
    "template": lambda: Text(
        label=_("Signed text"), help_text=_("of hmac: {body}, or {timestamp}.{body}; default: {body}")
    ),
    "audience": lambda: Text(label=_("Audience"), help_text=_("of google_pubsub")),
    "email": lambda: Text(label=_("Email"), help_text=_("of google_pubsub: the service account that signs")),
    "keys_url": lambda: Text(label=_("URL of the keys"), help_text=_("of google_pubsub; default: Google's")),
    "id": lambda: Text(
        label=_("ID of a delivery"), help_text=_("{header.x-request-id}: what repeated deliveries are recognised by")
    ),
    "service": lambda: Choice(
        label=_("Service"), choose_from=service_names, help_text=_("whose cached responses a delivery invalidates")
    ),
    "invalidates": lambda: Words(
        label=_("Invalidates"),
        help_text=_("cache tags; {event.channel} is a field of the delivery, and * alone stands for everything"),
        suggestions=tag_names,
    ),
    "attempts": lambda: Whole(
        label=_("Attempts"), unit=_("attempts"), help_text=_("at the work of a delivery, until it has failed")
    ),
    "max_body_bytes": lambda: Whole(label=_("Largest body"), unit=_("bytes"), help_text=_("of a delivery")),
}
WEBHOOK_SECTIONS: Final = {
    "publish": Section(
        _("Publish an event"),
        _("Subscribers of the topic receive an event for each delivery."),
        _OFF,
        (
            key("topic", Text, _("slack:{event.type}")),
            key("type", Text, _("of the event")),
            key(
                "data",
                Named,
                _("one name: template in a line, such as channel: {event.channel}"),
                words={"body": _("the body of the delivery"), "none": _("nothing")},
            ),
        ),
    ),
    "forward": Section(
        _("Forward"),
        _("Each delivery is also sent to a service."),
        _OFF,
        (
            key("service", Choice, _("default: the service above"), choose_from=service_names),
            key("path", Text, "/events"),
        ),
    ),
    "watch": Section(
        _("Watch"),
        _("What the gateway subscribes to at Google, and renews."),
        _OFF,
        (
            key("topic", Text, _("of Gmail: projects/PROJECT/topics/TOPIC")),
            key("address", Text, _("of Calendar: the webhook's public address, https://HOST/hooks/NAME")),
            key("mailboxes", Words, _("of Gmail; default: me")),
            key("calendars", Words, _("of Calendar; default: primary")),
            key("labels", Words, _("of Gmail: only messages with these")),
            key("exclude_labels", Words, _("of Gmail: only messages without these")),
            key("renew_before", Duration, _("the end of the subscription")),
            key("base", Text, _("of the API's paths, such as /gmail/v1"), can_be_empty=True),
        ),
    ),
}
ISSUER: Final[Plain] = {
    "audience": lambda: Words(label=_("Audience"), help_text=_("for whom tokens are issued: required")),
    "jwks_uri": lambda: Text(label=_("JWKS URI"), help_text=_("of the signing keys; default: found by discovery")),
    "algorithms": lambda: Choices(label=_("Algorithms"), choices=TokenAlgorithm, help_text=_("none: all of these")),
    "leeway": lambda: Duration(label=_("Leeway"), help_text=_("between the clocks")),
    "typ": lambda: Words(label=_("Types of tokens"), help_text=_("such as at+jwt; none: any")),
    "require": lambda: Claims(
        label=_("Required claims"), help_text=_("each must have the value, or one of [a, b]: true, 5 or a text")
    ),
    "services": lambda: Words(
        label=_("Services"),
        help_text=_("that the tokens may be used for, * for all; none: as their scopes say"),
        suggestions=lambda: [EVERY_SERVICE, *service_names()],
    ),
}
ISSUER_SECTIONS: Final = {
    "claims": Section(
        _("Names of claims"),
        _("Where the caller's properties stand in a token."),
        (),
        (
            key("id", Text, _("default: sub")),
            key("audience", Text, _("default: aud")),
            key("tenant", Text, _("default: org_id")),
            key("scopes", Words, _("default: scope, scp, permissions and realm_access.roles")),
            key("email", Text, _("default: email")),
        ),
    ),
    "introspection": Section(
        _("Introspection"),
        _("Opaque tokens are sent to this endpoint of the issuer (RFC 7662)."),
        (),
        (
            key("url", Text),
            key("client_id", Text),
            key("client_secret", Text, _SECRET),
            key("prefix", Text, _("what the opaque tokens begin with")),
        ),
    ),
}
ALERT: Final[Plain] = {
    "on": lambda: Words(
        label=_("On"), help_text=_("circuit.open, error_rate > 5% for 5m, budget.80, certificate.14d: any of these")
    ),
    "services": lambda: Words(label=_("Services"), help_text=_("none: all"), suggestions=service_names),
    "to": lambda: Recipients(
        label=_("To"), help_text=_("secrets are env:GATEWAY_SECRET_NAME or file:/run/secrets/name, not values")
    ),
    "repeat": lambda: Duration(label=_("Repeat"), help_text=_("while it lasts; default: 4 hours")),
    "resolve_after": lambda: Duration(
        label=_("Resolve after"), help_text=_("it has not held for this long; default: 1 minute")
    ),
}
