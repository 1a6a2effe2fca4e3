"""Connecting an account in Chromium: the form's redirect to the provider, its cookie, and the way back."""

import json
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from playwright.sync_api import Browser, expect

from tests.browser.pages import reply, running_gateway, web_server

CONFIGURATION = """
version: 1
services:
  mail:
    targets: [{{url: "http://127.0.0.1:{provider}"}}]
    credential:
      per: caller
      oauth2:
        grant: refresh_token
        token_url: "http://127.0.0.1:{provider}/token"
        authorize_url: "http://127.0.0.1:{provider}/authorize"
        client_id: gateway
        client_secret: env:GATEWAY_SECRET_MAIL
"""


def respond(handler: BaseHTTPRequestHandler) -> None:
    """A provider that asks on a page of its own, after a redirect."""
    target = urlsplit(handler.path)
    query = {name: values[0] for name, values in parse_qs(target.query).items()}
    if target.path == "/authorize":
        reply(handler, 302, b"", Location=f"/ask?{target.query}")
    elif target.path == "/ask":
        back = f"{query['redirect_uri']}?code=c&state={query['state']}"
        reply(handler, 200, f'<a href="{back}">allow</a>'.encode())
    elif target.path == "/token":
        tokens = {"access_token": "a", "refresh_token": "r", "expires_in": 3600, "team": {"name": "<b>Acme</b>"}}
        reply(handler, 200, json.dumps(tokens).encode())
    else:
        reply(handler, 200, handler.headers.get("Authorization", "").encode())


def test_a_person_connects_and_disconnects_an_account(browser: Browser, tmp_path: Path) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(web_server(respond))
        configuration = CONFIGURATION.format(provider=provider)
        port, key = stack.enter_context(running_gateway(tmp_path, configuration, GATEWAY_SECRET_MAIL="m"))
        page = stack.enter_context(browser.new_context()).new_page()
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        address, headers = f"http://127.0.0.1:{port}", {"X-API-Key": key}

        def link() -> str:
            return str(requests.post(f"{address}/connect/mail/links", headers=headers, timeout=30).json()["url"])

        page.goto(link())
        page.get_by_role("button", name="Connect").click()
        page.get_by_role("link", name="allow").click()
        expect(page.get_by_role("status")).to_have_text("The account <b>Acme</b> is connected.")
        response = requests.get(f"{address}/api/v1/mail/x", headers=headers, timeout=30)
        assert (response.status_code, response.text) == (200, "Bearer a")
        page.goto(link())
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_have_text("The account is disconnected.")
        assert requests.get(f"{address}/api/v1/mail/y", headers=headers, timeout=30).status_code == 403
        assert faults == []
