"""Requests that bypass the cache: their responses depend on more than is part of a key. Pure decisions."""

from typing import Final

from resilience.cache.messages import CACHE_FIELDS
from resilience.cache.policy import CachePolicy
from routing.http import Request

_CONTENT: Final = frozenset({b"content-length", b"transfer-encoding"})
_LAST_EVENT_ID: Final = b"last-event-id"
EVENT_STREAM: Final = b"text/event-stream"

_CREDENTIALS: Final = """
x-auth x-auth-key x-auth-token x-auth-user x-auth-email x-auth-request-user x-auth-request-email
x-auth-request-access-token x-authorization x-authentication auth-token x-access-token access-token x-refresh-token
x-id-token x-jwt x-jwt-token x-jwt-assertion x-token token x-user x-user-id x-user-email x-user-token x-username
x-remote-user remote-user x-session x-session-id x-session-token session-token x-sessionid x-csrf x-csrf-token
x-csrftoken csrf-token x-xsrf-token xsrf-token x-api-token api-token x-apikey apikey api-key x-api-secret
x-secret x-secret-key x-app-key x-app-token x-client-secret x-client-token x-client-cert
x-ssl-client-cert x-ssl-client-s-dn ssl-client-cert client-cert x-tenant x-tenant-id x-org-id x-scope-orgid
x-account-id x-acting-user x-impersonate-user impersonate-user impersonate-group x-on-behalf-of dpop signature
signature-input x-signature x-service-token x-internal-token x-admin-token private-token job-token deploy-token
x-gitlab-token x-github-token x-vault-token x-vault-namespace x-consul-token x-nomad-token x-amz-security-token
x-amzn-oidc-identity x-amzn-oidc-data x-goog-api-key x-goog-iap-jwt-assertion x-goog-authenticated-user-email
x-goog-authenticated-user-id x-serverless-authorization x-functions-key x-ms-client-principal x-ms-client-principal-id
x-ms-token-aad-access-token x-zumo-auth ocp-apim-subscription-key x-rapidapi-key cf-access-jwt-assertion
cf-access-authenticated-user-email cf-access-client-id cf-access-client-secret cf-authorization
x-shopify-access-token x-shopify-storefront-access-token x-figma-token x-plex-token x-emby-token
x-mediabrowser-token x-emby-authorization x-transmission-session-id x-parse-session-token x-parse-rest-api-key
x-parse-master-key x-appwrite-key x-appwrite-jwt x-appwrite-session x-hasura-admin-secret x-hasura-access-key
x-hasura-role x-hasura-user-id x-redmine-api-key x-redmine-switch-user x-discourse-key api-username x-typesense-api-key
x-meili-api-key x-algolia-api-key dd-api-key dd-application-key x-honeycomb-team circle-token
x-postmark-server-token x-subject-token x-storage-token x-auth-sudo sudo x-grafana-org-id x-webauth-user x-dss-token
x-ovh-consumer x-ovh-signature x-bz-auth-token x-mbx-apikey x-kong-token x-consumer-id x-consumer-username
x-credential-identifier x-authenticated-userid x-authenticated-user x-authenticated-scope
"""
_NAMED: Final = frozenset(name.encode() for name in _CREDENTIALS.split())
CREDENTIALS: Final = _NAMED | {name.replace(b"-", b"_") for name in _NAMED}
"""Fields by which backends are known to identify a user, a session or a tenant of their own. Some backends read
underscores as hyphens.
"""
SPECIAL_FIELDS: Final = CACHE_FIELDS | _CONTENT | CREDENTIALS | {_LAST_EVENT_ID}
"""A GET without any of these can be answered by a fresh response without further checks, unless it accepts an event
stream.
"""


BYPASS_RULES: Final = {
    "content": "a request with content bypasses the cache",
    "last-event-id": "a request that resumes an event stream bypasses the cache",
    "credential": "a request with a credential that cache.credentials does not name bypasses the cache",
    "event-stream": "a request for an event stream bypasses the cache",
}
"""What `bypass_detail` returns, for an operator."""


def bypass_detail(request: Request, policy: CachePolicy) -> str:
    """Why this GET or HEAD neither reads nor fills the cache nor waits for another's fetch; empty if it does.

    - Content: the response depends on it, and it may take its time to arrive.
    - A credential that the gateway does not know: the response may be for its owner alone. One that the policy names is
      part of the key, and one that the response varies by selects a variant.
    - An event stream: it does not end, and a reconnection resumes it at an event of its own (HTML standard, section
      9.2.4).
    """
    fields = request.fields
    if not SPECIAL_FIELDS.isdisjoint(fields):
        if request.body is not None or _announces_content(fields):
            return "content"
        if _LAST_EVENT_ID in fields:
            return "last-event-id"
        if _has_unknown_credential(fields, policy):
            return "credential"
    return "event-stream" if EVENT_STREAM in fields.get(b"accept", b"").lower() else ""


def _announces_content(fields: dict[bytes, bytes]) -> bool:
    """RFC 9112 section 6.3."""
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"").strip(b"0") != b""


def _has_unknown_credential(fields: dict[bytes, bytes], policy: CachePolicy) -> bool:
    if policy.credentials == () or CREDENTIALS.isdisjoint(fields):
        return False
    known = {name.lower().encode() for name in (*(policy.credentials or ()), *policy.vary)}
    return any(name.replace(b"_", b"-") not in known for name in CREDENTIALS.intersection(fields))
