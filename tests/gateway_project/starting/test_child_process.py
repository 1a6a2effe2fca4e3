"""What a start does in a child process ends as if it had been done here."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import DatabaseError, OperationalError

from gateway_project.starting.child_process import run_in_child
from tests.processes import eventually, has_exited


def fail_on_a_full_disk() -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise OperationalError("database or disk is full") from full


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_parent_waits_and_keeps_its_own_memory(tmp_path: Path) -> None:
    made = list[str]()

    def note() -> None:
        made.append("here")
        (tmp_path / "pid").write_text(str(os.getpid()))

    run_in_child(note)
    assert not made
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_an_error_keeps_its_class_its_cause_and_where_it_was_raised() -> None:
    with pytest.raises(DatabaseError, match="disk is full") as caught:
        run_in_child(fail_on_a_full_disk)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert caught.value.__cause__.sqlite_errorcode == sqlite3.SQLITE_FULL
    assert any("in fail_on_a_full_disk" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(("end", "status"), [(sys.exit, "3"), (os._exit, "exit code 3")])
def test_an_end_of_the_process_is_an_error(end: Callable[[int], None], status: str) -> None:
    with pytest.raises((SystemExit, ChildProcessError), match=status):
        run_in_child(lambda: end(3))


def test_a_child_that_is_killed_is_an_error() -> None:
    with pytest.raises(ChildProcessError, match="exit code -9"):
        run_in_child(kill_this_process)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_alone_ends_both(stop: signal.Signals, tmp_path: Path) -> None:
    program = f"""
import os, pathlib, signal, sys, time
import django
django.setup()
from gateway_project.starting.child_process import run_in_child

def wait():
    pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
    time.sleep(60)

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
signal.signal(signal.SIGINT, signal.default_int_handler)
run_in_child(wait)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    assert eventually(lambda: (tmp_path / "pid").is_file() and bool((tmp_path / "pid").read_text()), 20)
    child = int((tmp_path / "pid").read_text())
    process.send_signal(stop)
    assert process.wait(20) == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT}[stop]
    assert has_exited(child)
