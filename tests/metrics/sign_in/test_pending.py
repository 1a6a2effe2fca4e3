"""Sign-ins that were begun, in the session of a browser, with the clocks of two machines."""

from typing import Any

import pytest

from metrics.sign_in import pending


@pytest.mark.parametrize(
    ("seconds", "is_found"), [(0, True), (599, True), (601, False), (-30, True), (-90, False), (-1e9, False)]
)
def test_a_sign_in_is_finished_within_ten_minutes_by_any_machine(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_found: bool
) -> None:
    now, session = 1_700_000_000.0, dict[str, Any]()
    monkeypatch.setattr("metrics.sign_in.pending.time.time", lambda: now)
    begun = pending.begin(session, "/dashboard/", None)
    now += seconds
    found = pending.finish(session, begun.state)
    assert (found is not None) is is_found
    assert pending.finish(session, begun.state) is None
