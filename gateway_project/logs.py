"""What the log leaves out."""

import logging


class WithoutTraceback(logging.Filter):
    """For what a client's request says wrong, where the way through the code tells nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True
