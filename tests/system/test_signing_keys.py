"""A running gateway whose endpoint of Firebase's signing keys is up, down, hanging and back with other keys."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.firebase import KID, PROJECT, FirebaseIssuer, serving
from tests.processes import eventually
from tests.system.server import Server

MAX_AGE = 2


@pytest.fixture
def issuer() -> Iterator[FirebaseIssuer]:
    issuer = FirebaseIssuer()
    issuer.cache_control = f"max-age={MAX_AGE}"
    with serving(issuer):
        yield issuer


@pytest.fixture
def server(issuer: FirebaseIssuer, tmp_path: Path) -> Iterator[Server]:
    """Its processes read the keys from the issuer's address."""
    from firebase_admin import _token_gen

    patch = (
        f"import firebase_admin._token_gen as library\nlibrary.ID_TOKEN_CERT_URI = {_token_gen.ID_TOKEN_CERT_URI!r}\n"
    )
    (tmp_path / "sitecustomize.py").write_text(patch)
    environment = {"FIREBASE_PROJECT_ID": PROJECT, "PYTHONPATH": str(tmp_path), "RATE_LIMIT": "100000/m"}
    with Server(migrated=True, environment=environment) as server:
        yield server


def status(server: Server, issuer: FirebaseIssuer, user: str, kid: str = KID) -> int:
    """Of a request by a user whose token is new to the gateway."""
    token = issuer.token(header={"alg": "RS256", "kid": kid}, signer=kid, sub=user)
    response = requests.get(f"{server.address}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    return response.status_code


def keys_check(server: Server) -> dict[str, str]:
    checks: dict[str, dict[str, str]] = server.get("/health/deep").json()["checks"]
    return checks["signing_keys"]


def test_tokens_are_accepted_while_the_key_endpoint_is_away(server: Server, issuer: FirebaseIssuer) -> None:
    assert status(server, issuer, "ann") == 200
    assert keys_check(server)["status"] == "ok"

    issuer.status = 0
    assert eventually(lambda: status(server, issuer, f"user-{issuer.fetches}") != 200 or issuer.fetches >= 3, 20)
    assert status(server, issuer, "bob") == 200
    assert eventually(lambda: keys_check(server)["status"] == "degraded", 20)
    assert "past their max-age" in keys_check(server)["reason"]

    issuer.gate.clear()  # hangs; and strangers send tokens that name keys which nobody knows
    with ThreadPoolExecutor(8) as clients:
        flood = [clients.submit(status, server, issuer, "eve", f"stranger-{number % 2}") for number in range(40)]
        statuses = [status(server, issuer, f"carol-{number}") for number in range(20)]
        issuer.gate.set()
        assert set(statuses) == {200}
        assert {refused.result() for refused in flood} == {401}

    issuer.status = 200
    issuer.publish("key-2")
    assert eventually(lambda: status(server, issuer, f"dan-{issuer.fetches}", "key-2") == 200, 40)
    assert status(server, issuer, "erin") == 401
    assert eventually(lambda: keys_check(server)["status"] == "ok", 20)
    assert server.log.count("the last ones continue to be used") == 1
    assert server.log.count("were fetched again") == 1
