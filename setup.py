"""The packages of the wheel: templates/ becomes a part of gateway_project. All else about it is in pyproject.toml."""

import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NAMES = ("gateway_project", "metrics", "resilience", "routing")


class Build(build_py):
    """From nothing: what an earlier version has left in build/, such as a migration, is not put into the wheel."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(
    packages=[*find_packages(include=[*NAMES, *(f"{name}.*" for name in NAMES)]), "gateway_project.templates"],
    package_dir={"gateway_project.templates": "templates"},
    cmdclass={"build_py": Build},
)
