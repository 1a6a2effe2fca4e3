from routing.retrybudget import RESERVE, RetryBudget


def test_repeats_stay_within_their_share_of_the_calls() -> None:
    budget = RetryBudget()
    repeats = 0
    for _ in range(1_000):
        budget.earn(0.2)
        repeats += budget.spend()
    assert 200 <= repeats <= 200 + RESERVE


def test_a_budget_of_nothing_ends_with_the_reserve() -> None:
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(100)) == RESERVE
