"""Optional dependencies, which are installed from a requirements file of their own."""

from importlib.util import find_spec


def missing_extra(setting: str, what: str, extra: str, *modules: str) -> list[str]:
    """A fault of `setting` if one of `modules` is not installed. Does not import them, which is slow.

    Of a dotted name, find_spec imports the parents.
    """
    if all(_is_installed(module) for module in modules):
        return []
    return [f"{setting}: {what} needs an optional dependency: pip install -r requirements-{extra}.txt"]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent
        return False
