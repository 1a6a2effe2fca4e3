"""The error of an unavailable store."""


class StoreUnavailable(Exception):
    """The shared store is unreachable, too slow or refuses the command. Callers continue on what this worker knows."""
