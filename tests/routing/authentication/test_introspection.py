"""Opaque tokens, verified by their issuer."""

import asyncio
import json
import time
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from routing.authentication.caller_cache import CallerCache
from routing.authentication.introspection import IntrospectedTokens, Question
from routing.authentication.issuer_policy import Introspection, Issuer
from routing.authentication.issuers import IssuerTokens
from routing.caller import Caller
from routing.errors import AuthenticationUnavailable, InvalidToken
from tests.identity_provider import AUDIENCE

ISSUER = Issuer(
    issuer="https://issuer.example",
    audience=(AUDIENCE,),
    introspection=Introspection(url="https://issuer.example/introspect", client_id="gate way", client_secret="p:w"),
)


OPAQUE = "opaque"


class World:
    def __init__(self, *issuers: Issuer) -> None:
        self.ahead = 0.0
        self.questions: list[Question] = []
        self.answer: Any = {"active": True, "sub": "ada", "scope": "crm"}
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()
        cache = CallerCache()
        self.introspected = IntrospectedTokens(self._send, cache, self.now)
        self.tokens = IssuerTokens(self._no_keys, cache, self.introspected, clock=self.now)
        self.tokens.apply(issuers or [ISSUER], {"crm", "mail"})

    def now(self) -> float:
        return time.time() + self.ahead

    async def verify(self, token: str = OPAQUE) -> Caller:
        return await self.tokens.verify(token, self.now())

    async def _send(self, question: Question) -> tuple[int, bytes]:
        self.questions.append(question)
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.status, self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()

    def _no_keys(self, issuer: Issuer, *_: object) -> Any:
        class Keys:
            keys = None

            def prepare(self, *_: object) -> None:
                assert issuer.introspection is None, "an issuer of opaque tokens may have no keys"

        return Keys()


async def test_an_active_token_is_asked_for_once() -> None:
    world = World()
    caller = await world.verify()
    assert (caller.id, caller.services) == ("jwt+issuer.example:ada", frozenset({"crm"}))
    assert world.tokens.cached("opaque", world.now()) is caller
    (question,) = world.questions
    assert dict(question.headers)[b"authorization"] == b"Basic " + b64encode(b"gate+way:p%3Aw")
    assert question.body == b"token=opaque&token_type_hint=access_token"
    assert "p:w" not in repr(question) + repr(ISSUER)


async def test_it_is_cached_to_its_expiry_and_for_a_minute_at_most() -> None:
    world = World(msgspec.structs.replace(ISSUER, leeway=0.0))
    world.answer["exp"] = int(time.time()) + 30
    await world.verify("short")
    world.answer["exp"] = int(time.time()) + 3_600
    await world.verify("long")
    world.ahead = 31
    assert world.tokens.cached("short", world.now()) is None
    assert world.tokens.cached("long", world.now()) is not None
    world.ahead = 61
    assert world.tokens.cached("long", world.now()) is None


async def test_one_request_is_in_flight_for_a_token() -> None:
    world = World()
    world.gate.clear()
    waiting = [asyncio.create_task(world.verify()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever began it may go
    await asyncio.sleep(0)
    world.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert len(world.questions) == 1
    assert {result.id for result in results[1:] if isinstance(result, Caller)} == {"jwt+issuer.example:ada"}


async def test_inactive_tokens_are_remembered_for_a_moment() -> None:
    world = World()
    world.answer = {"active": False}
    for _ in range(3):
        with pytest.raises(InvalidToken, match="not active"):
            await world.verify()
    assert len(world.questions) == 1
    world.ahead, world.answer = 6, {"active": True, "sub": "ada"}
    assert await world.verify()


@pytest.mark.parametrize(
    "answer",
    [
        {"active": "true", "sub": "ada"},
        {"active": True},
        {"active": True, "sub": "ada", "exp": 1},
        {"active": True, "sub": "ada", "nbf": 9_999_999_999, "exp": 9_999_999_999},
        {"active": True, "sub": "ada", "nbf": 9_999_999_999},
        {"active": True, "sub": "ada", "iat": 9_999_999_999},
        {"active": True, "sub": "ada", "aud": "other"},
        {"active": True, "sub": "ada", "iss": "https://other.example"},
        {"active": True, "sub": "ada", "typ": "Refresh"},  # of Keycloak
        {"active": True, "sub": "ada", "typ": "ID"},
        {"active": True, "sub": "ada", "token_use": "refresh_token"},  # of Ory Hydra
        {"active": True, "sub": "ada", "token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
    ],
)
async def test_responses_that_do_not_permit(answer: dict[str, Any]) -> None:
    world = World()
    world.answer = answer
    with pytest.raises(InvalidToken):
        await world.verify()
    assert world.tokens.cached("opaque", world.now()) is None


async def test_members_that_are_null_are_not_set() -> None:
    world = World(msgspec.structs.replace(ISSUER, leeway=600.0))
    world.answer |= dict.fromkeys(("iss", "aud", "exp", "nbf", "iat", "cnf", "token_type", "username"))
    assert (await world.verify()).id == "jwt+issuer.example:ada"
    world.ahead = 61
    assert world.tokens.cached(OPAQUE, world.now()) is None


@pytest.mark.parametrize(
    ("status", "answer"), [(500, {}), (401, {}), (302, {}), (200, b"<html>"), (200, b"[]"), (200, ConnectionError())]
)
async def test_an_endpoint_that_does_not_say_makes_verification_unavailable(
    status: int, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.status, world.answer = status, answer
    for _ in range(3):
        with pytest.raises(AuthenticationUnavailable):
            await world.verify()
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "opaque tokens of https://issuer.example cannot be verified by introspection: "
    )
    assert (f"status {status}" in record.getMessage()) is (status != 200)
    world.status, world.answer = 200, {"active": True, "sub": "ada", "typ": "Bearer", "token_type": "Bearer"}
    assert await world.verify()


async def test_a_token_is_sent_to_its_issuer_only() -> None:
    plain = Issuer(issuer="https://plain.example", audience=(AUDIENCE,))
    other = Introspection(url="https://other.example/i", client_id="c", prefix="oth_")
    world = World(ISSUER, plain, Issuer(issuer="https://other.example", audience=(AUDIENCE,), introspection=other))
    assert (await world.verify("oth_1")).id == "jwt+other.example:ada"
    assert (await world.verify("1")).id == "jwt+issuer.example:ada"
    assert [question.url for question in world.questions] == [other.url, "https://issuer.example/introspect"]
    with pytest.raises(InvalidToken):
        await world.verify("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.c2ln")
    assert len(world.questions) == 2
    alone = World(plain)
    with pytest.raises(InvalidToken):
        await alone.verify("1")


async def test_a_configuration_that_changes_meanwhile_keeps_nothing() -> None:
    world = World()
    world.gate.clear()
    waiting = asyncio.create_task(world.verify())
    await asyncio.sleep(0)
    world.tokens.apply([msgspec.structs.replace(ISSUER, audience=("new",))], {"crm"})
    world.gate.set()
    with pytest.raises(InvalidToken):
        await waiting
    assert world.tokens.cached("opaque", world.now()) is None
