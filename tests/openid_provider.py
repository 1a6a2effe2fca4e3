"""An OpenID provider with authorization codes, PKCE, UserInfo and logout, over real HTTP. Each part can be wrong."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from tests.browser.pages import reply, web_server
from tests.identity_provider import Provider

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
CLIENT_ID = "gateway"
CLIENT_SECRET = "s3cret: with + and %"  # a form must encode it
Claims = dict[str, Any]


class OpenIDProvider(Provider):
    """`person` are the claims of whoever signs in next. `edit` changes those of the ID token, and `sign` encodes them.

    `userinfo` is what UserInfo returns; None for no such endpoint. `consent` shows a page in place of an immediate
    redirect. `authorize_error` and `token_error` are returned in place of a code or tokens. Requests for `slow_path`
    wait until `gate` is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.person: Claims = {"sub": "ada-1", "preferred_username": "ada.l", "groups": ["ops"]}
        self.edit: Callable[[Claims], Claims] = dict
        self.sign: Callable[[Claims], str] = lambda claims: self.signed(claims, "k1")
        self.userinfo: Claims | None = None
        self.consent = False
        self.authorize_error = ""
        self.token_error: tuple[int, Claims] | None = None
        self.slow_path = ""
        self.is_away = False
        self.ends_sessions = True
        self.secret_in_form = False
        self.codes: dict[str, dict[str, str]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    def logout_token(self, kid: str = "k1", header: Claims | None = None, **claims: Any) -> str:
        """A logout token for the client. `claims` replace its own; None removes one."""
        own: Claims = {"aud": CLIENT_ID, "sub": None, "jti": secrets.token_urlsafe(12), "events": {LOGOUT_EVENT: {}}}
        own["exp"] = int(time.time()) + 120
        return self.signed(self.claims(**(own | claims)), kid, header={"typ": "logout+jwt", **(header or {})})

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        target = urlsplit(handler.path)
        if self.is_away:
            handler.close_connection = True
            return
        if target.path == self.slow_path:
            self.gate.wait(20)
        query = _flat(target.query)
        self.requests.append((target.path, query))
        match target.path:
            case "/authorize":
                self._authorize(handler, query)
            case "/agree":
                reply(handler, 302, b"", Location=self._granted(query))
            case "/token":
                _json(handler, *self._token(handler))
            case "/userinfo":
                _json(handler, 200, self.userinfo or {})
            case "/logout":
                reply(handler, 200, b"<!doctype html><title>Provider</title><h1>Signed out of the provider</h1>")
            case path:
                _json(handler, *self.response(path))

    def response(self, path: str) -> tuple[int, Any]:
        status, document = super().response(path)
        if path == self.metadata_path:
            endpoints = {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in self._endpoints().items()}
            methods = ["client_secret_post"] if self.secret_in_form else ["client_secret_basic"]
            document = {**endpoints, "token_endpoint_auth_methods_supported": methods, **document}
        return status, document

    def _endpoints(self) -> dict[str, str]:
        found = {"authorization": "authorize", "token": "token"}
        found |= {} if self.userinfo is None else {"userinfo": "userinfo"}
        return found | ({"end_session": "logout"} if self.ends_sessions else {})

    def _authorize(self, handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        if self.consent:
            page = f'<!doctype html><title>Provider</title><a href="/agree?{urlsplit(handler.path).query}">Agree</a>'
            reply(handler, 200, page.encode())
        else:
            reply(handler, 302, b"", Location=self._granted(query))

    def _granted(self, query: dict[str, str]) -> str:
        """Where the browser is sent back to."""
        answer = {"state": query["state"]}
        if self.authorize_error:
            answer |= {"error": self.authorize_error, "error_description": "<script>alert(1)</script>"}
        else:
            code = answer["code"] = secrets.token_urlsafe(16)
            self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def _token(self, handler: BaseHTTPRequestHandler) -> tuple[int, Any]:
        form = _flat(handler.body)  # type: ignore[attr-defined] # set by _body
        if self.token_error is not None:
            return self.token_error
        if self._client(handler, form) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        claims = self.edit(self.claims(aud=CLIENT_ID, nonce=asked["nonce"], **self.person))
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": self.sign(claims)}

    def _client(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> tuple[str, str]:
        scheme, _, pair = handler.headers.get("Authorization", "").partition(" ")
        if self.secret_in_form:
            assert not scheme
            return form.get("client_id", ""), form.get("client_secret", "")
        assert scheme == "Basic"
        client, _, secret = base64.b64decode(pair).decode().partition(":")
        return unquote_plus(client), unquote_plus(secret)


@contextmanager
def serving_openid(provider: OpenIDProvider) -> Iterator[OpenIDProvider]:
    """Serves the provider at a loopback address, which becomes its issuer."""
    with web_server(provider.respond) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        try:
            yield provider
        finally:
            provider.gate.set()


def _json(handler: BaseHTTPRequestHandler, status: int, document: Any) -> None:
    reply(handler, status, json.dumps(document).encode(), Content_Type="application/json")


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
