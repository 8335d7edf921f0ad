"""For tests that meet another process: poll until a condition holds or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], within: float = 60.0) -> bool:
    """Poll until `condition` holds. Returns whether it did within that many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
