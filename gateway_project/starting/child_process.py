"""Runs a function in a child process, which takes the memory that the function needed with it."""

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final

from gateway_project.django_settings.databases import close_connections

_fork: Final = multiprocessing.get_context("fork")


def run_in_child(function: Callable[[], None]) -> None:
    """Call `function` in a fork of this process, which must not have started threads, and wait for its end.

    Closes this process's connections to databases. Raises what the function raises, with its cause, and
    ChildProcessError if the child was killed.
    """
    close_connections()
    receiver, sender = _fork.Pipe(duplex=False)
    child = _fork.Process(target=_call, args=(function, sender))
    child.start()
    sender.close()
    try:
        error, cause = receiver.recv()
    except EOFError:
        child.join()
        raise ChildProcessError(f"a process of the start was killed: exit code {child.exitcode}") from None
    except BaseException:  # a signal to this process alone
        child.terminate()
        raise
    finally:
        child.join()
        receiver.close()
    if error is not None:
        raise error from cause


def _call(function: Callable[[], None], sender: Connection) -> None:
    error: BaseException | None = None
    try:
        function()
    except BaseException as raised:  # noqa: BLE001 - the parent raises it
        raised.add_note(traceback.format_exc())
        error = raised
    sender.send((error, error and error.__cause__))
