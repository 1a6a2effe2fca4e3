"""The request fields by which backends identify users of their own, whom the gateway does not know. Pure rules."""

import re
from functools import lru_cache
from typing import Final

from routing.http import Request

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
x-jfrog-art-api openai-project x-rh-identity x-registry-auth jenkins-crumb remote-name stripe-context
dropbox-api-select-admin dropbox-api-path-root x-shopify-shop-domain x-telegram-init-data x-ssl-client-dn x-client-dn
"""
_NAMED: Final = frozenset(name.encode() for name in _CREDENTIALS.split())
CREDENTIALS: Final = _NAMED | {name.replace(b"-", b"_") for name in _NAMED}
"""Fields by which backends are known to identify a user, a session or a tenant of their own. Some backends read
underscores as hyphens.
"""

_TELLING: Final = re.compile(
    rb"(?:^|-)(?:"
    rb"[a-z0-9]*(?:token|secret|passw(?:or)?d|passphrase|credential|jwt|apikey|accesskey|authkey|session|sessionid)s?|"
    rb"auth|authn|authz|authori[sz]ation|authentication|authenticated|assertion|ticket|csrf|xsrf|oidc|saml|sso|"
    rb"impersonated?|impersonation|sudo|runas|run-as|on-behalf-of|tenant|tenantid|organi[sz]ation|organi[sz]ationid|"
    rb"bearer|hmac|passcode|otp|totp|mfa|uid|eppn|msisdn|userinfo|usercontext"
    rb")(?:-|$)|"
    rb"(?:^|-)(?:user|account|org|workspace|company|customer|login|principal|identity|subject|member|employee|person|"
    rb"actor|owner|merchant|seller|vendor|partner|project|team)s?"
    rb"(?:-?(?:id|name|e?mail|uuid|key|slug|info|context|groups?|roles?|permissions?|claims?))?$|"
    rb"(?:^|-)(?:email|sid|pin|roles?|groups|permissions)$|"
    rb"-key$"
)
"""What the names of such fields usually contain: these words between hyphens, or at the end."""
_HARMLESS: Final = re.compile(
    rb"authorization|proxy-authorization|x-api-key|sec-.*|access-control-.*|x-forwarded-.*|x-gateway-.*|"
    rb"(?:x-)?(?:idempotency|cache|surrogate)-key|x-goog-user-project"
)
"""Names that look like these, and are part of the key, end at the gateway, or identify nobody."""
LONGEST_NAME: Final = 64
"""Bytes of the longest name that is judged and remembered. Clients choose names; those of credentials are shorter."""
_BINDING: Final = (b"ntlm", b"negotiate")
"""Authentication schemes that some servers apply to the connection instead of the request (RFC 4559 section 6)."""


def is_credential(name: bytes) -> bool:
    """Whether a field of this name identifies a user, a session or a tenant that the gateway does not know: by the list
    above, or by its name. Some backends read underscores as hyphens.
    """
    return name in CREDENTIALS or (len(name) <= LONGEST_NAME and _looks_like_one(name))


@lru_cache(maxsize=4_096)
def _looks_like_one(name: bytes) -> bool:
    folded = name.replace(b"_", b"-")
    return _TELLING.search(folded) is not None and _HARMLESS.fullmatch(folded) is None


def binds_connection(request: Request) -> bool:
    """Whether the request's Authorization may authenticate all further requests on its connection."""
    if b"authorization" not in request.fields:
        return False
    values = [value for name, value in request.headers if name == b"authorization"]
    return any(value.lower().lstrip().startswith(_BINDING) for value in values)
