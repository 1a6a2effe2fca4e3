"""The sections of a service's and a route's settings, with a field for each of their keys."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CACHEABLE_METHODS, Scope
from resilience.partition import Part
from routing.admin.setting_fields.base import Choice, Flag, Json, Number, SettingField, Text, Whole
from routing.admin.setting_fields.conditions import ConditionsField
from routing.admin.setting_fields.lists import Choices, Named, Words
from routing.admin.setting_fields.measures import Duration, Rate, Share
from routing.admin.setting_fields.suggestions import service_names, tag_names
from routing.authentication.signatures.policy import DERIVED, NonceRule
from routing.configuration.faults import Path
from routing.configuration.values import SUPPORTED_METHODS
from routing.router.credential_policy import ClientAuth, GrantType, Per
from routing.router.identity_policy import IdentityField
from routing.router.policy import Spelling, TrailingSlash

Make = Callable[..., SettingField]
NO_LIMIT: Final = "no limit"
NONE: Final = "none"


class Key(NamedTuple):
    """One value of a section, at `path` within it. `kind` is called with a label, a help text and `options`."""

    path: Path
    kind: Make
    help_text: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    def field(self) -> SettingField:
        label = " ".join(str(step) for step in self.path).replace("_", " ").capitalize()
        return self.kind(label=label, help_text=self.help_text, **dict(self.options))


class Section(NamedTuple):
    """A section's keys. `switch`: the words that may stand in place of its keys, of `on` and `off`."""

    title: str
    help_text: str
    switch: tuple[str, ...]
    keys: tuple[Key, ...]


def _key(name: str, kind: Make, help_text: str = "", **options: Any) -> Key:
    """`name` has dots between its steps."""
    return Key(tuple(name.split(".")), kind, help_text, tuple(options.items()))


_OFF: Final = ("off",)
_ON_OFF: Final = ("on", "off")
_METHODS_OR_ANY: Final = ("*", *SUPPORTED_METHODS)
_PARTS: Final = "what is told apart"

