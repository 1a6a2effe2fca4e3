"""Header fields of clients that no backend receives: it would trust what they say, or act upon it."""

from typing import Final

GATEWAY_FIELDS: Final = frozenset(
    {
        b"via",
        b"forwarded",
        b"x-real-ip",
        b"x-request-id",
        b"x-gateway-caller",
        b"x-gateway-debug",
        b"x-gateway-timeout-ms",
    }
)
"""Fields that a backend can trust, since only the gateway sets them."""
OVERRIDE_FIELDS: Final = frozenset(
    {
        b"x-original-url",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-override-url",
        b"x-original-uri",
        b"x-original-method",
        b"x-original-path",
        b"x-original-host",
        b"x-rewrite-uri",
        b"x-http-path-override",
        b"x-envoy-original-path",
        b"x-envoy-original-method",
        b"path-info",
        b"script-name",
        b"x-script-name",
        b"x-ingress-path",
        b"x-forwarded",
        b"x-invoke-error",
        b"x-invoke-output",
        b"x-invoke-path",
        b"x-invoke-query",
        b"x-invoke-status",
        b"x-matched-path",
        b"x-now-route-matches",
        b"x-middleware-invoke",
        b"x-middleware-next",
        b"x-middleware-override-headers",
        b"x-middleware-prefetch",
        b"x-middleware-redirect",
        b"x-middleware-rewrite",
        b"x-middleware-set-cookie",
        b"x-middleware-subrequest",
        b"x-host",
        b"x-host-override",
        b"x-http-host-override",
        b"x-scheme",
        b"x-url-scheme",
        b"front-end-https",
    }
)
"""Fields that make some backends use another path, method, host or scheme than was routed, authorized and cached, or
take the request for one of their own: Next.js skipped its middleware, and the authorization there (CVE-2025-29927), and
gunicorn takes what SCRIPT_NAME says off the beginning of the path.
"""
CERTIFICATE_FIELDS: Final = frozenset({b"client-cert", b"client-cert-chain"})
"""Fields that a backend may take for the certificate of a client whose TLS connection ended here (RFC 9440)."""
PROXY: Final = frozenset({b"proxy"})
"""No field of HTTP. As the variable HTTP_PROXY of CGI, it would redirect the backend's own calls (CVE-2016-5385)."""
