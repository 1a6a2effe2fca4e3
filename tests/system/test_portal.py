"""The portal over two workers on a real Redis, with a port for staff: what one worker does, all know."""

import json
import re
from typing import Any

import pytest
import requests

from tests.ports import free_port
from tests.processes import eventually
from tests.system.backend import Backend, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import Server

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
PLANS = {"free": {"rate": "100000/m", "services": ["flaky"]}}
INVITE = """
from routing.database.members import invite
from routing.models import Consumer
print(invite(Consumer.objects.get(name="acme"), "dev@acme.example", "member")[1])
"""


class Person:
    """A browser without scripts. Each request is a new connection, of whichever worker accepts it."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self.session = requests.Session()
        self.session.headers["Connection"] = "close"

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.address}/portal/{path}", timeout=30)

    def post(self, path: str, **data: Any) -> requests.Response:
        token = self.session.cookies["csrftoken"]
        form = {"csrfmiddlewaretoken": token, **data}
        return self.session.post(f"{self.address}/portal/{path}", form, timeout=30)


def secret_in(response: requests.Response) -> str:
    found = re.search(r'<code id="secret">(\w+)</code>', response.text)
    assert found, response.text
    return found[1]


def on_all(server: Server, path: str, key: str, status: int) -> bool:
    workers = server.connections().values()
    return all(worker.get(path, key)[0] == status for worker in workers)


def test_what_a_member_does_holds_in_all_workers(seed: Seed, backend: Backend, redis_url: str) -> None:
    backend.scripts |= {"/fine": ok(), "/wrong": b"HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n"}
    environment = {"REDIS_URL": redis_url, "STAFF_PORT": str(free_port()), "DEBUG": "1"}
    with gateway(seed, backend, "--workers", "2", **environment) as server:
        document = json.dumps({"version": 1, "services": {}, "plans": PLANS, "consumers": {"acme": {"plan": "free"}}})
        server.manage("config", "apply", "-", "--only", "plan free", "--only", "consumer acme", stdin=document)
        assert server.get("/portal/login/").status_code == 404
        link = server.manage("shell", "--no-imports", "-c", INVITE).split()[-1]
        person = Person(server)
        assert eventually(lambda: all(person.get("login/").status_code == 200 for _ in range(8)))
        staff = f"http://127.0.0.1:{environment['STAFF_PORT']}"
        assert requests.get(f"{staff}/portal/login/", timeout=30).status_code == 404
        assert person.get(f"invitations/{link}/").status_code == 200
        joined = person.post(f"invitations/{link}/", new_password1=PASSWORD, new_password2=PASSWORD)
        assert (joined.status_code, joined.url) == (200, f"{server.address}/portal/")
        for path in ("/admin/", "/dashboard/", "/"):
            assert person.session.get(f"{server.address}{path}", timeout=30).status_code == 404
            at_staff = person.session.get(f"{staff}{path}", timeout=30, allow_redirects=False)
            assert at_staff.status_code == 302
        key = secret_in(person.post("keys/", name="one", services="flaky"))
        assert eventually(lambda: on_all(server, "/api/v1/flaky/fine", key, 200))
        _, fields, _ = next(iter(server.connections().values())).get("/api/v1/flaky/fine", key)
        assert fields["content-security-policy"] == "sandbox"
        identifiers = _fail(server, key)
        assert eventually(lambda: all(identifier in person.get("errors/").text for identifier in identifiers))
        assert eventually(lambda: all(identifiers[0] in person.get("errors/").text for _ in range(4)))
        prefix = key.split("_")[1]
        new = secret_in(person.post(f"keys/{prefix}/rotate/", grace="3600"))
        assert eventually(lambda: on_all(server, "/api/v1/flaky/fine", new, 200))
        assert on_all(server, "/api/v1/flaky/fine", key, 200)
        person.post(f"keys/{prefix}/revoke/", confirm="on")
        assert eventually(lambda: on_all(server, "/api/v1/flaky/fine", new, 401))
        assert on_all(server, "/api/v1/flaky/fine", key, 401)
        assert key not in server.log
        assert link not in server.log


def _fail(server: Server, key: str) -> list[str]:
    """A failed request to each worker. Returns their ids."""
    return [worker.get("/api/v1/flaky/wrong", key)[1]["x-request-id"] for worker in server.connections().values()]
