"""The objectives of services now, for Django's threads: it blocks."""

from metrics.cluster_counts import pending_batches
from metrics.objectives.budgets import ObjectiveStatus
from metrics.objectives.reading import objective_reader
from metrics.runtime_access import running


def objectives() -> dict[str, tuple[ObjectiveStatus, ...]]:
    """The objectives' status, by the names of the services that have any. Raises DatabaseError."""
    gateway = running()
    services = gateway.gateway.live.table.services.values()
    if all(service.slo is None for service in services):
        return {}
    return objective_reader.read(services, pending_batches(), gateway.flusher.now())
