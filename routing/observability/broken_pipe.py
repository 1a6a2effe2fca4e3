"""What to do when nobody reads an output any more."""

import os
from typing import TextIO


def discard(stream: TextIO) -> None:
    """Send what is still written to the stream, also when the interpreter exits, to nowhere."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
