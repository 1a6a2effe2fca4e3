"""What browsers may do with a response: the CORS policy of its route, preflight requests, and the sandbox."""

from routing.errors import GatewayError
from routing.http import Request, Response, first
from routing.messages.cors import Cors, CorsPolicy, is_preflight, preflight_response
from routing.messages.staff_origin import PortalOrigin, StaffOrigin
from routing.router import paths
from routing.router.hosts import domain_of
from routing.router.live import LiveConfiguration
from routing.router.resolution import UNRESOLVED, Resolution, host


class CrossOrigin:
    """`origins` are those of CORS_ORIGINS. `default` is the policy where a service has none; None without origins."""

    def __init__(
        self, origins: tuple[str, ...], live: LiveConfiguration, staff: StaffOrigin, portal: PortalOrigin
    ) -> None:
        self._staff = staff
        self._portal = portal
        self.default = Cors.of(None, origins)
        self._origins = origins
        self._live = live

    def apply(self, resolution: Resolution) -> None:
        """Set what is the same for all responses to a resolved request."""
        resolution.cors = self.of(resolution)
        # Under a service's own host there are no pages of staff, and no portal.
        resolution.sandboxed = resolution.prefix != b"" and self._shares_origin(domain_of(resolution.host))

    def _shares_origin(self, domain: str) -> bool:
        return self._staff.shares(domain) or (self._live.table.has_members and self._portal.shares(domain))

    def of(self, resolution: Resolution) -> Cors | None:
        """The policy of a resolved request; a service's own too where none of its routes takes the method or path."""
        match, error = resolution.match, resolution.routing_error
        if match is not None:
            policy = match.policy
        elif error is not None and error.service in self._live.table.services:
            policy = self._live.table.services[error.service].policy
        else:
            return self.default
        return self.default if policy.cors is None else self._own(policy.cors)

    def of_unresolved(self, request: Request) -> Cors | None:
        """The policy of a request that is malformed or too large: that of the service at its host or path."""
        table, path = self._live.table, paths.split(request.path)
        service = table.by_host(host(request)) or (table.services.get(path.service) if path else None)
        return self.default if service is None or service.policy.cors is None else self._own(service.policy.cors)

    def _own(self, policy: CorsPolicy) -> Cors | None:
        return Cors.of(policy, self._origins)

    def preflight(self, request: Request) -> tuple[Resolution, Response] | None:
        """The response to a preflight request, and a resolution with the policy of the request that it announces.

        None for any other request. No credential is read, no backend called, and nothing counted towards a rate limit
        (ADR 16). A malformed request is allowed what its service allows, so that the page can read the error.
        """
        if not is_preflight(request):
            return None
        resolution = Resolution(UNRESOLVED.credential_state)
        resolution.path = request.path.decode("latin-1")
        try:
            resolution.cors = self.of(Resolution.resolve(_announced(request), self._live.table))
        except GatewayError:
            resolution.cors = self.of_unresolved(request)
        return resolution, preflight_response(request, resolution.cors)


def _announced(request: Request) -> Request:
    method = (first(request.headers, b"access-control-request-method") or b"").decode("latin-1")
    return Request(
        method, request.path, request.query, request.headers, request.client, request.scheme, request.version
    )
