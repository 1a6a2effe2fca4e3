"""A worker whose main process has died."""

import asyncio
import multiprocessing
import os
import time

from gateway_project.server.lifespan import exit_without_parent

_fork = multiprocessing.get_context("fork")


def _start_worker_and_die(writer: int) -> None:
    _fork.Process(target=_worker, args=(writer, os.getpid())).start()
    os._exit(0)


def _worker(writer: int, main: int) -> None:
    while os.getppid() == main or _is_running(main):
        time.sleep(0.01)
    try:
        asyncio.run(asyncio.wait_for(exit_without_parent(), 10))
    except TimeoutError:
        os.write(writer, b"still there")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_if_that_happened_before_it_began_to_watch() -> None:
    reader, writer = os.pipe()
    main = _fork.Process(target=_start_worker_and_die, args=(writer,))
    main.start()
    main.join()
    os.close(writer)
    assert os.read(reader, 100) == b""
    os.close(reader)
