"""The Helm chart renders what Kubernetes accepts, and deploy/kubernetes/ is what it renders."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from deploy import render
from gateway_project.config import Config
from gateway_project.config import read as read_environment

pytestmark = pytest.mark.slow
VERSIONS = ("1.33", "1.37")
"""The oldest and the newest version of Kubernetes that is checked."""
EVERYTHING: dict[str, Any] = {
    "redis": {"enabled": True},
    "postgresql": {"enabled": True, "storageClassName": "fast"},
    "image": {"digest": "sha256:" + 64 * "0"},
    "imagePullSecrets": [{"name": "registry"}],
    "secrets": {"files": "gateway-files"},
    "configuration": {"file": "version: 1\nservices: {}\n"},
    "environment": {"RATE_LIMIT": "100/m", "MAX_BODY_BYTES": "10485760"},
    "trustedProxies": ["10.0.0.0/8"],
    "autoscaling": {"callsInFlight": 50},
    "ingress": {"enabled": True, "hosts": ["api.example.com"], "tlsSecret": "tls", "className": "nginx"},
    "staff": {"host": "staff.example.com", "ingress": {"enabled": True, "tlsSecret": "tls"}},
    "networkPolicy": {"ingressFrom": [{"namespaceSelector": {}}], "egress": [{"ports": [{"port": 443}]}]},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "monitoring": {
        name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "rulesConfigMap", "dashboardConfigMap")
    },
}
MINIMAL: dict[str, Any] = {
    "autoscaling": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "serviceAccount": {"create": False},
    "migrations": {"enabled": False},
    "topologySpread": False,
}
OPERATOR = "monitoring.coreos.com/v1"
"""Of the Prometheus operator's kinds, which Kubernetes itself does not know."""


@cache
def validator(version: str, kind: str, api_version: str) -> Draft202012Validator:
    """Of kubernetes-validate's strict schemas, under which an unknown field is an error."""
    directory = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    name = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = json.loads((directory / f"{kind.lower()}-{name}.json").read_text())
    return Draft202012Validator(schema, registry=definitions(version))


@cache
def definitions(version: str) -> "Registry[Any]":
    directory = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    resource: Resource[Any] = Resource.from_contents(json.loads((directory / "_definitions.json").read_text()))
    return resource @ Registry()


def documents(texts: dict[str, str]) -> Iterator[dict[str, Any]]:
    for text in texts.values():
        yield from (document for document in yaml.safe_load_all(text) if document)


def objects(values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(item["kind"], item["metadata"]["name"]): item for item in documents(render.render(values))}


def test_helm_lint_finds_nothing_but_a_missing_icon() -> None:
    report = helm_python.lint(render.CHART, EVERYTHING, strict=True)
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


def test_the_manifests_are_what_the_chart_renders() -> None:
    """`make manifests` writes them."""
    written = {path.name: path.read_text() for path in render.MANIFESTS.glob("*.yaml")}
    kustomization = yaml.safe_load(written["kustomization.yaml"])
    rendered = render.manifests()
    assert {name: text for name, text in written.items() if name not in render.NOT_RENDERED} == rendered
    assert sorted(kustomization["resources"]) == sorted(rendered)


def test_kubectl_builds_the_kustomization() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")  # Debian has none
    built = subprocess.run([kubectl, "kustomize", render.MANIFESTS], capture_output=True, check=True, text=True).stdout
    kinds = sorted(document["kind"] for document in yaml.safe_load_all(built))
    assert kinds == sorted(document["kind"] for document in documents(render.manifests()))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING, MINIMAL], ids=["defaults", "everything", "minimal"])
def test_kubernetes_accepts_what_is_rendered(version: str, values: dict[str, Any]) -> None:
    found = [item for item in documents(render.render(values)) if item["apiVersion"] != OPERATOR]
    assert len(found) >= 2
    for item in found:
        errors = validator(version, item["kind"], item["apiVersion"]).iter_errors(item)
        assert [error.message for error in errors] == [], item["kind"]


