import yaml

from routing.demo.document import FILE, document, preferred_ports
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
    assert services["gmailIntelligence"]["cache"]["scope"] == "user"
