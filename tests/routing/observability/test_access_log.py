import io

import msgspec

from routing.observability import access_log
from routing.observability.access_log import AccessLog
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


async def test_lines_over_the_limit_are_dropped_and_counted(monkeypatch: object) -> None:
    stream = io.StringIO()
    log = AccessLog("json", stream)
    for _ in range(access_log.MAX_BUFFERED_LINES + 3):
        log.finished(EVENT)
    log.flush()
    assert stream.getvalue().splitlines()[-1] == '{"dropped_lines":3}'
