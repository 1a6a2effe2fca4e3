"""The WebSocket close codes that the gateway sends or interprets."""

from enum import IntEnum


class CloseCode(IntEnum):
    """RFC 6455 section 7.4.1 and the IANA registry; those from 4000 on are the gateway's own, after HTTP's statuses."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_FAILURE = 1015
    UNAUTHENTICATED = 4401
    TIMEOUT = 4408
    TOO_MANY_REQUESTS = 4429


NEVER_SENT = frozenset({CloseCode.NO_STATUS, CloseCode.ABNORMAL, CloseCode.TLS_FAILURE})
"""Codes that only describe how a connection ended (RFC 6455 section 7.4.1)."""
