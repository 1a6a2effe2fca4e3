"""Status codes (RFC 9110 section 15) that have a meaning for more than one policy."""

from typing import Final

FAILURE_STATUSES: Final = frozenset({500, 502, 503, 504})
"""Responses of a backend that count as failures: against its circuit and its target, and in whose place a stale stored
response may be sent (RFC 5861 section 4).
"""
INCONCLUSIVE_STATUSES: Final = frozenset({408, 425, 429, 501, *range(505, 600)})
"""Responses that show neither that a backend works nor that it has failed: it did not handle the request (408, 425,
429), or something in front of it may have sent them.
"""
