"""The endpoints of the metrics API."""

from typing import Any

from django.test import Client

READS = [
    *("/metrics", "/metrics/alerts", "/metrics/cache", "/metrics/circuit-breakers", "/metrics/credentials"),
    "/metrics/history",
]
WRITES = [
    ("post", "/metrics/alerts/test"),
    ("post", "/metrics/cache/reset"),
    ("delete", "/metrics/cache"),
    ("delete", "/metrics/cache/crm"),
    ("post", "/metrics/circuit-breakers/reset"),
    ("post", "/metrics/circuit-breakers/crm/reset"),
    ("post", "/metrics/circuit-breakers/crm/open"),
    ("post", "/metrics/circuit-breakers/crm/disable"),
    ("post", "/metrics/cache/warm"),
    ("post", "/metrics/circuit-breakers/crm/probe"),
]
ENDPOINTS = [*(("get", path) for path in READS), *WRITES]


def send(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    content = "" if body is None else body
    return getattr(client, method)(path, content, content_type="application/json", headers=headers)
