"""Which product sent a captured request: the products' files say how theirs are recognised."""

from __future__ import annotations

from msgspec import Struct

from service.sources.adapters.base import Adapter, Evidence
from service.sources.adapters.registry import ADAPTERS
from service.sources.wizard.captured import Captured


class DetectedProduct(Struct, frozen=True):
    """`reason` in plain words. `is_record`: the body is an answer of the product's API."""

    adapter: Adapter
    reason: str
    is_record: bool = False


def detect_product(captured: Captured) -> DetectedProduct | None:
    """The product with the most reliable evidence; None for an ordinary form or JSON."""
    matches = [
        (detector, adapter)
        for adapter in ADAPTERS.values()
        for detector in adapter.detectors
        if detector.matches(captured.request, captured.top)
    ]
    if not matches:
        return None
    detector, adapter = min(matches, key=lambda match: match[0].evidence)
    return DetectedProduct(adapter, detector.reason, detector.evidence is Evidence.RECORD)
