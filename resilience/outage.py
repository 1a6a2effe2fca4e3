"""What is said when a shared store cannot be reached, whichever store it is."""


class StoreUnavailable(Exception):
    """The shared store did not answer, or not in time. Callers carry on with what this worker knows alone."""
