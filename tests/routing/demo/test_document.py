import yaml

from routing.configuration.decode import decode
from routing.demo.document import FILE, SENDERS, document, preferred_ports
from routing.demo.servers import BACKENDS
from routing.router.policy import NAME, Target

PORTS = {name: 20_000 + number for number, name in enumerate(BACKENDS)}


def test_every_backend_has_a_service_and_its_own_port() -> None:
    assert preferred_ports() == dict(zip(BACKENDS, range(9101, 9106), strict=True))


def test_each_service_has_the_port_of_its_backend() -> None:
    services = document(PORTS)["services"]
    assert {name: service["targets"] for name, service in services.items()} == {
        name: [{"url": f"http://127.0.0.1:{port}"}] for name, port in PORTS.items()
    }


def test_with_the_preferred_ports_the_document_equals_the_file() -> None:
    assert document(preferred_ports()) == yaml.safe_load(FILE.read_text())


def test_names_and_targets_are_valid_for_the_gateway() -> None:
    for name, service in document(PORTS)["services"].items():
        assert NAME.fullmatch(name)
        assert Target(**service["targets"][0]).weight == 1


def test_responses_that_must_not_be_cached_are_not() -> None:
    services = document(PORTS)["services"]
    off = {
        (name, route["path"])
        for name, service in services.items()
        for route in service.get("routes", ())
        if route.get("cache") is False
    }
    assert off == {
        ("crm", "/status/{code}"),
        ("crm", "/mode/{mode}"),
        ("aiRouting", "/complete"),
        ("aiRouting", "/stream"),
    }
    (mailbox,) = services["gmailIntelligence"]["routes"]
    assert mailbox["cache"]["scope"] == "user"


def test_the_webhooks_are_for_the_gateways_address() -> None:
    webhooks = document(PORTS, "http://127.0.0.1:8100")["webhooks"]
    assert webhooks.keys() == {*SENDERS, "calendar"}
    assert webhooks["calendar"]["watch"]["address"] == "http://127.0.0.1:8100/hooks/calendar"
    assert webhooks["gmail"]["audience"] == "http://127.0.0.1:8100/hooks/gmail"
    assert webhooks["gmail"]["keys_url"] == f"http://127.0.0.1:{PORTS['gmailIntelligence']}/oauth2/v1/certs"


def test_the_document_is_valid() -> None:
    assert {service.name for service in decode(document(PORTS), lambda _name: "secret")} == PORTS.keys()
