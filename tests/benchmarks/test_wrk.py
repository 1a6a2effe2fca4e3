import socket
import threading
from contextlib import nullcontext

import pytest

from benchmarks.processes import NotStarted
from benchmarks.wrk import Load, Request, WrkResult, idle_connections, parse, script

SUMMARY = """Running 1s test @ http://127.0.0.1:8000/x
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.09ms  320.50us  11.40ms   93.34%
    Req/Sec    29.53k     1.61k   31.49k    80.00%
  29390 requests in 1.00s, 57.94MB read
"""


class TestParsing:
    def test_rate_and_count_are_parsed(self) -> None:
        assert parse(SUMMARY + "Requests/sec:  29356.69\nTransfer/sec:     57.87MB\n") == WrkResult(
            29356.69, 29390, 0, 0
        )

    def test_error_responses_and_socket_errors_are_parsed(self) -> None:
        output = SUMMARY + "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 17\n"
        assert parse(output + "Requests/sec:  29356.69\n") == WrkResult(29356.69, 29390, 17, 10)

    def test_other_output_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="not a summary"):
            parse("unable to connect to 127.0.0.1:1 Connection refused")


class TestValidity:
    def test_expected_responses_are_valid(self) -> None:
        assert WrkResult(1.0, 100, 0, 0).fault(Load("http://x/")) == ""
        assert WrkResult(1.0, 100, 100, 0).fault(Load("http://x/", error_share=1)) == ""

    @pytest.mark.parametrize(
        ("measured", "refused"),
        [
            (WrkResult(1.0, 100, 1, 0), 0.0),  # one error page among the hits
            (WrkResult(1.0, 100, 99, 0), 1.0),  # one response with 200 although all should be refused
            (WrkResult(1.0, 1_000, 450, 0), 3 / 8),
            (WrkResult(1.0, 100, 0, 1), 0.0),
            (WrkResult(0.0, 0, 0, 0), 0.0),
        ],
    )
    def test_a_wrong_response_invalidates_the_round(self, measured: WrkResult, refused: float) -> None:
        assert measured.fault(Load("http://x/", error_share=refused)) != ""

    def test_a_round_of_mixed_requests_may_end_anywhere(self) -> None:
        assert WrkResult(1.0, 1_000, 379, 0).fault(Load("http://x/", error_share=3 / 8)) == ""


class TestScripts:
    def test_a_single_request_needs_no_script(self) -> None:
        assert script(Load("http://127.0.0.1:1/x")) == ""

    def test_keys_continue_where_the_last_round_ended(self) -> None:
        load = Load("http://127.0.0.1:1/small?k=", keys=100).after(250)
        assert load.start == 50
        assert "local n = 50" in script(load)
        assert "% 100" in script(load)
        assert 'wrk.format(nil, "/small?k=" .. n)' in script(load)

    def test_requests_alternate_with_their_fields_and_bodies(self) -> None:
        requests = (Request("GET", "/a", (("X-API-Key", "k"),)), Request("POST", "/b", body='{"n":1}'))
        lua = script(Load("http://127.0.0.1:1", mix=requests))
        assert 'wrk.format("GET", "/a", {["X-API-Key"] = "k"}, nil)' in lua
        assert 'wrk.format("POST", "/b", {}, "{\\"n\\":1}")' in lua


@pytest.mark.parametrize("closes", [False, True], ids=["kept", "closed"])
def test_idle_connections_must_stay_open_until_the_end(closes: bool) -> None:
    def serve() -> None:
        connection, _ = server.accept()
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        if closes:
            connection.close()
        served.append(connection)

    served: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        output = pytest.raises(NotStarted, match="1 of 1 idle") if closes else nullcontext()
        with output, idle_connections(f"http://127.0.0.1:{server.getsockname()[1]}/x", 1):
            thread.join(10)
            assert served
        served[0].close()
