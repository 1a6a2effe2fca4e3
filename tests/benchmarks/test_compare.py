"""The cases of the comparison and its report. The servers are made up; nothing is started."""

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

BASELINES = {BASELINE: 0.7, BASELINE_BARE: 0.7, GRANIAN: 0.7, GRANIAN_BARE: 0.7}
MISSES = {"fastify http-proxy": 1, "express + axios": 4, "nginx proxy_pass": 0.35}
SPECIFIED = {
    "hit": {"nginx proxy_cache": 0.6, "express + Redis": 5, **BASELINES},
    "redis-hit": {"express + Redis": 1.5},
    "miss": MISSES,
    "miss-unlike": MISSES,
    "open-circuit": BASELINES,
    "401": BASELINES,
    "429": BASELINES,
}
"""The thresholds as specified: changing one is a decision."""


@pytest.fixture
def targets() -> Targets:
    gateways = {
        name: RunningGateway(f"http://{number}.test", "key", 1) for number, name in enumerate((GATEWAY, ON_REDIS))
    }
    peers = {
        "nginx": PeerProxy("http://nginx.test", "nginx proxy_cache", "nginx proxy_pass"),
        "fastify": PeerProxy("http://fastify.test", proxied="fastify http-proxy"),
        "express": PeerProxy("http://express.test", "express + Redis", "express + axios"),
    }
    return Targets(gateways, "http://floor.test", "http://granian.test", peers, {})


def case(targets: Targets, name: str) -> Case:
    return select(all_cases(targets), [name])[0]


class TestCases:
    def test_the_thresholds_are_those_of_the_issue(self, targets: Targets) -> None:
        aims = {
            it.name: {server: threshold.bound for server, threshold in it.thresholds.items()}
            for it in all_cases(targets)
            if it.thresholds
        }
        assert aims == SPECIFIED

    def test_every_threshold_is_for_a_measured_server(self, targets: Targets) -> None:
        for it in all_cases(targets):
            assert {it.subject, *it.thresholds} <= set(it.loads)

    def test_all_servers_are_sent_the_same_header_fields(self, targets: Targets) -> None:
        assert len({load.headers for load in case(targets, "hit").loads.values()}) == 1

    def test_misses_use_an_uncached_path(self, targets: Targets) -> None:
        assert all("/miss/" in load.url for load in case(targets, "miss").loads.values())

    def test_redis_hits_use_more_keys_than_the_memory_tier_holds(self, targets: Targets) -> None:
        loads = case(targets, "redis-hit").loads
        assert set(loads) == {ON_REDIS, "express + Redis"}
        assert {load.keys for load in loads.values()} == {KEYS}

    def test_refusals_are_expected_of_the_baseline_too(self, targets: Targets) -> None:
        assert {load.error_share for load in case(targets, "429").loads.values()} == {1}

    def test_there_are_eight_kinds_of_traffic_and_the_baseline_has_each(self, targets: Targets) -> None:
        assert len(mixed_requests(targets.gateways[GATEWAY])) == len(MIX_PATHS) == 8

    def test_an_unknown_case_is_named_in_the_error(self, targets: Targets) -> None:
        with pytest.raises(ValueError, match="unknown case hits"):
            select(all_cases(targets), ["hits"])

    def test_without_a_choice_all_cases_are_selected(self, targets: Targets) -> None:
        assert len(select(all_cases(targets), [])) == 14


class TestReport:
    case = Case("hit", "Hit", {}, thresholds={"nginx": Threshold(0.6), "express": Threshold(5)})

    def test_the_gateways_rate_is_reported_as_a_ratio_to_each_peer(self) -> None:
        report = section(self.case, {GATEWAY: [60, 70, 80], "nginx": [100, 100, 100], "express": [20, 10, 20]})
        rows = {line.split("|")[1].strip(): line for line in report.splitlines() if line.startswith("|")}
        assert "0.70 |      0.6 |     pass" in rows["nginx"]
        assert "4.00 |        5 | **fail**" in rows["express"]

    def test_a_missing_peer_is_named(self) -> None:
        report = section(self.case, {GATEWAY: [60], "nginx": [100]})
        assert "| express | " in report
        assert "missing" in report
        assert "**fail**" not in report

    def test_without_the_gateways_result_nothing_passes(self) -> None:
        assert "pass" not in section(self.case, {"nginx": [100]})

    def test_unmeasured_peers_are_listed_with_the_reason(self) -> None:
        options = argparse.Namespace(rounds=5, seconds=3.0)
        assert "Not measured: Caddy (not installed)." in notes({"Caddy": "not installed"}, options)
        assert "Not measured" not in notes({}, options)


class TestRounds:
    def test_a_server_with_wrong_responses_is_excluded_and_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "benchmarks.compare.__main__.fault", lambda load: "responds with 500" if "bad" in load.url else ""
        )
        it = Case("hit", "Hit", {"good": Load("http://good.test/"), "bad": Load("http://bad.test/")})
        rounds = Rounds(1, {})
        rounds.prepare([it])
        assert list(it.loads) == ["good"]
        assert rounds.faults == {"Hit, bad": "responds with 500"}


def test_the_bare_baseline_has_the_same_body_and_status() -> None:
    recorded = RecordedResponse(503, [("x-a", "1"), ("content-type", "application/problem+json")], b"{}")
    bare = recorded.minimal()
    assert (bare.status, bare.body) == (503, b"{}")
    assert [name for name, _ in bare.headers] == ["content-type", "content-length"]
