"""All advice on the configuration."""

from metrics.advice.cache import cache_advice
from metrics.advice.limits import unreached_quotas, unreached_rates
from metrics.advice.records import Advice
from metrics.advice.unused import unused_keys, unused_routes
from routing.database.config_file import stored_document


def all_advice() -> list[Advice]:
    """All advice, beginning with what saves most calls. Raises DatabaseError."""
    document = stored_document()
    found = [
        *cache_advice(document),
        *unused_routes(document),
        *unused_keys(),
        *unreached_rates(document),
        *unreached_quotas(document),
    ]
    return sorted(found, key=lambda advice: -advice.calls)
