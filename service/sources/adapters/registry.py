"""Every adapter by its name in the source file: each module of this package is one product's."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from service.sources import adapters
from service.sources.adapters.base import Adapter
from service.sources.schema import Source

# Modules of the package that the products share.
SHARED_MODULES = frozenset({"base", "questions", "registry"})


def find_adapters() -> dict[str, Adapter]:
    """Imports the products' modules and returns their adapters by name, in alphabetical order.

    Raises TypeError if a module has no `ADAPTER`, or one of another name than its file's.
    """
    names = sorted(module.name for module in iter_modules(adapters.__path__))
    products = [load_adapter(name) for name in names if name not in SHARED_MODULES]
    return {adapter.name: adapter for adapter in products}


def load_adapter(module_name: str) -> Adapter:
    """The adapter of one module. Raises TypeError."""
    path = f"{adapters.__name__}.{module_name}"
    adapter = getattr(import_module(path), "ADAPTER", None)
    if not isinstance(adapter, Adapter):
        raise TypeError(f"expected {path} to define ADAPTER = Adapter(...), got {adapter!r}")
    if adapter.name != module_name.replace("_", "-"):
        expected = module_name.replace("_", "-")
        raise TypeError(
            f"expected the adapter in {path} to be named {expected!r}, got {adapter.name!r}"
        )
    return adapter


ADAPTERS = find_adapters()


def demands_proof(source: Source) -> bool:
    """Whether the source accepts only requests that prove where they come from."""
    scheme = source.verification.scheme
    return scheme != "none" if scheme else ADAPTERS[source.adapter].scheme is not None
