"""Whether a caller may use a service now: the error of step 4, if any."""

from routing.caller import Caller
from routing.errors import (
    ConfigurationUnavailable,
    Forbidden,
    GatewayError,
    ServiceDisabled,
    ServiceMisconfigured,
    Unauthenticated,
)
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RouteTable, Service


def authorize(service: Service, policy: RoutePolicy, caller: Caller | None) -> GatewayError | None:
    """The error if this caller may not use the service now (contract section 3, step 4), else None."""
    name = service.name
    if caller is not None and caller.subscription is not None and not caller.subscription.includes(name):
        return Forbidden("the plan does not include this service", service=name)
    if caller is not None and not caller.may_use(name, policy.scopes):
        return Forbidden("the credential's scopes do not cover this service", service=name)
    if caller is None and policy.scopes:
        return Unauthenticated("this service requires scopes", service=name)
    if not policy.enabled:
        return ServiceDisabled("an operator has disabled this service", service=name)
    if service.is_out:
        return ServiceMisconfigured("the service is out of operation until an operator corrects it", service=name)
    return None


def may_use(caller: Caller, service: Service, policy: RoutePolicy) -> bool:
    """Whether step 4 lets this caller pass, apart from the state of the service. With `auth: none` nobody is asked who
    they are: a credential that names other services changes nothing.
    """
    is_public = policy.auth is Auth.NONE and not policy.scopes
    return is_public or caller.may_use(service.name, policy.scopes)


def configuration_unavailable() -> ConfigurationUnavailable:
    """The error of every request to a worker that has not loaded any configuration."""
    return ConfigurationUnavailable("no configuration has been loaded yet", retry_after=1)


def require_configuration(table: RouteTable) -> None:
    """Raise ConfigurationUnavailable if no configuration has been loaded."""
    if not table.is_loaded:
        raise configuration_unavailable()
