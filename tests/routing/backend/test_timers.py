"""Whose time runs out: a table of what is waited for, until when, and which error follows."""

from math import inf

import pytest

from routing.backend.reasons import IDLE_TIMEOUT, READ_TIMEOUT, TOTAL_TIMEOUT, WRITE_TIMEOUT
from routing.backend.timers import SLOW_CLIENT_SECONDS, Awaited, awaited, clients_fault, expiry, timeout_error
from routing.errors import CallFailed, GatewayError, RequestTimeout, StreamTimeout, UpstreamTimeout
from routing.http import ClientGone
from routing.router.policy import Timeout

READS, SENDS, TAKES, HEAD, BODY = Awaited
LIMITS = Timeout(connect=1, read=3, total=30, idle=7)


@pytest.mark.parametrize(
    ("has_reader", "head_complete", "awaits_upload", "is_draining", "expected"),
    [
        (False, False, False, False, READS),
        (False, False, True, False, READS),
        (False, True, False, True, READS),
        (False, True, True, False, READS),
        (True, False, False, False, HEAD),
        (True, False, False, True, TAKES),
        (True, False, True, False, SENDS),
        (True, True, False, False, BODY),
        (True, True, False, True, BODY),  # a target that responds early need not read on
        (True, True, True, False, SENDS),
    ],
)
def test_what_is_waited_for(
    has_reader: bool, head_complete: bool, awaits_upload: bool, is_draining: bool, expected: Awaited
) -> None:
    found = awaited(
        has_reader=has_reader, head_complete=head_complete, awaits_upload=awaits_upload, is_draining=is_draining
    )
    assert found is expected


@pytest.mark.parametrize(
    ("event", "deadline", "expected"),
    [
        (HEAD, 200, 103),
        (TAKES, 200, 103),
        (SENDS, 200, 107),
        (BODY, 200, 107),
        (READS, 200, 200),
        (HEAD, 101, 101),
        (TAKES, 101, 101),
        (SENDS, 101, 101),
        (BODY, 101, 101),
        (BODY, inf, 107),
        (READS, inf, inf),
    ],
)
def test_each_wait_ends_at_its_own_limit(event: Awaited, deadline: float, expected: float) -> None:
    assert expiry(event, LIMITS, 100, deadline) == expected


@pytest.mark.parametrize(
    ("event", "head_complete", "past_deadline", "error", "reason"),
    [
        (HEAD, False, False, UpstreamTimeout, READ_TIMEOUT),
        (HEAD, False, True, UpstreamTimeout, TOTAL_TIMEOUT),
        (TAKES, False, False, UpstreamTimeout, WRITE_TIMEOUT),
        (TAKES, False, True, UpstreamTimeout, TOTAL_TIMEOUT),
        (SENDS, False, False, RequestTimeout, ""),
        (SENDS, False, True, RequestTimeout, ""),
        (SENDS, True, False, RequestTimeout, ""),
        (SENDS, True, True, StreamTimeout, ""),
        (BODY, True, False, UpstreamTimeout, IDLE_TIMEOUT),
        (BODY, True, True, StreamTimeout, ""),
        (READS, True, True, StreamTimeout, ""),
        (READS, True, False, StreamTimeout, ""),
        (READS, False, True, StreamTimeout, ""),
    ],
)
def test_the_error_names_what_was_waited_for(
    event: Awaited, head_complete: bool, past_deadline: bool, error: type[GatewayError], reason: str
) -> None:
    found = timeout_error(event, head_complete=head_complete, past_deadline=past_deadline)
    assert type(found) is error
    assert (found.reason if isinstance(found, CallFailed) else "") == reason


@pytest.mark.parametrize(
    ("awaits_upload", "head_complete", "unread", "unsent", "expected"),
    [
        (False, False, 0, 0, None),
        (False, True, SLOW_CLIENT_SECONDS, 0, None),
        (False, True, SLOW_CLIENT_SECONDS + 0.1, 0, ClientGone),
        (True, False, 0, SLOW_CLIENT_SECONDS, None),
        (True, False, 0, SLOW_CLIENT_SECONDS + 0.1, RequestTimeout),
        (False, False, 0, SLOW_CLIENT_SECONDS + 0.1, None),
        (True, True, 0, SLOW_CLIENT_SECONDS + 0.1, None),
        (True, False, SLOW_CLIENT_SECONDS + 0.1, SLOW_CLIENT_SECONDS + 0.1, ClientGone),
    ],
)
def test_whose_fault_a_cut_is(
    awaits_upload: bool, head_complete: bool, unread: float, unsent: float, expected: type[Exception] | None
) -> None:
    fault = clients_fault(awaits_upload=awaits_upload, head_complete=head_complete, unread=unread, unsent=unsent)
    assert (None if fault is None else type(fault)) is expected
