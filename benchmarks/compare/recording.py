"""The gateway's answers, seen once before they are measured: that they are right, and what the floor has to repeat."""

from typing import Final

import requests

from benchmarks.compare.cases import FLOOR_KINDS, kinds
from benchmarks.floor import Answers, Recorded
from benchmarks.processes import NotStarted
from benchmarks.servers import Running
from benchmarks.wrk import Ask, Load

KEPT_BY_SERVER: Final = frozenset({"connection", "transfer-encoding"})
EXPECTED: Final = {"not-modified": 304, "open-circuit": 503, "401": 401, "429": 429}
"""Status by kind; 200 for the others."""


def recorded(gateway: Running) -> Answers:
    """Every kind of answer by the floor's path, with its fields and below /bare without them.

    Each is asked for twice: the first opens the circuit, uses up the limit, fills the cache. Raises NotStarted when an
    answer is not what the case says it is.
    """
    asks = dict(zip(FLOOR_KINDS, kinds(gateway), strict=True))
    asks["hit/large"] = asks["hit/small"]._replace(path="/api/v1/bench/large")
    answers: Answers = {}
    for name, ask in asks.items():
        _asked(gateway, ask)
        answer = _asked(gateway, ask)
        if answer.status != EXPECTED.get(name, 200):
            raise NotStarted(f"the gateway answers {answer.status} to {name}")
        answers[f"/{name}"] = answer
        answers[f"/bare/{name}"] = answer.plain()
    return answers


def _asked(gateway: Running, ask: Ask) -> Recorded:
    answer = requests.request(
        ask.method, gateway.address + ask.path, headers=dict(ask.headers), data=ask.body or None, timeout=10
    )
    fields = [(name.lower(), value) for name, value in answer.headers.items() if name.lower() not in KEPT_BY_SERVER]
    return Recorded(answer.status_code, fields, answer.content)


def fault(load: Load) -> str:
    """Why this contestant cannot be measured: it does not answer as the case expects. Asks three times, to warm it."""
    if load.asks:
        return ""
    url = load.url + ("0" if load.keys else "")
    for _ in range(3):
        try:
            answer = requests.get(url, headers=dict(load.headers), timeout=10)
        except requests.RequestException as error:
            return type(error).__name__
    return "" if (answer.status_code >= 400) == bool(load.refused) else f"answers {answer.status_code}"
