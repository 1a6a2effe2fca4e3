"""Files of other gateways in their documented formats: what is made of them, and that nothing is dropped silently."""

from pathlib import Path
from typing import Any

import pytest

from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.configuration.literals import literal_secrets
from routing.imports.products import PRODUCTS, convert, product_of, read
from routing.imports.report import Imported, NoteKind

FILES = Path(__file__).parent / "files"
NAMES = {"kong.yaml": "deck", "krakend.json": "krakend", "litellm.yaml": "litellm", "traefik.yaml": "traefik"}


def imported(name: str) -> Imported:
    structure = read((FILES / name).read_bytes())
    product = product_of(structure)
    assert product == NAMES[name]
    return convert(structure, product)


def notes(found: Imported, kind: NoteKind) -> dict[str, str]:
    return {note.path: note.text for note in found.notes if note.kind is kind}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_imported_is_valid_and_has_no_secret(name: str) -> None:
    """Planted secrets are neither in the configuration nor in the report. `convert` has validated it."""
    found = imported(name)
    written = dump(found.structure)
    assert dump(parse(written).structure) == written
    shown = written + "\n".join(map(str, found.notes))
    assert "planted" in (FILES / name).read_text()
    assert "planted" not in shown
    assert literal_secrets(found.structure) == []
    assert not found.is_complete


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, str(key)))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, str(index)))]
    return [path]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_anywhere_is_reported(name: str) -> None:
    """In every mapping of the file that is read at all; what is within one that is left out goes with it."""
    text = (FILES / name).read_text()
    structure = read(text.encode())
    before = convert(structure, NAMES[name])
    left = {note.path for note in before.notes if note.kind is NoteKind.LEFT_OUT}
    for place in mappings(structure):
        changed = read(text.encode())
        at(changed, place)["invented_setting"] = {"of": "a later version"}
        after = {note.path for note in PRODUCTS[NAMES[name]].convert(changed).notes if note.kind is NoteKind.LEFT_OUT}
        shown = written(place)
        is_within = any(shown == each or shown.startswith((f"{each}.", f"{each}[")) for each in left)
        invented = f"{shown}.invented_setting".lstrip(".")
        is_reported = any(path.startswith(invented) for path in after)
        assert is_within or is_reported or shown in NOT_ABOUT_REQUESTS, place


NOT_ABOUT_REQUESTS = {"model_list[0].model_info", "http.routers.shop.tls"}


