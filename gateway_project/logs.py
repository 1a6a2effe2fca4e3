"""A log filter for errors that clients cause."""

import logging


class WithoutTraceback(logging.Filter):
    """Drop the traceback, which says nothing about a mistake in a client's request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True
