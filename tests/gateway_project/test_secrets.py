"""Which variables of the environment a service may send to its backend."""

import pytest

from gateway_project import config
from routing.configuration.isolate import decode_each

KEY = "k" * 50


def read(**environment: str) -> config.Config:
    return config.read({"SECRET_KEY": KEY, "DATABASE_URL": "sqlite:////tmp/x.sqlite3", **environment})


def test_a_variable_with_the_prefix_or_in_the_list_is_read() -> None:
    found = read(GATEWAY_SECRET_CRM="a", CRM_TOKEN="b", SECRETS_FROM="CRM_TOKEN, OTHER")
    assert (found.secret("GATEWAY_SECRET_CRM"), found.secret("CRM_TOKEN"), found.secret("OTHER")) == ("a", "b", None)


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "PATH", "GATEWAY_SECRET", "XGATEWAY_SECRET_CRM"])
def test_no_other_variable_is_sent_and_the_fault_says_what_to_do(name: str) -> None:
    headers = {"X": f"env:{name}"}
    (service,) = decode_each({"crm": {"targets": [{"url": "http://a"}], "headers": headers}}, read().secret).services
    assert service.is_out
    assert service.policy.headers == ()
    assert service.faults[0].startswith(f"headers.X: env:{name} is not allowed")
    assert "SECRETS_FROM" in service.faults[0]
    assert KEY not in str(service.faults)