def mappings(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in mappings(item, (*path, index))]
    if not isinstance(value, dict):
        return []
    return [path, *(found for key, item in value.items() for found in mappings(item, (*path, key)))]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def written(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")


def test_a_file_of_kong_becomes_services() -> None:
    found = imported("kong.yaml")
    services = found.structure["services"]
    assert list(services) == ["crm", "files", "legacy"]
    crm = services["crm"]
    assert crm["targets"] == [
        {"url": "http://crm-1.internal:8080/v2", "weight": 2},
        {"url": "http://crm-2.internal:8080/v2", "weight": 1},
    ]
    assert (crm["auth"], crm["rate_limit"], crm["cache"]) == ("required", "120/m", {"ttl": 30})
    assert crm["headers"] == {"Authorization": "Bearer env:GATEWAY_SECRET_CRM_AUTHORIZATION", "X-Team": "sales"}
    assert crm["timeout"] == {"connect": "2s", "read": "15s", "idle": "15s"}
    assert crm["health"]["path"] == "/status"
    assert services["files"]["auth"] == "none"
    assert services["files"]["routes"] == [
        {"path": "/users/{user}/avatar", "methods": ["GET"]},
        {"path": "/files/*", "methods": ["GET"]},
    ]
    left = notes(found, NoteKind.LEFT_OUT)
    assert "not by headers" in left["services[1].routes[1]"]
    assert left["services[3]"] == "the service has no target"
    assert "/crm is removed" in notes(found, NoteKind.CHANGED)["services[0].routes[0].paths"]


def test_what_a_plugin_protects_is_never_imported_as_open() -> None:
    assert imported("kong.yaml").structure["services"]["legacy"]["auth"] == "required"
    assert imported("traefik.yaml").structure["services"]["reports"]["auth"] == "required"
    reports = imported("krakend.json").structure["services"]["reports"]
    assert [route["auth"] for route in reports["routes"]] == ["required"]
    assert all("auth" not in service for service in imported("litellm.yaml").structure["services"].values())


def test_a_restriction_whose_addresses_are_elsewhere_in_the_file_is_not_imported_as_open() -> None:
    plugin = {"name": "ip-restriction", "_config": "offices"}
    service = {"name": "a", "url": "http://a", "plugins": [plugin], "routes": [{"paths": ["/a"]}]}
    structure = {
        "_format_version": "3.0",
        "_plugin_configs": {"offices": {"allow": ["10.0.0.0/8"]}},
        "services": [service],
    }
    found = convert(structure, "deck")
    assert found.structure["services"]["a"]["enabled"] is False
    assert "services[0].plugins[0]._config" in notes(found, NoteKind.LEFT_OUT)


def test_a_file_of_krakend_becomes_services() -> None:
    found = imported("krakend.json")
    services = found.structure["services"]
    assert [each["url"] for each in services["orders-1"]["targets"]] == [
        "http://orders-1.internal:8000",
        "http://orders-2.internal:8000",
    ]
    route = {"path": "/products/{id}", "methods": ["GET"], "timeout": {"read": "3s", "total": "3s"}}
    assert services["catalogue"]["routes"] == [{**route, "auth": "required", "rate_limit": "10/m"}]
    assert services["catalogue"]["breaker"] == {"failure_threshold": 3, "window": "60s", "open_for": "10s"}
    assert services["catalogue"]["cache"] == {"scope": "shared"}
    assert services["orders-1"]["outbound"] == {"rate": "50/s"}
    assert services["reports"]["targets"] == [{"url": "http://reports.internal"}]
    assert [issuer["issuer"] for issuer in found.structure["issuers"]] == ["https://id.example.com/"]
    assert "merges the responses of 2 backends" in notes(found, NoteKind.LEFT_OUT)["endpoints[2]"]
    assert "GET /api/v1/catalogue/products/{id}" in notes(found, NoteKind.CHANGED)["endpoints[0]"]


def test_a_file_of_litellm_becomes_services() -> None:
    found = imported("litellm.yaml")
    services = found.structure["services"]
    assert list(services) == ["openai", "anthropic", "openai-2", "azure"]
    assert services["openai"]["headers"] == {"Authorization": "Bearer env:GATEWAY_SECRET_OPENAI_API_KEY"}
    assert (services["openai"]["preset"], services["openai"]["outbound"]) == ("openai", {"rate": "1480/m"})
    assert services["openai-2"]["targets"] == [{"url": "http://127.0.0.1:8001"}]
    assert services["azure"]["headers"] == {"api-key": "env:GATEWAY_SECRET_AZURE_API_KEY"}
    assert services["anthropic"]["breaker"] == {"failure_threshold": 4, "open_for": "30s"}
    secrets = notes(found, NoteKind.SECRET)
    assert secrets["model_list[0].litellm_params.api_key"].endswith("to what OPENAI_API_KEY has")
    assert "bedrock" in notes(found, NoteKind.LEFT_OUT)["model_list[5].litellm_params.model"]


def test_a_file_of_traefik_becomes_services() -> None:
    found = imported("traefik.yaml")
    services = found.structure["services"]
    assert [(each["url"], each["weight"]) for each in services["shop"]["targets"]] == [
        ("http://10.0.0.1:8080", 9),
        ("http://10.0.0.2:8080", 9),
        ("http://10.0.0.3:8080", 2),
    ]
    assert services["shop"]["rate_limit"] == "100/m"
    assert services["shop"]["headers"] == {"X-Api-Key": "env:GATEWAY_SECRET_SHOP_X_API_KEY", "X-Tenant": "shop"}
    assert "hosts" not in services["shop"]  # reports has the same
    assert services["wiki"]["hosts"] == ["wiki.example.com"]
    assert services["wiki"]["fallback"] == {"service": "wiki-copy"}
    assert services["wiki-copy"]["ip"] == services["wiki"]["ip"] == {"allow": ["10.0.0.0/8", "192.168.0.7"]}
    assert "only Host, Path" in notes(found, NoteKind.LEFT_OUT)["http.routers.odd.rule"]


TOML = """
[http.routers.a]
rule = "PathPrefix(`/a`)"
service = "a"
[[http.services.a.loadBalancer.servers]]
url = "http://127.0.0.1:9"
"""


def test_traefik_in_toml_is_complete_if_everything_has_a_counterpart() -> None:
    found = convert(read(TOML.encode()), "traefik")
    assert found.is_complete
    assert found.structure["services"]["a"]["routes"] == [{"path": "/a/*"}]


@pytest.mark.parametrize(
    ("product", "structure"),
    [
        ("deck", {"services": [{"name": "a", "url": "http://a"}]}),
        ("deck", {"services": [{"name": "a", "url": "http://a", "routes": [{"paths": ["~/(a|b)/(?!c)"]}]}]}),
        ("krakend", {"endpoints": [{"endpoint": "/a", "backend": [{"url_pattern": "/a%20b", "host": ["http://a"]}]}]}),
        ("traefik", {"http": {"routers": {"a": {"rule": "Path(`/a%`)", "service": "a"}},
                              "services": {"a": {"loadBalancer": {"servers": [{"url": "http://a"}]}}}}}),
    ],
)  # fmt: skip
def test_a_service_that_no_route_leads_to_is_left_out_since_it_would_be_open(product: str, structure: Any) -> None:
    with pytest.raises(ConfigurationError, match="nothing to import"):
        convert(structure, product)


def test_durations_of_weeks_are_written_without_an_exponent() -> None:
    """Kong's largest timeout, which is how it is told to wait for ever."""
    service = {
        "name": "a",
        "url": "http://a",
        "read_timeout": 2_147_483_646,
        "routes": [{"name": "a", "paths": ["/a"]}],
    }
    found = convert({"_format_version": "3.0", "services": [service]}, "deck")
    assert found.structure["services"]["a"]["timeout"]["idle"] == "2147483.646s"


JUNK: list[Any] = [None, 7, "text", True, [], {}, [None], ["text"], [{"name": None}], {"a": None}, {"a": "text"}, -1.5]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_values_of_other_types_are_no_crash(name: str) -> None:
    text = (FILES / name).read_text()
    for place in leaves(read(text.encode())):
        for junk in JUNK:
            structure: Any = read(text.encode())
            holder = structure
            for step in place[:-1]:
                holder = holder[int(step) if isinstance(holder, list) else step]
            holder[int(place[-1]) if isinstance(holder, list) else place[-1]] = junk
            try:
                convert(structure, NAMES[name])
            except ConfigurationError as error:
                assert error.faults  # noqa: PT017 - either outcome is right


FORMER = """{"version": 2, "host": ["http://a.internal"], "endpoints": [{
"endpoint": "/x", "extra_config": {
  "github.com/devopsfaith/krakend-ratelimit/juju/router": {"maxRate": 50, "clientMaxRate": 5, "strategy": "ip"},
  "github_com/devopsfaith/krakend-jose/validator": {
    "alg": "RS256", "jwk-url": "https://id.example/keys", "issuer": "https://id.example", "audience": ["a"]}},
"backend": [{"url_pattern": "/x", "extra_config": {
  "github.com/devopsfaith/krakend-circuitbreaker/gobreaker": {"interval": 60, "timeout": 10, "maxErrors": 3},
  "github.com/devopsfaith/krakend-ratelimit/juju/proxy": {"maxRate": 20, "capacity": 20}}}]}]}"""


def test_components_of_krakend_under_their_former_names() -> None:
    found = convert(read(FORMER.encode()), "krakend")
    service = found.structure["services"]["a"]
    assert service["outbound"] == {"rate": "20/s"}
    assert service["breaker"]["failure_threshold"] == 3
    (route,) = service["routes"]
    assert (route["auth"], route["rate_limit"]) == ("required", "5/s")
    assert found.structure["issuers"] == [
        {"issuer": "https://id.example", "audience": ["a"], "jwks_uri": "https://id.example/keys"}
    ]
    router = "endpoints[0].extra_config.github.com/devopsfaith/krakend-ratelimit/juju/router"
    assert list(notes(found, NoteKind.LEFT_OUT)) == [f"{router}.max_rate"]


def test_names_that_a_file_of_traefik_chooses_are_kept() -> None:
    servers = "{servers: [{url: 'http://a.internal'}]}"
    found = convert(
        read(
            f"""http:
  routers: {{URL: {{rule: "PathPrefix(`/`)", service: TCP, middlewares: [Rule]}}}}
  services: {{TCP: {{loadbalancer: {servers}}}}}
  middlewares: {{Rule: {{headers: {{customrequestheaders: {{Path: a}}}}}}}}""".encode()
        ),
        "traefik",
    )
    assert found.is_complete
    (service,) = found.structure["services"].values()
    assert service["headers"] == {"Path": "a"}


def test_another_file_is_of_no_product() -> None:
    assert product_of(read(b"version: 1\nservices: {}\n")) is None
    with pytest.raises(ConfigurationError, match="not a mapping"):
        read(b"- a\n")
