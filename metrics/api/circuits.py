"""`/metrics/circuit-breakers`: the circuits of all services, and overrides of their states."""

from collections.abc import Callable, Sequence
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from metrics import selectors, services
from metrics.api import access, examples, serializers
from metrics.api.base import LimitedReadView, MetricsView, T, documented, validate_body
from metrics.read_models import CircuitStatus
from resilience.breaker.machine import State


def circuits_document(circuits: Sequence[CircuitStatus]) -> dict[str, Any]:
    """What `CircuitsOutput` serializes."""
    open_count = sum(circuit.state in selectors.OPEN_STATES for circuit in circuits)
    return {"stats": {circuit.service: circuit for circuit in circuits}, "openCount": open_count}


class CircuitsView(LimitedReadView):
    @documented("circuits", serializers.CircuitsOutput, examples.CIRCUITS)
    def get(self, request: Request) -> Response:
        """List the circuits of all services."""
        found = selectors.circuits(access.visible(request))
        return Response(serializers.CircuitsOutput(circuits_document(found)).data)


class CircuitsResetView(MetricsView):
    @documented(
        "resetCircuits", serializers.ResetOutput, {"message": "1 circuit closed", "reset": ["slackIntelligence"]}
    )
    def post(self, request: Request) -> Response:
        """Close all circuits, and lift all hold-offs."""
        names = services.reset_circuits(access.request_actor(request))
        closed = f"{len(names)} circuit closed" if len(names) == 1 else f"{len(names)} circuits closed"
        return Response({"message": closed, "reset": names, **_reach()})


def _reach() -> dict[str, bool]:
    """Whether other workers have missed a change; empty if not."""
    return {} if selectors.circuits_are_shared() else {"isShared": False}


def _documented_override(name: str, state: State) -> Callable[[T], T]:
    example = {"service": "slackIntelligence", "state": state.value}
    return documented(name, serializers.OverrideOutput, example, body=serializers.OverrideInput)


class CircuitOverrideView(MetricsView):
    """An override of one circuit, for `ttl` seconds or until the next. A reset does not expire."""

    limited = ("POST",)

    def override(self, request: Request, service: str, state: State) -> Response:
        data = validate_body(serializers.OverrideInput, request.data)
        ttl = None if state is State.CLOSED else data["ttl"]
        after = services.override_circuit(access.request_actor(request), service, state, ttl, data["reason"])
        return Response({"service": service, "state": after.value, **_reach()})


class CircuitResetView(CircuitOverrideView):
    @_documented_override("resetCircuit", State.CLOSED)
    def post(self, request: Request, service: str) -> Response:
        """Close a circuit, end an override of it, and lift the service's hold-offs."""
        return self.override(request, service, State.CLOSED)


class CircuitOpenView(CircuitOverrideView):
    @_documented_override("openCircuit", State.FORCED_OPEN)
    def post(self, request: Request, service: str) -> Response:
        """Force a circuit open: no call reaches the backend."""
        return self.override(request, service, State.FORCED_OPEN)


class CircuitDisableView(CircuitOverrideView):
    @_documented_override("disableCircuit", State.DISABLED)
    def post(self, request: Request, service: str) -> Response:
        """Disable a circuit: all calls reach the backend, whatever fails."""
        return self.override(request, service, State.DISABLED)
