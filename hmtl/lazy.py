"""Public names that are imported from their modules on first use. Ours."""

__all__ = ["attach"]

from collections.abc import Callable
from importlib import import_module
from typing import Any


def attach(package: str, homes: dict[str, str]) -> tuple[Callable, Callable, list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names come from `homes`.

    Args:
        package: the package's `__name__`.
        homes: public name -> the module it is defined in. torch and fastai take seconds to
            import, so none is imported before its name is asked for.

    Returns:
        The three, in this order.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get, lambda: sorted(homes), sorted(homes)
