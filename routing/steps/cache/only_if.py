"""What a policy's `only_if` needs to know of a response before it is sent."""

from resilience.cache.policy import ResponseCondition
from routing.backend.buffered_body import peek_body
from routing.errors import CallFailed, GatewayError
from routing.exchange import Exchange
from routing.http import CLIENT_GONE
from routing.messages.conditions import MAX_BODY, may_be_judged
from routing.steps.judging import WITHOUT_WHOLE_BODY
from routing.upstream.call import BackendCall


async def judged_body(condition: ResponseCondition, exchange: Exchange, call: BackendCall) -> bytes | None:
    """All of the body, if the condition depends on it; None if it does not, or if the body is too long or not JSON.

    The response can be passed on as if it were unread. Raises what reading it raises; then the call has ended.
    """
    response = call.response
    status, headers = response.status, response.headers
    if exchange.call.outcome is not None or exchange.request.method == "HEAD" or status in WITHOUT_WHOLE_BODY:
        return None
    if not (condition.needs_body_of(status, headers) and may_be_judged(headers)):
        return None
    try:
        return await peek_body(response, MAX_BODY)
    except BaseException as error:
        if isinstance(error, CallFailed):
            exchange.call.error, exchange.call.reason = error.code, error.reason
        call.finish(error.code if isinstance(error, GatewayError) else CLIENT_GONE)
        raise
