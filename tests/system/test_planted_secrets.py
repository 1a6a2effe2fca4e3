"""Secrets of every kind are planted in one gateway and its requests, and searched for in all that it shows anybody."""

import gzip
import json
import re
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.identity_provider import encoded
from tests.logschema import lines
from tests.origin import Peer
from tests.ports import free_port
from tests.postgres_server import PostgresServer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.seed import create_keys
from tests.system.backend import Backend, failing, ok
from tests.system.server import PYTHON, ROOT, Server
from tests.system.test_traces import Collector

pytestmark = pytest.mark.slow

NAMES: Final = (
    *("SECRET_KEY", "database password", "Redis password", "environment secret", "file secret", "literal secret"),
    *("OAuth client secret", "OAuth access token", "OAuth refresh token", "webhook secret", "wrong webhook secret"),
    *("address of alerts", "signature of alerts", "mail password", "metering field", "metering address"),
    *("collector field", "collector address", "password of staff", "wrong password", "cookie", "query", "bearer token"),
    *("basic password", "unknown key", "body", "proxy password", "secret in a refused configuration", "header field"),
    "token of Firebase",
)
SECRETS: Final = {name: f"Pl4nted{number:02}x{'k3y' * 8}" for number, name in enumerate(NAMES)}
ECHOED: Final = {"query": ("GET /admin/nowhere/", "Explain")}
"""Where somebody's own secret is returned to them: where they go after the login, and what they ask to explain."""
MAX_PAGES: Final = 120
PATHS: Final = (
    *("/metrics", "/metrics/requests", "/metrics/circuit-breakers", "/metrics/cache", "/metrics/usage"),
    *("/metrics/callers", "/metrics/credentials", "/metrics/history", "/metrics/alerts", "/metrics/savings"),
    *("/api/config", "/api/config/history", "/api/config/services/plain", "/api/config/services/tokens"),
    *("/api/config/proposals", "/api/schema", "/health/deep", "/api/revocations"),
)
COMMANDS: Final = ("config export", "config history", "credentials list", "doctor --json", "alerts --test")


def forms(secret: str) -> set[str]:
    """A secret as it is, in an address, and in Base64 at each offset within other text, without its edges."""
    found = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1]}
    for offset in range(3):
        text = b64encode(b"\0" * offset + secret.encode()).decode()
        found |= {part for part in (text[4:-4], text[4:-4].translate(str.maketrans("+/", "-_"))) if len(part) > 8}
    return found


