"""Streams of text that take every character, and what to do once nobody reads them."""

import io
import os
from typing import TextIO


def accept_every_character(stream: TextIO | None) -> None:
    """Let no name end a command: at a terminal, characters that its encoding lacks are escaped; everything else gets
    UTF-8, whatever the locale is, since JSON and the configuration file are read as UTF-8.
    """
    if not isinstance(stream, io.TextIOWrapper):
        return
    if stream.isatty():
        stream.reconfigure(errors="backslashreplace")
    else:
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def discard(stream: TextIO) -> None:
    """Send what is still written to the stream, also when the interpreter exits, to nowhere."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
