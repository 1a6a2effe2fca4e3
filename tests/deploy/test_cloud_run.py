"""deploy/cloudrun/ has the fields of Cloud Run's API, and an environment that the gateway accepts."""

import json
from importlib.resources import files
from typing import Any

import pytest
import yaml

from deploy import render
from gateway_project.config import read as read_environment

DIRECTORY = render.DIRECTORY / "cloudrun"
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "number": (int, float),
}
SHUTDOWN_SECONDS = 10
"""Between SIGTERM and SIGKILL, as Cloud Run documents it."""


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """Of the API's version 1, whose objects these files are; from Google's client library."""
    document = files("googleapiclient") / "discovery_cache" / "documents" / "run.v1.json"
    found: dict[str, Any] = json.loads(document.read_text())["schemas"]
    return found


def faults(value: Any, schema: dict[str, Any], schemas: dict[str, Any], path: str = "") -> list[str]:
    """Unknown fields and wrong types. Integers of 64 bits are strings in JSON."""
    if "$ref" in schema:
        schema = {"type": "object", **schemas[schema["$ref"]]}
    if not isinstance(value, TYPES[schema["type"]]):
        return [f"{path}: not of type {schema['type']}"]
    if isinstance(value, list):
        return [fault for item in value for fault in faults(item, schema["items"], schemas, f"{path}[]")]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    found = []
    for key, item in value.items():
        rule = known.get(key, schema.get("additionalProperties"))
        found += [f"{path}.{key}: unknown"] if rule is None else faults(item, rule, schemas, f"{path}.{key}")
    return found


@pytest.mark.parametrize("name", ["service.yaml", "migrate.yaml"])
def test_the_api_has_every_field(name: str, schemas: dict[str, Any]) -> None:
    document = yaml.safe_load((DIRECTORY / name).read_text())
    assert faults(document, {"$ref": document["kind"]}, schemas) == []


def test_an_unknown_field_is_found(schemas: dict[str, Any]) -> None:
    document = yaml.safe_load((DIRECTORY / "service.yaml").read_text())
    document["spec"]["template"]["spec"]["timeout"] = "1"
    document["spec"]["template"]["spec"]["containers"][0]["image"] = 1
    assert len(faults(document, {"$ref": "Service"}, schemas)) == 2


def test_the_annotations_are_ones_of_cloud_run(schemas: dict[str, Any]) -> None:
    """The API ignores or refuses others; it documents those it accepts."""
    documented = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
    for name in ("service.yaml", "migrate.yaml"):
        document = yaml.safe_load((DIRECTORY / name).read_text())
        template = document["spec"]["template"]["metadata"]
        for annotation in [*document["metadata"].get("annotations", {}), *template["annotations"]]:
            assert f"`{annotation}`" in documented, annotation


def test_the_gateway_accepts_its_environment_and_ends_in_time() -> None:
    spec = yaml.safe_load((DIRECTORY / "service.yaml").read_text())["spec"]["template"]["spec"]
    container = spec["containers"][0]
    given = {item["name"]: item.get("value", 40 * "x") for item in container["env"]}
    reserved = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
    assert not reserved & given.keys()
    given |= {"DATABASE_URL": "postgresql://u:p@h/n", "REDIS_URL": "redis://h", "PORT": "8080"}
    config = read_environment(given)
    assert config.server.port == container["ports"][0]["containerPort"] == 8080
    assert config.server.drain + config.server.grace < SHUTDOWN_SECONDS
    assert str(config.server.workers) == container["resources"]["limits"]["cpu"]
