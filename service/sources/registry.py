"""Every adapter by its name in the source file. A new product is one file in `adapters` and one line here."""

from __future__ import annotations

from service.sources.adapter import Adapter
from service.sources.adapters import form, json

ADAPTERS: dict[str, Adapter] = {module.ADAPTER.name: module.ADAPTER for module in (form, json)}


def parks(adapter: str) -> bool:
    """Whether what has nobody to contact is accepted and parked, rather than answered with 422."""
    return ADAPTERS[adapter].parks
