"""The packages of the wheel: templates/ becomes a part of gateway_project. All else about it is in pyproject.toml."""

from setuptools import find_packages, setup

NAMES = ("gateway_project", "metrics", "resilience", "routing")

setup(
    packages=[*find_packages(include=[*NAMES, *(f"{name}.*" for name in NAMES)]), "gateway_project.templates"],
    package_dir={"gateway_project.templates": "templates"},
)
