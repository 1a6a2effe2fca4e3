"""The retry budget: retries are a bounded share of calls."""

from routing.upstream.registry import MAX_BALANCE, RESERVE, RetryBudget


def test_retries_stay_within_their_share_of_calls() -> None:
    budget = RetryBudget()
    retries = 0
    for _ in range(1_000):
        budget.deposit(0.2)
        retries += budget.withdraw(0.2)
    assert 200 <= retries <= 200 + RESERVE


def test_an_idle_service_has_only_the_reserve() -> None:
    budget = RetryBudget()
    assert sum(budget.withdraw(0.2) for _ in range(100)) == RESERVE


def test_a_share_of_zero_allows_no_retry() -> None:
    assert not RetryBudget().withdraw(0.0)


def test_the_balance_of_a_busy_service_is_bounded() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.deposit(0.2)
    assert sum(budget.withdraw(0.2) for _ in range(1_000)) == MAX_BALANCE