def test_an_unknown_field_is_found() -> None:
    """The schemas are strict: without this, the test above could not fail."""
    service = objects({})["Service", "intelligence-gateway"]
    service["spec"]["sessionAffinities"] = "ClientIP"
    errors = list(validator(VERSIONS[-1], "Service", "v1").iter_errors(service))
    assert any("sessionAffinities" in error.message for error in errors)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": "3"}, "replicas"),
        ({"environment": {"MAX_BODY_BYTES": 10485760}}, "MAX_BODY_BYTES"),
        ({"environment": {"SECRET_KEY": "x"}}, "SECRET_KEY"),
        ({"environment": {"ALLOWED_HOSTS": "x"}}, "ALLOWED_HOSTS"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"fullnameOverride": "My_Gateway"}, "fullnameOverride"),
        ({"nameOverride": "a.gateway"}, "nameOverride"),
        ({"secrets": {"environment": ""}}, "environment"),
        ({"trustedProxies": ["everywhere"]}, "trustedProxies"),
        ({"ingress": {"enabled": True}}, "ingress.hosts"),
        ({"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "autoscaling.maxReplicas"),
        ({"configuration": {"file": "version: 1\n", "existingConfigMap": "mine"}}, "configuration.file"),
        ({"staff": {"ingress": {"enabled": True}}}, "staff.host"),
        (
            {"ingress": {"hosts": ["a.example"]}, "staff": {"host": "a.example", "ingress": {"enabled": True}}},
            "staff.host",
        ),
        ({"postgresql": {"enabled": True}, "secrets": {"migrations": "direct"}}, "secrets.migrations"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(helm_python.HelmError, match=re.escape(named)):
        render.render(values)


def test_the_migrations_need_nothing_that_the_release_creates() -> None:
    """Before an installation, Helm has created neither a ServiceAccount nor a ConfigMap."""
    values = {"configuration": {"file": "version: 1\n"}, "serviceAccount": {"name": "gateway"}}
    job = objects(values)["Job", "intelligence-gateway-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    assert "configMap" not in json.dumps(pod)
    assert pod["containers"][0]["command"][:3] == ["python", "manage.py", "migrate"]


def test_migrations_have_a_direct_connection_of_their_own() -> None:
    job = objects({"secrets": {"migrations": "direct"}})["Job", "intelligence-gateway-migrate"]
    environment = {item["name"]: item for item in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["DATABASE_URL"]["valueFrom"]["secretKeyRef"] == {"name": "direct", "key": "DATABASE_URL"}


def test_a_database_in_the_cluster_is_migrated_by_the_pods() -> None:
    """The Job would run before the database of the release exists."""
    found = objects(EVERYTHING)
    assert found["Job", "intelligence-gateway-migrate"]["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    pod = found["Deployment", "intelligence-gateway"]["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["initContainers"]] == ["migrate"]


def test_only_the_autoscaler_sets_the_number_of_pods() -> None:
    assert "replicas" not in objects({})["Deployment", "intelligence-gateway"]["spec"]
    assert objects(MINIMAL)["Deployment", "intelligence-gateway"]["spec"]["replicas"] == 2


def test_the_pods_are_given_the_time_they_need_to_stop() -> None:
    values = {"drainSeconds": 20, "graceSeconds": 100}
    pod = objects(values)["Deployment", "intelligence-gateway"]["spec"]["template"]["spec"]
    config = configuration(pod)
    assert (config.server.drain, config.server.grace) == (20, 100)
    assert pod["terminationGracePeriodSeconds"] == 125


def configuration(pod: dict[str, Any]) -> Config:
    """What the gateway makes of the variables that a pod gives it."""
    items = pod["containers"][0]["env"]
    variables = {item["name"]: item["value"] for item in items if "value" in item}
    secrets = {"SECRET_KEY": 40 * "x", "DATABASE_URL": "postgresql://u:p@h/n", "REDIS_URL": "redis://h"}
    given = {**secrets, **{name: re.sub(r"\$\([A-Z_]+\)", "p", value) for name, value in variables.items()}}
    given.pop("GATEWAY_CONFIG", None)  # a file of the pod
    return read_environment(given)


def test_the_gateway_accepts_the_environment_of_the_pods() -> None:
    pod = objects(EVERYTHING)["Deployment", "intelligence-gateway"]["spec"]["template"]["spec"]
    config = configuration(pod)
    assert config.server.workers == 2
    assert config.allowed_hosts[0] == "api.example.com"
    assert config.staff.host == "staff.example.com"
    assert config.redis_url == "redis://:p@intelligence-gateway-redis:6379/0"
    assert config.max_body_bytes == 10_485_760


def test_every_container_is_confined() -> None:
    for (kind, name), item in objects(EVERYTHING).items():
        pod = item["spec"]["template"]["spec"] if kind in ("Deployment", "StatefulSet", "Job") else None
        if pod is None:
            continue
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "limits" in container["resources"], name


def test_no_credentials_of_the_machine_can_be_fetched_and_dns_can() -> None:
    """A cache of DNS on the node has a link-local address, as the server of a cloud's credentials has."""
    policy = objects({})["NetworkPolicy", "intelligence-gateway"]["spec"]
    dns, rest = policy["egress"]
    assert [port["port"] for port in dns["ports"]] == [53, 53]
    assert "to" not in dns
    assert rest["to"][0]["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}


def test_rules_and_dashboard_are_those_of_the_directory() -> None:
    found = objects(EVERYTHING)
    rules = yaml.safe_load((render.DIRECTORY / "alerts.yaml").read_text())
    assert found["PrometheusRule", "intelligence-gateway"]["spec"] == rules
    assert yaml.safe_load(found["ConfigMap", "intelligence-gateway-rules"]["data"]["alerts.yaml"]) == rules
    board = json.loads((render.DIRECTORY / "grafana.json").read_text())
    assert json.loads(found["ConfigMap", "intelligence-gateway-dashboard"]["data"]["grafana.json"]) == board


LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize("release", ["a-release-whose-name-is-as-long-as-it-may-be-in-helm", "2026.api.gateway", "g"])
def test_names_and_labels_of_any_release_fit(release: str) -> None:
    """Helm accepts 53 characters, also dots, and a digit at the beginning; a Service's name neither of these.

    A StatefulSet's pods have a label of its name and eleven characters more.
    """
    found = list(documents(render.render(EVERYTHING, release=release)))
    names = {item["metadata"]["name"] for item in found if item["kind"] == "Service"}
    for item in found:
        name, pod = item["metadata"]["name"], item.get("spec", {}).get("template", {})
        assert len(name) <= (52 if item["kind"] == "StatefulSet" else 63)
        assert SERVICE.fullmatch(name)
        for labels in (item["metadata"]["labels"], pod.get("metadata", {}).get("labels", {})):
            assert all(LABEL.fullmatch(value) for value in labels.values())
        for container in [*pod.get("spec", {}).get("containers", ()), *pod.get("spec", {}).get("initContainers", ())]:
            values = {each["name"]: each.get("value", "") for each in container.get("env", ())}
            for variable in values.keys() & {"REDIS_URL", "DATABASE_URL"}:
                assert values[variable].partition("@")[2].partition(":")[0] in names


def test_a_wildcard_of_the_ingress_is_a_domain_of_the_allowed_hosts() -> None:
    values = {"ingress": {"enabled": True, "hosts": ["*.example.com"]}, "allowedHosts": ["*.example.org", ".a.example"]}
    found = objects(values)
    (container,) = found["Deployment", "intelligence-gateway"]["spec"]["template"]["spec"]["containers"]
    allowed = next(each["value"] for each in container["env"] if each["name"] == "ALLOWED_HOSTS")
    assert allowed.split(",")[:3] == [".example.com", ".example.org", ".a.example"]
    assert found["Ingress", "intelligence-gateway"]["spec"]["rules"][0]["host"] == "*.example.com"


def test_migrations_have_the_files_that_variables_may_name() -> None:
    """A variable that names a file which is not there ends a command."""
    for values in ({"secrets": {"files": "gateway-files"}}, EVERYTHING):
        for kind, name in (("Job", "intelligence-gateway-migrate"), ("Deployment", "intelligence-gateway")):
            pod = objects(values)[kind, name]["spec"]["template"]["spec"]
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            assert volumes["secrets"]["secret"] == {"secretName": "gateway-files"}
            for container in [*pod["containers"], *pod.get("initContainers", ())]:
                assert {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True} in container["volumeMounts"]


def test_the_package_contains_the_linked_files(tmp_path: Path) -> None:
    helm_python.package(render.CHART, destination=tmp_path)
    (archive,) = tmp_path.glob("*.tgz")
    with helm_python.Chart.load(archive) as chart:
        contents = {item["name"]: item["data"] for item in chart.files}
    assert contents["files/alerts.yaml"] == (render.DIRECTORY / "alerts.yaml").read_text()
