"""Status codes (RFC 9110 section 15) that have a meaning for more than one policy."""

from typing import Final

FAILURE_STATUSES: Final = frozenset({500, 502, 503, 504})
"""Responses of a backend that count as failures: against its circuit and its target, and in whose place a stale stored
response may be sent (RFC 5861 section 4).
"""
