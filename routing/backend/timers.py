"""Whose time runs out: what a call waits for, until when, and the error if that is too long. Pure functions.

See docs/adr/0015-whose-time-runs-out.md.
"""

from enum import Enum, auto
from typing import Final

from routing.backend.reasons import IDLE_TIMEOUT, READ_TIMEOUT, TOTAL_TIMEOUT, WRITE_TIMEOUT
from routing.errors import GatewayError, RequestTimeout, StreamTimeout, UpstreamTimeout
from routing.http import ClientGone
from routing.router.policy import Timeout

SLOW_CLIENT_SECONDS: Final = 1.0
"""A target that ends a call whose client has kept it waiting for longer than this has not failed."""

_UPLOAD_TIMED_OUT: Final = "The request body did not arrive in time."
_STREAM_TIMED_OUT: Final = "The response took longer than the service allows."


class Awaited(Enum):
    """What a call waits for next."""

    CLIENT_READS = auto()
    """The client reads what was received of the response."""
    CLIENT_SENDS = auto()
    """The client sends more of the request body."""
    TARGET_READS = auto()
    """The target reads more of the request body."""
    HEAD = auto()
    """The target sends the header fields of its response."""
    BODY = auto()
    """The target sends more of its response's body."""


def awaited(*, has_reader: bool, head_complete: bool, awaits_upload: bool, is_draining: bool) -> Awaited:
    """`has_reader`: something waits for the response. `awaits_upload`: the next piece of the request is the client's to
    send. `is_draining`: the target has not read what was sent so far.
    """
    if not has_reader:
        return Awaited.CLIENT_READS
    if awaits_upload:
        return Awaited.CLIENT_SENDS
    if head_complete:
        return Awaited.BODY
    return Awaited.TARGET_READS if is_draining else Awaited.HEAD


def expiry(event: Awaited, timeout: Timeout, now: float, deadline: float) -> float:
    """When the wait for `event` is too long. `deadline` is the end of what the call does as a whole."""
    if event is Awaited.CLIENT_READS:
        return deadline
    seconds = timeout.read if event is Awaited.HEAD or event is Awaited.TARGET_READS else timeout.idle
    return min(deadline, now + seconds)


def timeout_error(event: Awaited, *, head_complete: bool, past_deadline: bool) -> GatewayError:
    """The error of a wait that was too long. The client's time is never the target's failure."""
    if event is Awaited.CLIENT_READS or (past_deadline and head_complete):
        return StreamTimeout(_STREAM_TIMED_OUT)
    if event is Awaited.CLIENT_SENDS:
        return RequestTimeout(_UPLOAD_TIMED_OUT)
    if past_deadline:
        return UpstreamTimeout(TOTAL_TIMEOUT)
    if event is Awaited.BODY:
        return UpstreamTimeout(IDLE_TIMEOUT)
    return UpstreamTimeout(WRITE_TIMEOUT if event is Awaited.TARGET_READS else READ_TIMEOUT)


def clients_fault(*, awaits_upload: bool, head_complete: bool, unread: float, unsent: float) -> Exception | None:
    """The error of a call that the target has cut short after a slow client kept it waiting; None if it did not.

    `unread` is the seconds for which the client has not read the response, `unsent` those for which it has not sent
    the request body.
    """
    if unread > SLOW_CLIENT_SECONDS:
        return ClientGone()
    if awaits_upload and unsent > SLOW_CLIENT_SECONDS and not head_complete:
        return RequestTimeout(_UPLOAD_TIMED_OUT)
    return None
