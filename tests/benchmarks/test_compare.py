"""What the comparison asks for, and what it says of what it saw. Who runs is made up here; nothing is started."""

import argparse

import pytest

from benchmarks.baseline import RecordedResponse
from benchmarks.compare.__main__ import Rounds, notes, section
from benchmarks.compare.cases import (
    BASELINE,
    BASELINE_BARE,
    GATEWAY,
    GRANIAN,
    GRANIAN_BARE,
    KEYS,
    MIX_PATHS,
    ON_REDIS,
    Case,
    Targets,
    all_cases,
    mixed_requests,
    select,
)
from benchmarks.compare.peer_proxies import PeerProxy
from benchmarks.servers import RunningGateway
from benchmarks.stats import Threshold
from benchmarks.wrk import Load

FLOORS = {BASELINE: 0.7, BASELINE_BARE: 0.7, GRANIAN: 0.7, GRANIAN_BARE: 0.7}
MISSES = {"fastify http-proxy": 1, "express + axios": 4, "nginx proxy_pass": 0.35}
ISSUE = {
    "hit": {"nginx proxy_cache": 0.6, "express + Redis": 5, **FLOORS},
    "redis-hit": {"express + Redis": 1.5},
    "miss": MISSES,
    "miss-unlike": MISSES,
    "open-circuit": FLOORS,
    "401": FLOORS,
    "429": FLOORS,
}
"""The aims as they were set; a change of one is a decision."""


@pytest.fixture
def field() -> Targets:
    gateways = {
        name: RunningGateway(f"http://{number}.test", "key", 1) for number, name in enumerate((GATEWAY, ON_REDIS))
    }
    peers = {
        "nginx": PeerProxy("http://nginx.test", "nginx proxy_cache", "nginx proxy_pass"),
        "fastify": PeerProxy("http://fastify.test", proxied="fastify http-proxy"),
        "express": PeerProxy("http://express.test", "express + Redis", "express + axios"),
    }
    return Targets(gateways, "http://floor.test", "http://granian.test", peers, {})


def case(field: Targets, name: str) -> Case:
    return select(all_cases(field), [name])[0]


class TestCases:
    def test_the_aims_are_those_that_were_set(self, field: Targets) -> None:
        aims = {
            it.name: {who: aim.bound for who, aim in it.thresholds.items()} for it in all_cases(field) if it.thresholds
        }
        assert aims == ISSUE

    def test_every_aim_is_about_somebody_who_is_measured(self, field: Targets) -> None:
        for it in all_cases(field):
            assert {it.subject, *it.thresholds} <= set(it.loads)

    def test_everybody_is_sent_the_same_fields(self, field: Targets) -> None:
        assert len({load.headers for load in case(field, "hit").loads.values()}) == 1

    def test_misses_are_asked_for_where_nobody_caches(self, field: Targets) -> None:
        assert all("/miss/" in load.url for load in case(field, "miss").loads.values())

    def test_hits_in_redis_go_round_more_keys_than_memory_has(self, field: Targets) -> None:
        loads = case(field, "redis-hit").loads
        assert set(loads) == {ON_REDIS, "express + Redis"}
        assert {load.keys for load in loads.values()} == {KEYS}

    def test_refusals_are_expected_of_the_floor_too(self, field: Targets) -> None:
        assert {load.error_share for load in case(field, "429").loads.values()} == {1}

    def test_there_are_eight_kinds_of_traffic_and_the_floor_knows_each(self, field: Targets) -> None:
        assert len(mixed_requests(field.gateways[GATEWAY])) == len(MIX_PATHS) == 8

    def test_a_case_there_is_not_is_named(self, field: Targets) -> None:
        with pytest.raises(ValueError, match="unknown case hits"):
            select(all_cases(field), ["hits"])

    def test_without_a_choice_it_is_all(self, field: Targets) -> None:
        assert len(select(all_cases(field), [])) == 14


class TestTheTable:
    case = Case("hit", "Hit", {}, thresholds={"nginx": Threshold(0.6), "express": Threshold(5)})

    def test_the_gateway_is_told_as_a_share_of_each(self) -> None:
        told = section(self.case, {GATEWAY: [60, 70, 80], "nginx": [100, 100, 100], "express": [20, 10, 20]})
        rows = {line.split("|")[1].strip(): line for line in told.splitlines() if line.startswith("|")}
        assert "0.70 |      0.6 |     pass" in rows["nginx"]
        assert "4.00 |        5 | **fail**" in rows["express"]

    def test_a_peer_that_is_missing_is_named(self) -> None:
        told = section(self.case, {GATEWAY: [60], "nginx": [100]})
        assert "| express | " in told
        assert "missing" in told
        assert "**fail**" not in told

    def test_without_the_gateway_nothing_passes(self) -> None:
        assert "pass" not in section(self.case, {"nginx": [100]})

    def test_what_was_not_measured_is_said_below_with_the_reason(self) -> None:
        options = argparse.Namespace(rounds=5, seconds=3.0)
        assert "Not measured: Caddy (not installed)." in notes({"Caddy": "not installed"}, options)
        assert "Not measured" not in notes({}, options)


class TestRounds:
    def test_a_contestant_that_answers_wrongly_is_left_out_and_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "benchmarks.compare.__main__.fault", lambda load: "responds with 500" if "bad" in load.url else ""
        )
        it = Case("hit", "Hit", {"good": Load("http://good.test/"), "bad": Load("http://bad.test/")})
        rounds = Rounds(1, {})
        rounds.prepare([it])
        assert list(it.loads) == ["good"]
        assert rounds.faults == {"Hit, bad": "responds with 500"}


def test_the_bare_floor_has_the_same_body_and_status() -> None:
    recorded = RecordedResponse(503, [("x-a", "1"), ("content-type", "application/problem+json")], b"{}")
    bare = recorded.minimal()
    assert (bare.status, bare.body) == (503, b"{}")
    assert [name for name, _ in bare.headers] == ["content-type", "content-length"]
