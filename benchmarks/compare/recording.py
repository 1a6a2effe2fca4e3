"""Responses of the gateway, checked before they are measured and recorded for the baseline to replay."""

from typing import Final

import requests

from benchmarks.baseline import RecordedResponse, Recording
from benchmarks.compare.cases import MIX_PATHS, mixed_requests
from benchmarks.processes import NotStarted
from benchmarks.servers import RunningGateway
from benchmarks.wrk import Load, Request

SET_BY_SERVER: Final = frozenset({"connection", "transfer-encoding"})
EXPECTED: Final = {"not-modified": 304, "open-circuit": 503, "401": 401, "429": 429}
"""Status by path; 200 for all others."""


def record(gateway: RunningGateway) -> Recording:
    """One response for each path of the baseline, and below /bare the same with minimal fields.

    Each request is sent twice: the first opens the circuit, uses up the limit or fills the cache. Raises NotStarted if
    a response does not have the expected status.
    """
    requests_by_path = dict(zip(MIX_PATHS, mixed_requests(gateway), strict=True))
    requests_by_path["hit/large"] = requests_by_path["hit/small"]._replace(path="/api/v1/bench/large")
    recording: Recording = {}
    for name, request in requests_by_path.items():
        _send(gateway, request)
        response = _send(gateway, request)
        if response.status != EXPECTED.get(name, 200):
            raise NotStarted(f"the gateway responds to {name} with {response.status}")
        recording[f"/{name}"] = response
        recording[f"/bare/{name}"] = response.minimal()
    return recording


def _send(gateway: RunningGateway, request: Request) -> RecordedResponse:
    response = requests.request(
        request.method,
        gateway.address + request.path,
        headers=dict(request.headers),
        data=request.body or None,
        timeout=10,
    )
    fields = [(name.lower(), value) for name, value in response.headers.items() if name.lower() not in SET_BY_SERVER]
    return RecordedResponse(response.status_code, fields, response.content)


def fault(load: Load) -> str:
    """Why a target cannot be measured; empty if it responds as expected. Sends three requests, to warm it up."""
    if load.mix:
        return ""
    url = load.url + ("0" if load.keys else "")
    for _ in range(3):
        try:
            response = requests.get(url, headers=dict(load.headers), timeout=10)
        except requests.RequestException as error:
            return type(error).__name__
    as_expected = (response.status_code >= 400) == bool(load.error_share)
    return "" if as_expected else f"responds with {response.status_code}"
