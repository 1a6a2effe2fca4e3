"""Render the Helm chart as plain manifests: `python -m deploy.render` writes them to deploy/kubernetes/."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

DIRECTORY: Final = Path(__file__).parent
CHART: Final = DIRECTORY / "helm" / "intelligence-gateway"
MANIFESTS: Final = DIRECTORY / "kubernetes"
VALUES: Final = MANIFESTS / "values.yaml"
RELEASE: Final = "intelligence-gateway"
NAMESPACE: Final = "gateway"
NOT_RENDERED: Final = ("values.yaml", "kustomization.yaml")
HEADER: Final = "# Rendered from deploy/helm/intelligence-gateway and values.yaml by `make manifests`.\n"


def render(values: Mapping[str, Any], *, release: str = RELEASE, upgrade: bool = False) -> dict[str, str]:
    """What `helm template` writes, by the template's file name; templates that render nothing are left out.

    Raises helm_python.HelmError for values that the chart's schema or a template refuses.
    """
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(dict(values)))
        rendered = chart.render(dict(values), name=release, namespace=NAMESPACE, is_upgrade=upgrade)
    texts = {Path(path).name: text.strip() + "\n" for path, text in rendered.items()}
    return {name: text for name, text in texts.items() if text.strip() and name.endswith(".yaml")}


def manifests() -> dict[str, str]:
    """The files of deploy/kubernetes/ that are rendered, by name."""
    return {name: HEADER + text for name, text in render(yaml.safe_load(VALUES.read_text())).items()}


def main() -> None:
    files = manifests()
    for path in MANIFESTS.glob("*.yaml"):
        if path.name not in files and path.name not in NOT_RENDERED:
            path.unlink()
    for name, text in files.items():
        (MANIFESTS / name).write_text(text)
    sys.stdout.write(f"wrote {len(files)} files to {MANIFESTS}\n")


if __name__ == "__main__":
    main()
