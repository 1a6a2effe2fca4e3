"""The sections of a service's and a route's settings, with a field for each of their keys."""

from typing import Final

from django.utils.translation import gettext_lazy as _

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CACHEABLE_METHODS, Scope
from resilience.partition import Part
from routing.admin.setting_fields.base import Choice, Flag, Json, Number, Text, Whole
from routing.admin.setting_fields.conditions import ConditionsField
from routing.admin.setting_fields.lists import Choices, Named, Words
from routing.admin.setting_fields.measures import Duration, Rate, Share
from routing.admin.setting_fields.section import NO_LIMIT, NONE, OFF, Section, key
from routing.admin.setting_fields.suggestions import service_names, tag_names
from routing.admin.setting_fields.tls import TLS
from routing.authentication.signatures.policy import DERIVED, NonceRule
from routing.configuration.values import SUPPORTED_METHODS
from routing.router.credential_policy import ClientAuth, GrantType, Per
from routing.router.identity_policy import IdentityField
from routing.router.policy import Spelling, TrailingSlash

_OFF: Final = ("off",)
_ON_OFF: Final = ("on", "off")
_METHODS_OR_ANY: Final = ("*", *SUPPORTED_METHODS)
_PARTS: Final = _("what distinguishes calls")

PATHS: Final = Section(
    _("Paths"),
    _("How the service reads paths."),
    (),
    (
        key("encoded_slash", Choice, _("%2F within a segment"), choices=Spelling),
        key("empty_segments", Choice, "//", choices=Spelling),
        key("case_sensitive", Flag),
        key("trailing_slash", Choice, _("/a and /a/"), choices=TrailingSlash),
    ),
)
THRESHOLDS: Final = Section(
    _("Incidents"),
    _("When the dashboard reports an incident."),
    _ON_OFF,
    (
        key("error_rate", Share, _("of the requests"), null=OFF),
        key("client_error_rate", Share, _("of the requests, 4xx of the backend"), null=OFF),
        key("refusal_rate", Share, _("of the requests, refused by the gateway"), null=OFF),
        key("latency", Duration, _("95 % of the requests are faster; default: half of the time limit"), null=OFF),
        key("hit_rate_drop", Share, _("against the hour before"), null=OFF),
        key("minimum_requests", Whole, _("fewer in the window are not judged"), unit=_("requests")),
        key("window", Duration),
    ),
)
_SLO: Final = Section(
    _("Objectives"),
    _("Service level objectives. Their error budgets are on the dashboard."),
    (),
    (
        key("availability", Number, _("of the requests are answered with a status below 500, such as 99.9"), unit="%"),
        key("latency", Text, _("such as 300ms@95: 95 % of the requests take at most 300 ms")),
        key("window", Duration, _("whole days; default: 30")),
    ),
)
_IP: Final = Section(
    _("Client addresses"),
    _("Which may call. Deny wins."),
    _OFF,
    (
        key("allow", Words, _("10.0.0.0/8, 2001:db8::/32 or country:DE; default: all"), null=NO_LIMIT),
        key("deny", Words, null=NONE),
    ),
)
_TIMEOUT: Final = Section(
    _("Time limits"),
    "",
    (),
    (
        key("connect", Duration, _("to open a connection")),
        key("read", Duration, _("to the head of the response")),
        key("total", Duration, _("to the head over all attempts, and for an upload"), null=NO_LIMIT),
        key("idle", Duration, _("between two pieces of a body"), null=NO_LIMIT),
        key("stream", Duration, _("for a whole response"), null=NO_LIMIT),
        key("ping", Duration, _("of silence in an event stream, until a comment is sent"), null=NONE),
    ),
)
_RETRIES: Final = Section(
    _("Retries"),
    _("Of idempotent methods only."),
    (),
    (
        key("attempts", Whole, _("the first call included"), unit=_("calls")),
        key("budget", Share, _("of the calls may be repeated")),
    ),
)
_CACHE: Final = Section(
    _("Cache"),
    "",
    _ON_OFF,
    (
        key("ttl", Duration, _("how long a response is fresh, unless it says so itself")),
        key("scope", Choice, _("who may receive a stored response"), choices=Scope),
        key("stale_while_revalidate", Duration, _("how long a stale response is sent while a new one is fetched")),
        key("stale_if_error", Duration, _("how long a stale response is sent if the backend fails")),
        key("tags", Words, _("{name} is a parameter of the path"), suggestions=tag_names, empty=NONE),
        key("vary", Words, _("fields of requests by which responses differ"), empty=NONE),
        key("override", Flag, _("the TTL holds whatever responses say")),
        key("credentials", Words, _("fields by which the backend knows its users"), empty=NONE, null="null"),
        key("ignore", Choices, _("not read of responses"), choices=Ignorable, empty=NONE),
        key("ignore_vary", Words, _("fields not read of Vary"), empty=NONE),
        key("share_ignored", Flag, _("share responses that say private")),
        key("methods", Choices, _("POST on routes where it only reads"), choices=CACHEABLE_METHODS),
        key("key.body", Words, _("fields of a POST's body; default: all of it"), null=_("all of it")),
        key("key.query.ignore", Words, _("parameters that do not matter"), empty=NONE),
        key("key.query.sort", Flag, _("the order of parameters does not matter")),
        key("key.headers", Words, empty=NONE),
        key("bypass_query", Words, _("parameters of the query with which nothing is cached"), empty=NONE),
        key("only_if", ConditionsField, _("default: all responses that the rules allow")),
        key(
            "invalidate_own.when", ConditionsField, _("responses after which what their caller has cached is outdated")
        ),
        key("invalidate_own.tags", Words, _("tags of what is outdated: mailbox:{user}")),
        key("cookies", Words, _("the only cookies that are part of the key"), empty=NONE, null="null"),
    ),
)
_BREAKER: Final = Section(
    _("Circuit breaker"),
    "",
    (),
    (
        key("failure_threshold", Whole, _("in the window"), unit=_("failures")),
        key("window", Duration),
        key("open_for.base", Duration, _("how long the circuit stays open")),
        key("open_for.factor", Number, _("the next time, so many times as long"), unit=_("times")),
        key("open_for.max", Duration, _("and never longer")),
        key("success_threshold", Whole, _("that close the circuit"), unit=_("successes")),
        key("failure_rate", Share, _("of the calls, instead of a number"), null=OFF),
        key("minimum_calls", Whole, _("for a rate"), unit=_("calls")),
        key("slow_call", Duration, _("is a failure"), null=OFF),
        key("half_open_permits", Whole, _("at once, while probing whether the backend works"), unit=_("calls")),
    ),
)
_HEALTH: Final = Section(
    _("Health checks"),
    _("One worker checks for all."),
    _ON_OFF,
    (
        key("path", Text),
        key("interval", Duration),
        key("timeout", Duration),
        key("down_after", Whole, unit=_("failures")),
        key("up_after", Whole, unit=_("successes")),
    ),
)
_FALLBACK: Final = Section(
    _("Fallback"),
    _("Returned when the circuit is open and there is no stale response; a service is sent the same request."),
    _ON_OFF,
    (
        key("service", Choice, choose_from=service_names),
        key("status", Whole),
        key("body", Json, _("any JSON: {items: []}")),
    ),
)
_OUTCOME: Final = Section(
    _("What a response means"),
    _("Conditions are tried in this order."),
    _ON_OFF,
    (
        key("limited", ConditionsField, _("the backend limits calls")),
        key("ours", ConditionsField, _("the gateway's own credential is not accepted")),
        key("failed", ConditionsField, _("as a 503")),
        key("callers", ConditionsField, _("passed on, never stored")),
    ),
)
_HOLD_OFF: Final = Section(
    _("Hold-off"),
    _("No calls after the backend has limited them."),
    _ON_OFF,
    (
        key("per", Choices, _PARTS, choices=Part),
        key("base", Duration, _("if the backend names no time; doubled each time")),
        key("max", Duration),
    ),
)
_OUTBOUND: Final = Section(
    _("Limit of calls to the backend"),
    _("Of all workers together."),
    _OFF,
    (
        key("rate", Rate),
        key("per", Choices, _PARTS, choices=Part),
        key("queue", Duration, _("how long a call may wait")),
    ),
)
_CORS: Final = Section(
    _("Pages of other origins (CORS)"),
    _("Default: CORS_ORIGINS, without cookies."),
    _ON_OFF,
    (
        key("origins", Words, "https://*.example.com", empty=NONE),
        key("methods", Choices, choices=_METHODS_OR_ANY, empty=NONE),
        key("headers", Words, _("* is any"), empty=NONE),
        key("expose", Words, empty=NONE),
        key("credentials", Flag, _("cookies are sent")),
        key("max_age", Duration),
    ),
)
_SECRET: Final = _("env:GATEWAY_SECRET_NAME or file:/run/secrets/name")
_CREDENTIAL: Final = Section(
    _("Credential for the backend"),
    _("An OAuth 2.0 access token that the gateway obtains."),
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
        key("oauth2.auth", Choice, _("how the gateway authenticates"), choices=ClientAuth),
        key("oauth2.header", Text, _("of the calls; default: Authorization")),
        key("oauth2.prefix", Text, _("before the token; default: Bearer"), can_be_empty=True),
        key("oauth2.authorize_url", Text),
        key("oauth2.revoke_url", Text),
        key("oauth2.authorize_params", Named),
        key("oauth2.token_params", Named),
        key("oauth2.token_object", Text),
        key("oauth2.allow_http", Flag),
        key("per", Choice, _("whose account it is"), choices=Per),
        key("shared_cache", Flag),
    ),
)
_IDENTITY: Final = Section(
    _("What the backend is sent about the caller"),
    "",
    _ON_OFF,
    (
        key("fields", Choices, choices=IdentityField, empty=NONE),
        key("header", Text, _("of a signed token")),
        key("audience", Text),
        key("issuer", Text),
        key("ttl", Duration),
    ),
)
_PRICE: Final = Section(
    _("Price"),
    _("What a request costs its consumer. A plan's price replaces it."),
    _OFF,
    (
        key("per_request", Number, as_text=True),
        key("currency", Text, "EUR"),
    ),
)
_SIGNATURE: Final = Section(
    _("Signatures of requests"),
    "",
    (),
    (
        key("components", Words, _("what must be covered"), suggestions=lambda: sorted(DERIVED), empty=NONE),
        key("max_age", Duration),
        key("leeway", Duration),
        key("nonce", Choice, choices=NonceRule),
        key("tag", Text),
    ),
)
_REQUEST_LOG: Final = Section(
    _("Request log"),
    _("The requests that staff can look up."),
    _ON_OFF,
    (
        key("failures", Flag),
        key("slow", Duration, _("slower requests are recorded"), null=OFF),
        key("sample", Share, _("of the others")),
    ),
)
SERVICE_SECTIONS: Final = {"paths": PATHS, "tls": TLS, "thresholds": THRESHOLDS, "slo": _SLO}
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
