"""The sections of a service's and a route's settings, with a field for each of their keys."""

from typing import Final

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CACHEABLE_METHODS, Scope
from resilience.partition import Part
from routing.admin.setting_fields.base import Choice, Flag, Json, Number, Text, Whole
from routing.admin.setting_fields.conditions import ConditionsField
from routing.admin.setting_fields.lists import Choices, Named, Words
from routing.admin.setting_fields.measures import Duration, Rate, Share
from routing.admin.setting_fields.section import NO_LIMIT, NONE, Section, key
from routing.admin.setting_fields.suggestions import service_names, tag_names
from routing.authentication.signatures.policy import DERIVED, NonceRule
from routing.configuration.values import SUPPORTED_METHODS
from routing.router.credential_policy import ClientAuth, GrantType, Per
from routing.router.identity_policy import IdentityField
from routing.router.policy import Spelling, TrailingSlash

_OFF: Final = ("off",)
_ON_OFF: Final = ("on", "off")
_METHODS_OR_ANY: Final = ("*", *SUPPORTED_METHODS)
_PARTS: Final = "what is told apart"

PATHS: Final = Section(
    "Paths",
    "How the service reads paths.",
    (),
    (
        key("encoded_slash", Choice, "%2F within a segment", choices=Spelling),
        key("empty_segments", Choice, "//", choices=Spelling),
        key("case_sensitive", Flag),
        key("trailing_slash", Choice, "/a and /a/", choices=TrailingSlash),
    ),
)
THRESHOLDS: Final = Section(
    "Incidents",
    "When the dashboard reports an incident.",
    _ON_OFF,
    (
        key("error_rate", Share, "of the requests", null="off"),
        key("client_error_rate", Share, "of the requests, 4xx of the backend", null="off"),
        key("refusal_rate", Share, "of the requests, refused by the gateway", null="off"),
        key("latency", Duration, "95 % of the requests are faster; default: half of the time limit", null="off"),
        key("hit_rate_drop", Share, "against the hour before", null="off"),
        key("minimum_requests", Whole, "fewer in the window are not judged", unit="requests"),
        key("window", Duration),
    ),
)
_SLO: Final = Section(
    "Objectives",
    "Service level objectives. Their error budgets are on the dashboard.",
    (),
    (
        key("availability", Number, "of the requests are answered with a status below 500, such as 99.9", unit="%"),
        key("latency", Text, "such as 300ms@95: 95 % of the requests take at most 300 ms"),
        key("window", Duration, "whole days; default: 30"),
    ),
)
_IP: Final = Section(
    "Client addresses",
    "Which may call. Deny wins.",
    _OFF,
    (
        key("allow", Words, "10.0.0.0/8, 2001:db8::/32 or country:DE; default: all", null=NO_LIMIT),
        key("deny", Words, null=NONE),
    ),
)
_TIMEOUT: Final = Section(
    "Time limits",
    "",
    (),
    (
        key("connect", Duration, "to open a connection"),
        key("read", Duration, "to the head of the response"),
        key("total", Duration, "to the head over all attempts, and for an upload", null=NO_LIMIT),
        key("idle", Duration, "between two pieces of a body", null=NO_LIMIT),
        key("stream", Duration, "for a whole response", null=NO_LIMIT),
    ),
)
_RETRIES: Final = Section(
    "Retries",
    "Of idempotent methods only.",
    (),
    (
        key("attempts", Whole, "the first call included", unit="calls"),
        key("budget", Share, "of the calls may be repeated"),
    ),
)
_CACHE: Final = Section(
    "Cache",
    "",
    _ON_OFF,
    (
        key("ttl", Duration, "how long a response is fresh, unless it says so itself"),
        key("scope", Choice, "who may receive a stored response", choices=Scope),
        key("stale_while_revalidate", Duration, "how long a stale response is sent while a new one is fetched"),
        key("stale_if_error", Duration, "how long a stale response is sent if the backend fails"),
        key("tags", Words, "{name} is a parameter of the path", suggestions=tag_names, empty=NONE),
        key("vary", Words, "fields of requests by which responses differ", empty=NONE),
        key("override", Flag, "the TTL holds whatever responses say"),
        key("credentials", Words, "fields by which the backend knows its users", empty=NONE, null="null"),
        key("ignore", Choices, "not read of responses", choices=Ignorable, empty=NONE),
        key("ignore_vary", Words, "fields not read of Vary", empty=NONE),
        key("share_ignored", Flag, "share responses that say private"),
        key("methods", Choices, "POST on routes where it only reads", choices=CACHEABLE_METHODS),
        key("key.body", Words, "fields of a POST's body; default: all of it", null="all of it"),
        key("key.query.ignore", Words, "parameters that do not matter", empty=NONE),
        key("key.query.sort", Flag, "the order of parameters does not matter"),
        key("key.headers", Words, empty=NONE),
        key("only_if", ConditionsField, "default: all responses that the rules allow"),
        key("cookies", Words, "the only cookies that are part of the key", empty=NONE, null="null"),
    ),
)
_BREAKER: Final = Section(
    "Circuit breaker",
    "",
    (),
    (
        key("failure_threshold", Whole, "in the window", unit="failures"),
        key("window", Duration),
        key("open_for.base", Duration, "how long the circuit stays open"),
        key("open_for.factor", Number, "the next time, so many times as long", unit="times"),
        key("open_for.max", Duration, "and never longer"),
        key("success_threshold", Whole, "that close the circuit", unit="successes"),
        key("failure_rate", Share, "of the calls, instead of a number", null="off"),
        key("minimum_calls", Whole, "for a rate", unit="calls"),
        key("slow_call", Duration, "is a failure", null="off"),
        key("half_open_permits", Whole, "at once, while it is tried whether the backend works", unit="calls"),
    ),
)
_HEALTH: Final = Section(
    "Health checks",
    "One worker checks for all.",
    _ON_OFF,
    (
        key("path", Text),
        key("interval", Duration),
        key("timeout", Duration),
        key("down_after", Whole, unit="failures"),
        key("up_after", Whole, unit="successes"),
    ),
)
_FALLBACK: Final = Section(
    "Fallback",
    "Returned when the circuit is open and there is no stale response; a service is sent the same request.",
    _ON_OFF,
    (
        key("service", Choice, choose_from=service_names),
        key("status", Whole),
        key("body", Json, "any JSON: {items: []}"),
    ),
)
_OUTCOME: Final = Section(
    "What a response means",
    "Conditions are tried in this order.",
    _ON_OFF,
    (
        key("limited", ConditionsField, "the backend limits calls"),
        key("ours", ConditionsField, "the gateway's own credential is not accepted"),
        key("failed", ConditionsField, "as a 503"),
        key("callers", ConditionsField, "passed on, never stored"),
    ),
)
_HOLD_OFF: Final = Section(
    "Hold-off",
    "No calls after the backend has limited them.",
    _ON_OFF,
    (
        key("per", Choices, _PARTS, choices=Part),
        key("base", Duration, "if the backend names no time; doubled each time"),
        key("max", Duration),
    ),
)
_OUTBOUND: Final = Section(
    "Limit of calls to the backend",
    "Of all workers together.",
    _OFF,
    (
        key("rate", Rate),
        key("per", Choices, _PARTS, choices=Part),
        key("queue", Duration, "how long a call may wait"),
    ),
)
_CORS: Final = Section(
    "Pages of other origins (CORS)",
    "Default: CORS_ORIGINS, without cookies.",
    _ON_OFF,
    (
        key("origins", Words, "https://*.example.com", empty=NONE),
        key("methods", Choices, choices=_METHODS_OR_ANY, empty=NONE),
        key("headers", Words, "* is any", empty=NONE),
        key("expose", Words, empty=NONE),
        key("credentials", Flag, "cookies are sent"),
        key("max_age", Duration),
    ),
)
_SECRET: Final = "env:GATEWAY_SECRET_NAME or file:/run/secrets/name"  # noqa: S105 - the form of a reference
_CREDENTIAL: Final = Section(
    "Credential for the backend",
    "An OAuth 2.0 access token that the gateway obtains.",
    _OFF,
    (
        key("oauth2.grant", Choice, choices=GrantType),
        key("oauth2.token_url", Text),
        key("oauth2.client_id", Text),
        key("oauth2.client_secret", Text, _SECRET),
        key("oauth2.scopes", Words, empty=NONE),
        key("oauth2.audience", Text),
        key("oauth2.refresh_token", Text, _SECRET),
        key("oauth2.service_account", Text, _SECRET),
        key("oauth2.private_key", Text, _SECRET),
        key("oauth2.key_id", Text),
        key("oauth2.issuer", Text),
        key("oauth2.subject", Text),
        key("oauth2.auth", Choice, "how the gateway authenticates", choices=ClientAuth),
        key("oauth2.header", Text, "of the calls; default: Authorization"),
        key("oauth2.prefix", Text, "before the token; default: Bearer", can_be_empty=True),
        key("oauth2.authorize_url", Text),
        key("oauth2.revoke_url", Text),
        key("oauth2.authorize_params", Named),
        key("oauth2.token_params", Named),
        key("oauth2.token_object", Text),
        key("oauth2.allow_http", Flag),
        key("per", Choice, "whose account it is", choices=Per),
        key("shared_cache", Flag),
    ),
)
_IDENTITY: Final = Section(
    "What the backend is told of the caller",
    "",
    _ON_OFF,
    (
        key("fields", Choices, choices=IdentityField, empty=NONE),
        key("header", Text, "of a signed token"),
        key("audience", Text),
        key("issuer", Text),
        key("ttl", Duration),
    ),
)
_PRICE: Final = Section(
    "Price",
    "What a request costs its consumer. A plan's price replaces it.",
    _OFF,
    (
        key("per_request", Number, as_text=True),
        key("currency", Text, "EUR"),
    ),
)
_SIGNATURE: Final = Section(
    "Signatures of requests",
    "",
    (),
    (
        key("components", Words, "what must be covered", suggestions=lambda: sorted(DERIVED), empty=NONE),
        key("max_age", Duration),
        key("leeway", Duration),
        key("nonce", Choice, choices=NonceRule),
        key("tag", Text),
    ),
)
_REQUEST_LOG: Final = Section(
    "Request log",
    "The requests that staff can look up.",
    _ON_OFF,
    (
        key("failures", Flag),
        key("slow", Duration, "slower requests are recorded", null="off"),
        key("sample", Share, "of the others"),
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
