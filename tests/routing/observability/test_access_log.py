import errno
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from routing.observability import access_log
from routing.observability.access_log import AccessLog, joined
from routing.observability.events import RequestFinished

EVENT = RequestFinished(
    at=1_700_000_000.5, request_id="r1", method="GET", path="/api/v1/crm/x", status=200, duration=0.0123456
)


async def test_each_request_is_one_json_line() -> None:
    stream = io.StringIO()
    log = AccessLog("json", stream)
    log.finished(EVENT)
    log.finished(EVENT)
    log.flush()
    lines = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 2
    assert lines[0]["at"] == "2023-11-14T22:13:20.500+00:00"
    assert (lines[0]["status"], lines[0]["duration"]) == (200, 0.012346)


async def test_a_path_cannot_forge_a_console_line() -> None:
    stream = io.StringIO()
    log = AccessLog("console", stream)
    log.finished(msgspec.structs.replace(EVENT, path="/a\n00:00:00 200 GET /forged \x1b[31m\x9b"))
    log.flush()
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\x9b" not in stream.getvalue()


async def test_lines_over_the_limit_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    log = AccessLog("json", stream)
    for _ in range(access_log.MAX_BUFFERED_LINES + 3):
        log.finished(EVENT)
    log.flush()
    assert stream.getvalue().count("\n") == access_log.MAX_BUFFERED_LINES
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "3 lines of the access log were dropped"
    ]


class FullDisk(io.StringIO):
    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


async def test_lines_that_a_full_disk_does_not_take_are_counted_once_it_has_space(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = FullDisk()
    log = AccessLog("json", stream)
    for is_full in (True, True, False):
        stream.is_full = is_full
        log.finished(EVENT)
        log.flush()
    assert stream.getvalue().count("\n") == 1
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "2 lines of the access log were dropped"
    ]


async def test_every_path_is_written_whatever_the_encoding_of_the_output_is(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        log = AccessLog("json", stream)
        log.finished(msgspec.structs.replace(EVENT, path="/é"))
        log.flush()
    assert json.loads((tmp_path / "log").read_bytes())["path"] == "/é"


async def test_bytes_that_are_no_utf_8_are_written_as_escapes() -> None:
    stream = io.StringIO()
    log = AccessLog("json", stream)
    log.finished(msgspec.structs.replace(EVENT, reason="\udcff refused", path="/é"))
    log.flush()
    line = json.loads(stream.getvalue())
    assert (line["reason"], line["path"]) == ("\\udcff refused", "/é")


def test_as_many_whole_lines_are_written_at_a_time_as_a_pipe_takes() -> None:
    lines = ["a" * 39 + "\n", "é" * 20 + "\n", "b" * 9 + "\n", "c" * 199 + "\n", "d\n"]
    found = list(joined(lines, 100))
    assert "".join(found) == "".join(lines)
    assert [len(text.encode()) for text in found] == [91, 200, 2]
    assert list(joined(lines, sys.maxsize)) == ["".join(lines)]


def test_lines_of_several_processes_stay_whole_in_a_pipe_that_is_full() -> None:
    reader, writer = os.pipe()
    script = (
        "import asyncio, sys\n"
        "from routing.observability.access_log import AccessLog\n"
        "from routing.observability.events import RequestFinished\n"
        "async def main():\n"
        "    log = AccessLog('json', sys.stdout)\n"
        "    for _ in range(3000):\n"
        "        log.finished(RequestFinished(at=1.0, request_id='r', method='GET', path='/' + 'x' * 90, status=200,"
        " duration=1.0))\n"
        "    log.flush()\n"
        "asyncio.run(main())\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script], stdout=writer) for _ in range(2)]
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        time.sleep(0.3)  # both wait for space in the pipe
        lines = pipe.read().splitlines()
    assert [process.wait() for process in writers] == [0, 0]
    assert {json.loads(line)["logger"] for line in lines} == {"access"}
    assert len(lines) == 6000