class Shown:
    """What was shown, by place."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, place: str, text: str) -> None:
        self.texts[place] = unescape(text)

    def response(self, place: str, response: requests.Response) -> None:
        self.add(place, f"{response.status_code}\n{response.headers}\n{response.text}")

    def leaks(self, secrets: dict[str, str]) -> list[str]:
        """Which secret is found where."""
        return [
            f"{name} in {place}: ...{text[max(0, text.index(form) - 80) :][:200]}"
            for name, secret in secrets.items()
            for form in forms(secret)
            for place, text in self.texts.items()
            if form in text and not place.startswith(ECHOED.get(name, ()))
        ]


def test_a_secret_is_found_in_any_of_its_forms() -> None:
    shown = Shown()
    shown.add("a header field", b64encode(f"user:{SECRETS['query']}".encode()).decode())
    shown.add("a page", f"<b>{SECRETS['cookie']}</b>")
    shown.add("nothing", "masked")
    found = shown.leaks(SECRETS)
    assert [leak.split(": ")[0] for leak in found] == ["cookie in a page", "query in a header field"]


class Planted:
    """A gateway whose configuration, environment, stores and requests are full of secrets."""

    def __init__(self, stack: ExitStack) -> None:
        self.shown, self.secrets = Shown(), dict(SECRETS)
        self.backend = stack.enter_context(Backend(_scripts(self.secrets)))
        self.collector = stack.enter_context(_collecting())
        self.database, self.redis = PostgresServer(), _redis(self.secrets["Redis password"])
        stack.callback(self.database.close)
        stack.callback(self.redis.stop)
        self.database.start()
        self.redis.start()
        self.server = Server(environment=self._environment())
        stack.callback(self.server.close)
        self._prepare()
        self.server.start()

    def _environment(self) -> dict[str, str]:
        secrets, closed = self.secrets, free_port()
        password = secrets["database password"]
        self.secrets["key of credentials"] = b64encode(b"an encryption key of thirty-two!").decode()
        return {
            "SECRET_KEY": secrets["SECRET_KEY"],
            "CREDENTIAL_KEYS": self.secrets["key of credentials"],
            "DATABASE_URL": self.database.url.replace("gateway@", f"gateway:{password}@"),
            "REDIS_URL": self.redis.url.replace("unix://", f"unix://gateway:{secrets['Redis password']}@"),
            "GATEWAY_SECRET_HEADER": secrets["environment secret"],
            "GATEWAY_SECRET_CLIENT": secrets["OAuth client secret"],
            "GATEWAY_SECRET_HOOK": secrets["webhook secret"],
            "GATEWAY_SECRET_ALERTS": secrets["signature of alerts"],
            "GATEWAY_SECRET_ADDRESS": f"http://127.0.0.1:{closed}/{secrets['address of alerts']}",
            "SMTP_URL": f"smtp://user:{secrets['mail password']}@127.0.0.1:{closed}",
            "ALERT_FROM": "gateway@example.com",
            "METERING_URL": f"http://127.0.0.1:{closed}/?token={secrets['metering address']}",
            "METERING_HEADERS": json.dumps({"Authorization": f"Bearer {secrets['metering field']}"}),
            "METERING_INTERVAL": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.collector.server_port}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={secrets['collector field']}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "DEBUG": "",
            "HTTP_PROXY": f"http://user:{secrets['proxy password']}@127.0.0.1:{closed}",
            "NO_PROXY": "127.0.0.1,localhost",
            "ALLOWED_HOSTS": "127.0.0.1",
        }

    def _prepare(self) -> None:
        scopes = ("*", "metrics:read", "metrics:write", "config:read", "config:write", "debug")
        self.key = create_keys(self.server.manage, {"operator": scopes})["operator"]
        self.secrets["API key"] = self.key.split("_", 2)[2]
        (self.server.directory / "secrets").mkdir()
        file = self.server.directory / "secrets" / "token"
        file.write_text(self.secrets["file secret"])
        self.server.environment["SECRETS_FROM"] = str(file.parent)
        self.server.manage("config", "apply", "-", "--allow-literal-secrets", stdin=json.dumps(self.document(file)))
        create = f"User.objects.create_superuser('ada', password={self.secrets['password of staff']!r})"
        self.server.manage("shell", "-c", f"from django.contrib.auth.models import User; {create}")

    def document(self, file: object) -> dict[str, Any]:
        secrets = self.secrets
        headers = {
            "X-Environment": "env:GATEWAY_SECRET_HEADER",
            "X-File": f"file:{file}",
            "Authorization": f"Bearer {secrets['literal secret']}",
        }
        common = {"targets": self.backend.targets, "retries": {"attempts": 1}, "rate_limit": "100000/m"}
        oauth2 = {"grant": "client_credentials", "client_id": "gateway", "client_secret": "env:GATEWAY_SECRET_CLIENT"}
        base = f"http://127.0.0.1:{self.backend.port}"
        away = [{"url": f"http://127.0.0.1:{free_port()}"}]
        return {
            "version": 1,
            "services": {
                "plain": {**common, "headers": headers, "cache": {"ttl": 60}},
                "open": {**common, "auth": "none"},
                "away": {**common, "targets": away, "headers": headers, "breaker": {"failure_threshold": 3}},
                "tokens": {**common, "credential": {"oauth2": {**oauth2, "token_url": f"{base}/token"}}},
                "refused": {**common, "credential": {"oauth2": {**oauth2, "token_url": f"{base}/refused"}}},
            },
            "webhooks": {"hook": {"verify": "shared_token", "secret": "env:GATEWAY_SECRET_HOOK"}},
            "alerts": [
                {"on": "circuit.open", "to": ["webhook:env:GATEWAY_SECRET_ADDRESS", "email:oncall@example.com"]}
            ],
        }

    def send(self, method: str, path: str, **headers: str) -> requests.Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.server.request(method, path, headers=fields, data=self.secrets["body"])
        self.shown.response(f"{method} {urlsplit(path).path} {sorted(fields)}", response)
        return response

    def requests(self) -> None:
        """Requests that succeed, that are refused, and that fail, with secrets wherever a client may put them."""
        secrets = self.secrets
        query = f"?access_token={secrets['query']}&{secrets['query']}"
        own = {"X_API_Key": self.key, "Cookie": f"sessionid={secrets['cookie']}", "X_Token": secrets["header field"]}
        unsigned = f"{encoded({'alg': 'RS256', 'kid': 'k1'})}.{encoded({'iss': 'https://securetoken.google.com/p'})}"
        firebase = f"{unsigned}.{secrets['token of Firebase']}"
        basic = b64encode(f"user:{secrets['basic password']}".encode()).decode()
        for path in ("/api/v1/plain/x", "/api/v1/tokens/x", "/api/v1/refused/x", "/api/v1/plain/failing"):
            self.send("GET", path + query, **own, X_Gateway_Debug="1")
        for _ in range(5):
            self.send("GET", f"/api/v1/away/x{query}", **own)
        for value in (f"Bearer {firebase}", f"Basic {basic}", f"Bearer {secrets['bearer token']}"):
            self.send("GET", f"/api/v1/plain/y{query}", Authorization=value)
        self.send("POST", f"/api/v1/plain/z{query}", X_API_Key=f"gw_abcdefgh_{secrets['unknown key']}")
        for path in (
            "/nowhere",
            "/admin/nowhere/",
            "/api/v1/none/x",
            "/metrics/requests/none",
            "/hooks/none",
            "/events",
        ):
            self.send("GET", path + query, **own)
        for path in ("/admin/login/", "/api/explain", "/metrics/cache/warm", "/hooks/hook"):
            self.send("POST", path + query, **own)  # also without the CSRF token
        for secret in ("webhook secret", "wrong webhook secret"):
            self.send("POST", "/hooks/hook", X_Webhook_Token=secrets[secret])

    def api(self) -> None:
        explained = {
            "method": "GET",
            "path": f"/api/v1/plain/x?token={self.secrets['query']}",
            "headers": {"Authorization": f"Bearer {self.secrets['bearer token']}", "Cookie": self.secrets["cookie"]},
        }
        found = self.server.request("POST", "/api/explain", self.key, json=explained)
        assert found.status_code == 200, found.text
        self.shown.response("Explain", found)
        refused = {
            "version": 1,
            "services": {"new": {"targets": [{"url": "http://a"}], "headers": {"Authorization": "x"}}},
        }
        text = json.dumps(refused).replace('"x"', json.dumps(self.secrets["secret in a refused configuration"]))
        self.shown.response("PUT /api/config", self.server.request("PUT", "/api/config", self.key, data=text))
        for path in PATHS:
            for accept in ("application/json", "text/plain"):
                response = self.server.get(path, self.key, headers={"Accept": accept})
                self.shown.response(f"{path} as {accept}", response)
        for request in self.server.get("/metrics/requests?limit=100", self.key).json()["requests"]:
            self.shown.response(
                f"request {request['id']}", self.server.get(f"/metrics/requests/{request['id']}", self.key)
            )
        for revision in self.server.get("/api/config/history", self.key).json()["revisions"]:
            path = f"/api/config/history/{revision['id']}"
            self.shown.response(path, self.server.get(path, self.key))

    def commands(self) -> None:
        for command in COMMANDS:
            self._run(*command.split())
        file = self.server.directory / "backup"
        self.server.manage("backup", str(file))
        self.shown.add("a backup", gzip.decompress(file.read_bytes()).decode())

    def _run(self, *arguments: str) -> None:
        """What a command prints, whether it succeeds or not."""
        command, environment = [*PYTHON, *arguments], self.server.environment
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        self.shown.add(" ".join(arguments), done.stdout + done.stderr)

    def pages(self) -> int:
        """All that staff can reach from the admin and the dashboard. Returns the number of pages."""
        cookies = self._log_in()
        waiting, seen = ["/admin/", "/dashboard/"], {"/admin/", "/dashboard/"}
        while waiting and len(seen) - len(waiting) < MAX_PAGES:
            path = waiting.pop(0)
            page = requests.get(self.server.address + path, cookies=cookies, timeout=60, allow_redirects=True)
            self.shown.add(path, page.text)
            for link in map(unescape, re.findall(r'href="(/(?:admin|dashboard)/[^"#]*)"', page.text)):
                name = link.partition("?")[0]
                if name not in seen and not re.search("logout|jsi18n", link):
                    seen.add(name)
                    waiting.append(link)
        return len(seen)

    def _log_in(self) -> dict[str, str]:
        address = f"{self.server.address}/admin/login/"
        for secret in ("wrong password", "password of staff"):
            token = requests.get(address, timeout=30).cookies["csrftoken"]
            form = {"username": "ada", "password": self.secrets[secret], "csrfmiddlewaretoken": token}
            page = requests.post(address, data=form, cookies={"csrftoken": token}, timeout=30, allow_redirects=False)
            self.shown.add(f"the login with the {secret}", page.text)
        assert page.status_code == 302, page.text
        self.secrets["session of staff"] = page.cookies["sessionid"]
        return {"sessionid": page.cookies["sessionid"]}

    def outages(self) -> None:
        """What is logged and shown while the stores are away."""
        self.redis.stop()
        self.database.stop()
        for path in ("/metrics", "/health/deep", "/admin/login/", "/dashboard/", "/api/config", "/api/v1/plain/x"):
            self.shown.response(f"{path} in an outage", self.server.get(path, self.key))
        self.database.start()
        self.redis.start()


def _redis(password: str) -> RedisServer:
    return RedisServer("--user", "gateway", "on", f">{password}", "~*", "&*", "+@all")


def _scripts(secrets: dict[str, str]) -> dict[str, Any]:
    async def token(peer: Peer) -> None:
        await peer.read_body()
        names = ("access_token", "refresh_token")
        tokens = {name: secrets[f"OAuth {name.replace('_', ' ')}"] for name in names}
        await peer.send(ok(json.dumps({**tokens, "token_type": "Bearer", "expires_in": 3600}).encode()))

    async def refused(peer: Peer) -> None:
        body = (await peer.read_body()).decode()
        text = f"{secrets['OAuth client secret']} is wrong: {body} {dict(peer.request.fields)}"
        error = json.dumps({"error": "invalid_client", "error_description": text}).encode()
        head = b"HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(error)
        await peer.send(head + error)

    return {"/token": token, "/refused": refused, "/failing": failing()}


class _collecting:  # noqa: N801 - a context manager
    """A collector of traces in a thread."""

    def __enter__(self) -> Collector:
        self._server = Collector()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    with ExitStack() as stack:
        yield Planted(stack)


def test_no_secret_is_in_anything_that_the_gateway_shows(planted: Planted) -> None:
    assert eventually(lambda: planted.server.get("/api/v1/plain/x", planted.key).status_code == 200)
    planted.requests()
    planted.api()
    planted.commands()
    assert planted.pages() > 30
    planted.outages()
    assert eventually(lambda: len(planted.collector.spans) > 20)
    assert eventually(lambda: "/api/v1/away/x" in planted.server.log)
    assert eventually(lambda: "an alert could not be sent to " in planted.server.log)
    planted.server.terminate()
    planted.server.wait()
    planted.shown.add("the log", planted.server.log)
    planted.shown.add("traces", str(planted.collector.taken))
    assert lines(planted.server.log)
    leaks = planted.shown.leaks(planted.secrets)
    assert leaks == [], "\n".join(leaks)


def test_the_secrets_were_used(planted: Planted) -> None:
    received = str([request.fields for request in planted.backend.requests])
    for name in ("environment secret", "file secret", "literal secret", "OAuth access token"):
        assert planted.secrets[name] in received, name
    assert b64encode(f"gateway:{planted.secrets['OAuth client secret']}".encode()).decode() in received
