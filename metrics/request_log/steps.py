"""The names of the steps in a step log, and which step raises which error."""

from typing import Final

from routing import errors

REQUEST_ID: Final = "request id"
RATE_LIMIT: Final = "rate limit"
AUTHENTICATION: Final = "authentication"
SERVICE_ROUTER: Final = "service router"
NETWORK: Final = "network"
PLAN: Final = "plan"
CACHE_CHECK: Final = "cache check"
CIRCUIT_BREAKER: Final = "circuit breaker"
BACKEND_CALL: Final = "backend call"
STORE: Final = "store"
RETURN: Final = "return"
ATTEMPT: Final = "attempt "
"""What the names of the backend call's attempts begin with."""
STEP_OF_ERROR: Final = {
    errors.RateLimited.code: RATE_LIMIT,
    errors.Unauthenticated.code: AUTHENTICATION,
    errors.AuthenticationUnavailable.code: AUTHENTICATION,
    errors.Forbidden.code: SERVICE_ROUTER,
    errors.UnknownService.code: SERVICE_ROUTER,
    errors.MethodNotAllowed.code: SERVICE_ROUTER,
    errors.ServiceDisabled.code: SERVICE_ROUTER,
    errors.BodyTooLarge.code: SERVICE_ROUTER,
    errors.AddressNotAllowed.code: NETWORK,
    errors.QuotaExceeded.code: PLAN,
    errors.NotCached.code: CACHE_CHECK,
    errors.CircuitOpen.code: CIRCUIT_BREAKER,
    errors.Overloaded.code: BACKEND_CALL,
    errors.BadGateway.code: BACKEND_CALL,
    errors.UpstreamTimeout.code: BACKEND_CALL,
}
"""The step that raises an error. Any other is that of the last step that was logged."""
