from routing.upstream.retry_budget import MOST_SAVED, RESERVE, RetryBudget


def test_repeats_stay_within_their_share_of_the_calls() -> None:
    budget = RetryBudget()
    repeats = 0
    for _ in range(1_000):
        budget.earn(0.2)
        repeats += budget.spend(0.2)
    assert 200 <= repeats <= 200 + RESERVE


def test_a_quiet_service_has_a_reserve_and_no_more() -> None:
    budget = RetryBudget()
    assert sum(budget.spend(0.2) for _ in range(100)) == RESERVE


def test_a_budget_of_nothing_repeats_nothing() -> None:
    assert not RetryBudget().spend(0.0)


def test_a_busy_service_saves_up_for_a_bad_moment_but_not_without_end() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn(0.2)
    assert sum(budget.spend(0.2) for _ in range(1_000)) == MOST_SAVED
