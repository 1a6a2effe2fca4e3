"""Form fields of the admin in the configuration file's syntax, with their help texts."""

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.forms import Field, JSONField, NullBooleanField, TypedChoiceField
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from routing.configuration.document import inline, parse
from routing.configuration.faults import ConfigurationError

HELP_TEXTS: Final = {
    "preset": "settings for a well-known API, which the settings below are put on top of; "
    "manage.py config preset NAME shows them",
    "hosts": "[crm.example.com]: host names that reach the service without the /api/v1/<service> prefix",
    "paths": "{encoded_slash: pass, empty_segments: refuse, case_sensitive: true, trailing_slash: same}: "
    "how the service reads paths",
    "thresholds": "{error_rate: 0.05, client_error_rate: 0.5, refusal_rate: 0.2, latency: 5s, hit_rate_drop: 0.5, "
    "minimum_requests: 20, window: 5m}, or off: when the dashboard reports an incident; null for one that is off",
    "status_page": "on, or a public name such as Customer data: lists the service on /status/ (STATUS_PAGE); "
    "empty: not listed",
    "labels": "{team: payments, stage: production}: by which the dashboard groups and finds services",
    "slo": "{availability: 99.9, latency: 300ms@95, window: 30d}: the share of requests that are to succeed, and to be "
    "fast; their error budgets are on the dashboard",
    "ip": "{allow: [10.0.0.0/8, 2001:db8::/32], deny: [10.1.2.3]}: the client addresses that may call; deny wins",
    "owner": "the person or team that answers for the key",
    "environment": "part of the key's text; a gateway with another GATEWAY_ENVIRONMENT refuses the key",
    "scopes": "[reports]: scopes that a caller needs in addition to the service's name",
    "rate_limit": "100/m, per caller; empty: the gateway's default",
    "timeout": "{connect: 2s, read: 10s, total: 30s}",
    "max_concurrency": "calls in flight, per worker; empty: 256",
    "retries": "{attempts: 2, budget: 0.2}: attempts includes the first call; idempotent methods only",
    "headers": '{Authorization: "env:GATEWAY_SECRET_CRM", X-Api-Key: "file:/run/secrets/crm"}: sent to the backend; '
    "secrets are variables or files, not values",
    "cache": "{ttl: 300, scope: user, stale_if_error: 300, tags: [contacts]}, or off",
    "breaker": "{failure_threshold: 5, window: 60s, open_for: 60s, success_threshold: 2}",
    "health": "{path: /health, interval: 10s, timeout: 2s, down_after: 3, up_after: 2}: one worker checks for all",
    "fallback": "{status: 200, body: {items: []}}: returned when the circuit is open and there is no stale response; "
    "{service: crm-replica}: sent the same request when this service fails",
    "outcome": "{failed: {body: {ok: false, error: [fatal_error]}}, limited: {status: 429}}: "
    "what a response means, by status, header and JSON fields",
    "hold_off": "{per: [route, credential], base: 1s, max: 1h}, or off: no calls after the backend has limited them",
    "outbound": "{rate: 50/m, per: [route, credential], queue: 2s}: calls to the backend, of all workers",
    "cost_per_call": "USD saved by each avoided call",
    "price": "{per_request: 0.002, currency: EUR}: what each request costs its consumer; a plan's replaces a service's",
    "preserve_host": "send the client's Host to the backend instead of the target's",
    "cors": "{origins: [https://*.example.com], credentials: false}, or off; empty: CORS_ORIGINS, without cookies",
    "credential": "{oauth2: {grant: client_credentials, token_url: https://example.com/token, client_id: gateway, "
    'client_secret: "env:GATEWAY_SECRET_CRM"}, per: service}: an OAuth 2.0 access token for the backend',
    "request_log": "{failures: true, slow: 2s, sample: 0.01}, or off: the requests that staff can look up",
    "websocket": "pass WebSocket upgrades to the service",
    "rate": "60/m",
    "burst": "10: how many requests of the rate may come at once",
    "quota": "[{amount: 10000, per: month, anchor: calendar, timezone: Europe/Berlin}]: "
    "per hour, day, week, month or year; anchor: calendar or signup",
    "concurrency": "requests in flight at once, over all workers",
    "services": "[crm, {slackIntelligence: {methods: [GET]}}]: all that the plan includes; empty: any",
    "offered": "consumers see the plan in the portal, and may ask for it",
    "limits": "{rate: 60/m, burst: 10, quota: [{amount: 10000, per: month}], concurrency: 5}: of this key alone",
    "signed_up": "where quotas with anchor: signup begin; empty: when it was created",
    "canary": "5: receives the requests of 5 % of the callers, always the same ones, and no others",
    "always_up": "used regardless of failures and health checks",
    "path": "/mailboxes/{user}/messages, /files/*",
    "methods": "[GET, POST]; empty: any",
    "invalidates": '["mailbox:{user}"]: cache tags that a successful call invalidates',
    "idempotency": "keep the first response to a POST or PATCH with an Idempotency-Key for a day; return it to retries",
}
"""Help texts by field, each with an example in the configuration file's syntax."""


class SectionField(JSONField):
    """A form field for a section, written in YAML or JSON as in the configuration file."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "widget": UnfoldAdminTextareaWidget(attrs={"rows": 2})})

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values or not isinstance(value, str):
            return None if value in self.empty_values else value
        try:
            return parse(value).structure
        except ConfigurationError as error:
            raise ValidationError([str(fault) for fault in error.faults]) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial if self.disabled else InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> Any:
        """Redisplay invalid input unchanged; show a stored value on one line."""
        return value if value is None or isinstance(value, InvalidJSONInput) else inline(value)


class FileSyntaxMixin:
    """Form fields in the configuration file's syntax, with help texts."""

    empty_label = "default"
    """The label of the choice for an unset field."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> Field | None:
        if isinstance(db_field, models.JSONField):
            options["form_class"] = SectionField
        if db_field.name in HELP_TEXTS:
            options["help_text"] = HELP_TEXTS[db_field.name]
        field: Field | None = super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc] # a mixin
        if isinstance(field, NullBooleanField):
            field.widget.choices = [("unknown", self.empty_label), ("true", "yes"), ("false", "no")]
        elif isinstance(field, TypedChoiceField) and not field.required:
            field.choices = [("", self.empty_label), *(db_field.choices or ())]
        return field
