"""OpenAPI documents as teams have them."""

import json
from typing import Any

import yaml

RESOURCES = 50


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def operation(name: str, *, body: bool = False) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {"description": "OK", "content": {"application/json": {"schema": reference(name)}}},
        "default": {"$ref": "#/components/responses/Problem"},
    }
    made: dict[str, Any] = {"tags": [name], "responses": responses}
    if body:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference(name)}}}
    return made


def large(version: str = "3.1.0") -> dict[str, Any]:
    """Four paths for each of 50 resources, parameters in paths, and schemas that refer to themselves and each other."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Node": {"type": "object", "properties": {"children": {"type": "array"}}}}
    schemas["Node"]["properties"]["children"]["items"] = reference("Node")
    for number in range(RESOURCES):
        name = f"resource{number}"
        paths[f"/{name}"] = {"get": operation(name), "post": operation(name, body=True)}
        paths[f"/{name}/{{{name}-id}}"] = {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": operation(name),
            "patch": operation(name, body=True),
            "delete": operation(name),
        }
        paths[f"/{name}/search"] = {"post": operation(name, body=True)}
        paths[f"/{name}/{{{name}-id}}/notes/{{note_id}}"] = {"get": operation(name), "put": operation(name, body=True)}
        other = f"resource{(number + 1) % RESOURCES}"
        schemas[name] = {"type": "object", "properties": {"next": reference(other), "tree": reference("Node")}}
    return {
        "openapi": version,
        "info": {"title": "Example CRM", "version": "2026-01"},
        "servers": [
            {"url": "https://{region}.crm.example.com/v3/", "variables": {"region": {"default": "eu"}}},
            {"url": "https://sandbox.example.com/v3"},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": {"Id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}},
            "responses": {"Problem": {"description": "an error"}},
        },
    }


def small(*paths: str, **more: Any) -> dict[str, Any]:
    """Paths with GET, or with the methods before a space: `GET,POST /contacts`."""
    items: dict[str, Any] = {}
    for path in paths:
        methods, _, address = path.rpartition(" ")
        items[address] = {
            method.lower(): {"responses": {"200": {"description": "OK"}}} for method in (methods or "GET").split(",")
        }
    return {"openapi": "3.0.3", "info": {"title": "Contacts", "version": "1"}, "paths": items, **more}


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def as_yaml(document: Any) -> bytes:
    return str(yaml.safe_dump(document, sort_keys=False)).encode()
