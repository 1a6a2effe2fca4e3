"""When the signing keys are fetched, and which are used meanwhile."""

import logging
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from routing.authentication.key_endpoint import Cause, FetchedKeys, KeyFetchFailed
from routing.authentication.signing_keys import SigningKeys, Wait

MAX_AGE = 1000.0
END = 1_000_000.0


class Endpoint:
    """Responds with the certificates of `kids`, raises if `fault` is set, and hangs while `open` is not."""

    def __init__(self) -> None:
        self.kids = {"a": "A"}
        self.fault: str | None = None
        self.fetches = 0
        self.open = Event()
        self.open.set()

    def __call__(self, _cause: Cause) -> FetchedKeys:
        self.fetches += 1
        kids, fault = dict(self.kids), self.fault
        self.open.wait(10)
        if fault is not None:
            raise KeyFetchFailed(fault)
        return FetchedKeys(kids, dict.fromkeys(kids, END), MAX_AGE)


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.endpoint = Endpoint()
        self.removed: list[frozenset[str]] = []
        self.keys = SigningKeys(self.endpoint, lambda: self.now, self.removed.append)

    def offer(self, kid: str) -> Wait | None:
        """A token that comes now; what it has to wait for."""
        return self.keys.prepare(kid, self.now)

    def accepts(self, kid: str) -> bool:
        """Whether such a token's key is known, after the wait for a fetch that responds."""
        wait = self.offer(kid)
        if wait is not None:
            wait.fetch.result(5)
        known = self.keys.contains(kid)
        self.settled()
        return known

    def settled(self) -> None:
        """Wait for a fetch in the background."""
        fetch = self.keys._current
        if fetch is not None:
            fetch.done.result(5)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.endpoint.open.set()


@pytest.fixture
def fetched(bench: Bench) -> Bench:
    """The keys were fetched a second ago."""
    assert bench.accepts("a")
    bench.now += 1
    return bench


def test_fresh_keys_are_not_fetched_again(fetched: Bench) -> None:
    fetched.now += MAX_AGE * 0.8
    assert all(fetched.accepts("a") for _ in range(10))
    assert fetched.endpoint.fetches == 1


def test_shortly_before_their_max_age_keys_are_fetched_and_nobody_waits(fetched: Bench) -> None:
    fetched.endpoint.open.clear()
    fetched.now += MAX_AGE * 0.95
    assert [fetched.offer("a") for _ in range(10)] == [None] * 10
    assert fetched.endpoint.fetches == 2


def test_keys_continue_to_be_used_while_they_cannot_be_fetched(fetched: Bench) -> None:
    fetched.endpoint.fault = "status 500"
    fetched.now += MAX_AGE
    for _ in range(100):
        assert fetched.accepts("a")
        fetched.now += 100
    assert fetched.endpoint.fetches == 101


def test_a_key_is_used_no_longer_than_its_certificate_once_it_is_stale(fetched: Bench) -> None:
    fetched.endpoint.fault = "timeout"
    fetched.now = END
    assert not fetched.accepts("a")


def test_only_the_first_fetch_after_the_max_age_is_waited_for_and_only_half_a_second(fetched: Bench) -> None:
    fetched.endpoint.open.clear()
    fetched.now += MAX_AGE
    waits = [fetched.offer("a") for _ in range(3)]
    assert [wait.seconds for wait in waits if wait is not None] == [0.5] * 3
    fetched.now += 0.5
    assert fetched.offer("a") is None
    assert fetched.endpoint.fetches == 2
    fetched.endpoint.fault = "status 500"
    fetched.endpoint.open.set()
    fetched.settled()


def test_after_a_failure_nobody_waits_for_known_keys(fetched: Bench) -> None:
    fetched.endpoint.fault = "status 500"
    fetched.now += MAX_AGE
    assert fetched.accepts("a")
    fetched.endpoint.open.clear()
    fetched.now += 2
    assert fetched.offer("a") is None
    assert fetched.endpoint.fetches == 3


def test_an_unknown_key_is_fetched_at_once(fetched: Bench) -> None:
    fetched.endpoint.kids = {"b": "B"}
    assert fetched.accepts("b")
    assert not fetched.keys.contains("a")
    assert fetched.removed == [{"a"}]


def test_unknown_keys_cause_one_fetch_in_thirty_seconds(fetched: Bench) -> None:
    for number in range(290):
        assert not fetched.accepts(f"random {number}")
        assert fetched.accepts("a")
        fetched.now += 0.1
    assert fetched.endpoint.fetches == 2
    fetched.now += 1.1
    assert not fetched.accepts("random")
    assert fetched.endpoint.fetches == 3