PATHS: Final = Section(
    "Paths",
    "How the service reads paths.",
    (),
    (
        _key("encoded_slash", Choice, "%2F within a segment", choices=Spelling),
        _key("empty_segments", Choice, "//", choices=Spelling),
        _key("case_sensitive", Flag),
        _key("trailing_slash", Choice, "/a and /a/", choices=TrailingSlash),
    ),
)
THRESHOLDS: Final = Section(
    "Incidents",
    "When the dashboard reports an incident.",
    _ON_OFF,
    (
        _key("error_rate", Share, "of the requests", null="off"),
        _key("client_error_rate", Share, "of the requests, 4xx of the backend", null="off"),
        _key("refusal_rate", Share, "of the requests, refused by the gateway", null="off"),
        _key("latency", Duration, "95 % of the requests are faster; default: half of the time limit", null="off"),
        _key("hit_rate_drop", Share, "against the hour before", null="off"),
        _key("minimum_requests", Whole, "fewer in the window are not judged", unit="requests"),
        _key("window", Duration),
    ),
)
_SLO: Final = Section(
    "Objectives",
    "Service level objectives. Their error budgets are on the dashboard.",
    (),
    (
        _key("availability", Number, "of the requests are answered with a status below 500, such as 99.9", unit="%"),
        _key("latency", Text, "such as 300ms@95: 95 % of the requests take at most 300 ms"),
        _key("window", Duration, "whole days; default: 30"),
    ),
)
_IP: Final = Section(
    "Client addresses",
    "Which may call. Deny wins.",
    _OFF,
    (
        _key("allow", Words, "10.0.0.0/8 or 2001:db8::/32; default: all", null=NO_LIMIT),
        _key("deny", Words, null=NONE),
    ),
)
_TIMEOUT: Final = Section(
    "Time limits",
    "",
    (),
    (
        _key("connect", Duration, "to open a connection"),
        _key("read", Duration, "to the head of the response"),
        _key("total", Duration, "to the head over all attempts, and for an upload", null=NO_LIMIT),
        _key("idle", Duration, "between two pieces of a body", null=NO_LIMIT),
        _key("stream", Duration, "for a whole response", null=NO_LIMIT),
    ),
)
_RETRIES: Final = Section(
    "Retries",
    "Of idempotent methods only.",
    (),
    (
        _key("attempts", Whole, "the first call included", unit="calls"),
        _key("budget", Share, "of the calls may be repeated"),
    ),
)
_CACHE: Final = Section(
    "Cache",
    "",
    _ON_OFF,
    (
        _key("ttl", Duration, "how long a response is fresh, unless it says so itself"),
        _key("scope", Choice, "who may receive a stored response", choices=Scope),
        _key("stale_while_revalidate", Duration, "how long a stale response is sent while a new one is fetched"),
        _key("stale_if_error", Duration, "how long a stale response is sent if the backend fails"),
        _key("tags", Words, "{name} is a parameter of the path", suggestions=tag_names, empty=NONE),
        _key("vary", Words, "fields of requests by which responses differ", empty=NONE),
        _key("override", Flag, "the TTL holds whatever responses say"),
        _key("credentials", Words, "fields by which the backend knows its users", empty=NONE, null="null"),
        _key("ignore", Choices, "not read of responses", choices=Ignorable, empty=NONE),
        _key("ignore_vary", Words, "fields not read of Vary", empty=NONE),
        _key("share_ignored", Flag, "share responses that say private"),
        _key("methods", Choices, "POST on routes where it only reads", choices=CACHEABLE_METHODS),
        _key("key.body", Words, "fields of a POST's body; default: all of it", null="all of it"),
        _key("key.query.ignore", Words, "parameters that do not matter", empty=NONE),
        _key("key.query.sort", Flag, "the order of parameters does not matter"),
        _key("key.headers", Words, empty=NONE),
        _key("only_if", ConditionsField, "default: all responses that the rules allow"),
        _key("cookies", Words, "the only cookies that are part of the key", empty=NONE, null="null"),
    ),
)
_BREAKER: Final = Section(
    "Circuit breaker",
    "",
    (),
    (
        _key("failure_threshold", Whole, "in the window", unit="failures"),
        _key("window", Duration),
        _key("open_for.base", Duration, "how long the circuit stays open"),
        _key("open_for.factor", Number, "the next time, so many times as long", unit="times"),
        _key("open_for.max", Duration, "and never longer"),
        _key("success_threshold", Whole, "that close the circuit", unit="successes"),
        _key("failure_rate", Share, "of the calls, instead of a number", null="off"),
        _key("minimum_calls", Whole, "for a rate", unit="calls"),
        _key("slow_call", Duration, "is a failure", null="off"),
        _key("half_open_permits", Whole, "at once, while it is tried whether the backend works", unit="calls"),
    ),
)
_HEALTH: Final = Section(
    "Health checks",
    "One worker checks for all.",
    _ON_OFF,
    (
        _key("path", Text),
        _key("interval", Duration),
        _key("timeout", Duration),
        _key("down_after", Whole, unit="failures"),
        _key("up_after", Whole, unit="successes"),
    ),
)
_FALLBACK: Final = Section(
    "Fallback",
    "Returned when the circuit is open and there is no stale response; a service is sent the same request.",
    _ON_OFF,
    (
        _key("service", Choice, choose_from=service_names),
        _key("status", Whole),
        _key("body", Json, "any JSON: {items: []}"),
    ),
)
_OUTCOME: Final = Section(
    "What a response means",
    "Conditions are tried in this order.",
    _ON_OFF,
    (
        _key("limited", ConditionsField, "the backend limits calls"),
        _key("ours", ConditionsField, "the gateway's own credential is not accepted"),
        _key("failed", ConditionsField, "as a 503"),
        _key("callers", ConditionsField, "passed on, never stored"),
    ),
)
_HOLD_OFF: Final = Section(
    "Hold-off",
    "No calls after the backend has limited them.",
    _ON_OFF,
    (
        _key("per", Choices, _PARTS, choices=Part),
        _key("base", Duration, "if the backend names no time; doubled each time"),
        _key("max", Duration),
    ),
)
_OUTBOUND: Final = Section(
    "Limit of calls to the backend",
    "Of all workers together.",
    _OFF,
    (
        _key("rate", Rate),
        _key("per", Choices, _PARTS, choices=Part),
        _key("queue", Duration, "how long a call may wait"),
    ),
)
_CORS: Final = Section(
    "Pages of other origins (CORS)",
    "Default: CORS_ORIGINS, without cookies.",
    _ON_OFF,
    (
        _key("origins", Words, "https://*.example.com", empty=NONE),
        _key("methods", Choices, choices=_METHODS_OR_ANY, empty=NONE),
        _key("headers", Words, "* is any", empty=NONE),
        _key("expose", Words, empty=NONE),
        _key("credentials", Flag, "cookies are sent"),
        _key("max_age", Duration),
    ),
)
_SECRET: Final = "env:GATEWAY_SECRET_NAME or file:/run/secrets/name"  # noqa: S105 - the form of a reference
_CREDENTIAL: Final = Section(
    "Credential for the backend",
    "An OAuth 2.0 access token that the gateway obtains.",
    _OFF,
    (
        _key("oauth2.grant", Choice, choices=GrantType),
        _key("oauth2.token_url", Text),
        _key("oauth2.client_id", Text),
        _key("oauth2.client_secret", Text, _SECRET),
        _key("oauth2.scopes", Words, empty=NONE),
        _key("oauth2.audience", Text),
        _key("oauth2.refresh_token", Text, _SECRET),
        _key("oauth2.service_account", Text, _SECRET),
        _key("oauth2.private_key", Text, _SECRET),
        _key("oauth2.key_id", Text),
        _key("oauth2.issuer", Text),
        _key("oauth2.subject", Text),
        _key("oauth2.auth", Choice, "how the gateway authenticates", choices=ClientAuth),
        _key("oauth2.header", Text, "of the calls; default: Authorization"),
        _key("oauth2.prefix", Text, "before the token; default: Bearer", can_be_empty=True),
        _key("oauth2.authorize_url", Text),
        _key("oauth2.revoke_url", Text),
        _key("oauth2.authorize_params", Named),
        _key("oauth2.token_params", Named),
        _key("oauth2.token_object", Text),
        _key("oauth2.allow_http", Flag),
        _key("per", Choice, "whose account it is", choices=Per),
        _key("shared_cache", Flag),
    ),
)
_IDENTITY: Final = Section(
    "What the backend is told of the caller",
    "",
    _ON_OFF,
    (
        _key("fields", Choices, choices=IdentityField, empty=NONE),
        _key("header", Text, "of a signed token"),
        _key("audience", Text),
        _key("issuer", Text),
        _key("ttl", Duration),
    ),
)
_PRICE: Final = Section(
    "Price",
    "What a request costs its consumer. A plan's price replaces it.",
    _OFF,
    (
        _key("per_request", Number, as_text=True),
        _key("currency", Text, "EUR"),
    ),
)
_SIGNATURE: Final = Section(
    "Signatures of requests",
    "",
    (),
    (
        _key("components", Words, "what must be covered", suggestions=lambda: sorted(DERIVED), empty=NONE),
        _key("max_age", Duration),
        _key("leeway", Duration),
        _key("nonce", Choice, choices=NonceRule),
        _key("tag", Text),
    ),
)
_REQUEST_LOG: Final = Section(
    "Request log",
    "The requests that staff can look up.",
    _ON_OFF,
    (
        _key("failures", Flag),
        _key("slow", Duration, "slower requests are recorded", null="off"),
        _key("sample", Share, "of the others"),
    ),
)
SERVICE_SECTIONS: Final = {"paths": PATHS, "thresholds": THRESHOLDS, "slo": _SLO}
SHARED_SECTIONS: Final = {
    "ip": _IP,
    "cors": _CORS,
    "signature": _SIGNATURE,
    "timeout": _TIMEOUT,
    "retries": _RETRIES,
    "credential": _CREDENTIAL,
    "identity": _IDENTITY,
    "cache": _CACHE,
    "breaker": _BREAKER,
    "health": _HEALTH,
    "fallback": _FALLBACK,
    "outcome": _OUTCOME,
    "hold_off": _HOLD_OFF,
    "outbound": _OUTBOUND,
    "price": _PRICE,
    "request_log": _REQUEST_LOG,
}
