"""Public names that are imported from their modules on first use. Ours."""

__all__ = ["attach"]

from collections.abc import Callable
from importlib import import_module
from typing import Any


def attach(package: str, modules: dict[str, list[str]]) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names come from `modules`.

    Args:
        package: the package's `__name__`.
        modules: module -> the public names that it defines. torch and fastai take seconds to
            import, so none is imported before one of its names is asked for.

    Returns:
        The three, in this order.
    """

    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get, lambda: sorted(homes), sorted(homes)