def test_stale_keys_are_due_whichever_token_comes(fetched: Bench) -> None:
    fetched.endpoint.fault = "status 500"
    assert not fetched.accepts("b")
    fetched.now += MAX_AGE
    assert not fetched.accepts("b")
    fetched.endpoint.fault = None
    fetched.endpoint.kids = {"b": "B"}
    fetched.now += 2
    assert fetched.accepts("b")


def test_unknown_keys_that_come_during_a_fetch_wait_for_it(fetched: Bench) -> None:
    fetched.endpoint.open.clear()
    fetched.endpoint.kids = {"a": "A", "b": "B"}
    waits = [fetched.offer("b") for _ in range(5)]
    assert len({id(wait.fetch) for wait in waits if wait is not None}) == 1
    fetched.endpoint.open.set()
    assert fetched.accepts("b")
    assert fetched.endpoint.fetches == 2


def test_known_keys_never_wait_for_the_fetch_of_an_unknown_one(fetched: Bench) -> None:
    fetched.endpoint.open.clear()
    assert fetched.offer("random") is not None
    assert fetched.offer("a") is None
    assert fetched.keys.contains("a")


def test_callers_of_a_hanging_endpoint_do_not_wait_one_after_the_other(fetched: Bench) -> None:
    fetched.endpoint.open.clear()
    first = fetched.offer("random")
    fetched.now += 4
    later = fetched.offer("other")
    fetched.now += 1
    assert first is not None
    assert later is not None
    assert (first.seconds, later.seconds) == (5, 1)
    assert fetched.offer("third") is None


def test_a_fetch_that_never_ends_is_given_up_and_at_most_two_run(fetched: Bench) -> None:
    fetched.endpoint.open.clear()
    fetched.now += MAX_AGE
    for _ in range(10):
        fetched.offer("a")
        fetched.now += 10
    assert fetched.endpoint.fetches == 3


def test_without_keys_fetches_are_two_seconds_apart(bench: Bench) -> None:
    bench.endpoint.fault = "status 500"
    for _ in range(40):
        assert not bench.accepts("a")
        bench.now += 0.1
    assert bench.endpoint.fetches == 2
    bench.endpoint.fault = None
    bench.now += 2
    assert bench.accepts("a")


def test_a_failed_fetch_for_an_unknown_key_is_repeated_in_the_background(fetched: Bench) -> None:
    fetched.endpoint.fault = "status 500"
    assert not fetched.accepts("b")
    fetched.endpoint.fault = None
    fetched.now += 30
    assert fetched.offer("a") is None
    fetched.settled()
    assert fetched.endpoint.fetches == 3


def test_keys_are_fetched_again_after_the_clock_was_set_back(fetched: Bench) -> None:
    fetched.endpoint.kids = {"b": "B"}
    fetched.now -= 50
    fetched.accepts("a")
    assert fetched.keys.contains("b")


def test_the_fault_names_stale_keys_only(fetched: Bench) -> None:
    fetched.endpoint.fault = "timeout"
    assert not fetched.accepts("b")
    assert fetched.keys.fault is None
    fetched.now += MAX_AGE + 6
    assert fetched.accepts("a")
    assert fetched.keys.fault == (
        "the signing keys cannot be fetched (timeout); the last ones are in use, 7 s past their max-age"
    )
    fetched.endpoint.fault = None
    fetched.now += 2
    fetched.accepts("a")
    fetched.settled()
    assert fetched.keys.fault is None


def test_the_fault_names_missing_keys(bench: Bench) -> None:
    assert bench.keys.fault is None
    bench.endpoint.fault = "timeout"
    assert not bench.accepts("a")
    assert bench.keys.fault == "the signing keys cannot be fetched (timeout)"


def test_an_outage_and_its_end_are_logged_once(fetched: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fetched.endpoint.fault = "timeout"
    fetched.now += MAX_AGE
    for _ in range(5):
        fetched.accepts("a")
        fetched.settled()
        fetched.now += 2
    fetched.endpoint.fault = None
    fetched.accepts("a")
    fetched.settled()
    assert [record.getMessage() for record in caplog.records] == [
        "the signing keys of ID tokens could not be fetched (timeout): the last ones continue to be used",
        "the signing keys of ID tokens were fetched again",
    ]


def unexpected(_cause: Cause) -> FetchedKeys:
    raise LookupError("secret")


def test_whatever_a_fetch_raises_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    now: Callable[[], float] = lambda: 5.0  # noqa: E731
    keys = SigningKeys(unexpected, now, lambda _: None)
    wait = keys.prepare("a", 5.0)
    assert wait is not None
    wait.fetch.result(5)
    assert keys.prepare("a", 5.0) is None
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text
